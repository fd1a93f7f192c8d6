import subprocess
import sys
import time

import pytest

import hexarec
from hexarec.core import Catalog, Item
from hexarec.parts.said import Lexicon, lexicon_of, pointed_at

CATALOG = hexarec.open_data("films").catalog
WORDS = Lexicon(CATALOG)


def read(text):
    said = WORDS.read(text)
    names = {part: [str(CATALOG.titles[row]) for row in getattr(said, part)] for part in ("liked", "disliked", "seen")}
    return said, names


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("I want a comedy", ["comedy"], []),
        ("comedies or westerns please", ["comedy", "western"], []),
        ("no horror", [], ["horror"]),
        ("No horror, war or westerns.", [], ["horror", "war", "western"]),
        ("a thriller, but not a war film", ["thriller"], ["war"]),
        ("I hate musicals and don't want horror. A comedy!", ["comedy"], ["horror"]),
        ("anything but horror", [], ["horror"]),
        ("I don't mind horror", ["horror"], []),
        ("not only comedy but also drama", ["comedy", "drama"], []),
        ("想看一部喜剧，不要恐怖片", ["comedy"], ["horror"]),
        ("别给我战争片", [], ["war"]),
        ("horror? no horror!", [], ["horror"]),
        ("a comedy without war or horror", ["comedy"], ["war", "horror"]),
        ("a comedy and no horror", ["comedy"], ["horror"]),
        ("有没有喜剧？", ["comedy"], []),
        ("喜剧，除了战争片", ["comedy"], ["war"]),
    ],
)
def test_values_are_wanted_or_not(text, wanted, unwanted):
    said, _ = read(text)
    genres = {value for name, value in said.wanted if name == "genres"}
    assert genres == set(wanted)
    assert {value for name, value in said.unwanted if name == "genres"} == set(unwanted)


@pytest.mark.parametrize(
    ("text", "part", "titles"),
    [
        ("I loved Spirited Away and The Wizard of Oz", "liked", ["Spirited Away", "The Wizard of Oz"]),
        ("something like Alien please", "liked", ["Alien"]),
        ("I've already seen Akira", "seen", ["Akira"]),
        ("I didn't like Zodiac (2007)", "disliked", ["Zodiac"]),
        ("类似《千与千寻》的", "liked", ["Spirited Away"]),
        ('have you got anything like "heat"?', "liked", ["Heat"]),
        ("wizard of oz, the: great", "liked", []),
    ],
)
def test_titles_are_liked_disliked_or_seen(text, part, titles):
    assert read(text)[1][part] == titles


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("A comedy from the 90s, but no horror or war.", "A comedy from the 90s"),
        ("something quiet, no zombies please", "something quiet"),
        ("No horror, war or westerns. A long one", "A long one"),
        ("a slow film without horror", "a slow film"),
        ("Funny, not only for children.", "Funny, not only for children."),
        ("Quiet. No gore. Set at sea, please.", "Quiet. Set at sea, please"),
        ("never any horror", ""),
        ("想看一部安静的电影，不要恐怖片，最好在海边", "想看一部安静的电影，最好在海边"),
        ("不要科幻", ""),
        ("", ""),
    ],
)
def test_what_is_asked_for_leaves_out_what_is_refused(text, asked):
    assert WORDS.read(text).asked == asked


def test_a_refusal_inside_a_title_is_none():
    words = Lexicon(Catalog.of([Item("a", "Rebel Without a Cause"), Item("b", "The Man With No Name")]))
    for row, title in enumerate(["Rebel Without a Cause", "The Man With No Name"]):
        said = words.read(f"I loved {title}")
        assert said.liked == (row,) and said.asked == f"I loved {title}"


def test_seen_is_not_disliked_and_not_liked():
    said, names = read("I haven't watched Akira, and I have seen Zodiac")
    assert names["disliked"] == [] and names["liked"] == [] and "Zodiac" in names["seen"]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("from the 90s", (1990, 1999)),
        ("the 1970s", (1970, 1979)),
        ("something of the 20s", (2020, 2029)),
        ("after 2000", (2000, 0)),
        ("before 1960", (0, 1959)),
        ("since 1990 and until 1999", (1990, 1999)),
        ("2010年以后的", (2010, 0)),
        ("80年代的", (1980, 1989)),
        ("my 3 friends", (0, 0)),
    ],
)
def test_years(text, years):
    assert WORDS.read(text).years == years


def test_a_word_is_a_title_only_where_it_is_written_as_a_name():
    catalog = Catalog.of([Item("a", "Up"), Item("b", "Her"), Item("c", "It Happened One Night")])
    words = Lexicon(catalog)
    assert words.read("cheer up, tell her it is fine").items == ()
    assert words.read("I liked Up and it happened one night").items == (0, 2)


def test_equal_titles_are_told_apart_by_the_year():
    catalog = Catalog.of(
        [Item("a", "Sabrina", attributes={"year": 1954}), Item("b", "Sabrina", attributes={"year": 1995})]
    )
    words = Lexicon(catalog)
    assert words.read("I liked Sabrina (1995)").items == (1,)
    assert words.read("I liked Sabrina").items == (0,)


def test_withdrawn_items_have_no_name():
    catalog = Catalog.of([Item("a", "Blue Thunder"), Item("b", "Red Thunder")]).remove(["a"])
    assert Lexicon(catalog).read("more like Blue Thunder").items == ()


def test_starting_over_and_changing_ones_mind():
    assert WORDS.read("let's start over").afresh and WORDS.read("重新开始吧").afresh
    assert WORDS.read("a thriller instead").anew and not WORDS.read("a thriller").anew


def test_places_of_a_list():
    assert pointed_at("why the second one?", 5) == [1]
    assert pointed_at("the first and the third", 5) == [0, 2]
    assert pointed_at("第三个为什么", 5) == [2]
    assert pointed_at("the last one", 4) == [3]
    assert pointed_at("the seventh", 3) == []


def test_a_catalog_without_attributes_and_odd_text_do_no_harm():
    words = lexicon_of(Catalog.of([Item("a", ""), Item("b", "💥 (1999)")]))
    for text in ("", "\x00", "💥", "((((", '"', "the 990s", "第", "a" * 10_000):
        assert words.read(text).wanted == ()


def test_a_long_turn_full_of_wishes_is_read_in_time_that_grows_with_its_length():
    def spent(n):
        """Seconds of the processor, of which a busy machine takes no more."""
        start = time.thread_time()
        assert WORDS.read("horror " * n).wanted == (("genres", "horror"),)
        assert WORDS.read("without horror " * n).unwanted == (("genres", "horror"),)
        return time.thread_time() - start

    short = min(spent(500) for _ in range(3))
    assert spent(8000) < 64 * short, "sixteen times as long; 256 times if it grew with the square"


@pytest.mark.parametrize("turn", ["那就" * 200 + "看", "\n" * 20_000, "so\n" * 8_000, ", so so" * 4_000 + "x"])
def test_a_turn_of_beginnings_without_an_order_is_read_in_time_that_grows_with_its_letters(turn):
    """In a process of its own, since nothing stops an expression that has begun: each of them took minutes or more."""
    code = f"from hexarec.parts.said import _AFRESH; print(_AFRESH.search({turn!r}))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert made.stdout.strip() == "None", made.stderr
