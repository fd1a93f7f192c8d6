import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.parts import ground
from hexarec.parts.ground import FUZZY, ParseReport, Titles, ground_list, normal, pieces
from hexarec.testing.strategies import answers

STORY = Titles(("Toy Story", "Toy Story 2", "Alien", "Alien 3", "Aliens"))
YEARS = Titles(("Sabrina (1954)", "Sabrina (1995)", "The Jungle Book (1967)", "The Jungle Book (1994)"))
ZH = Titles(("霸王别姬", "七武士", "东京物语", "花样年华", "异形", "异形2"))


def found(titles, answer):
    return ground_list(answer, titles)[0]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The Matrix (1999)", "the matrix"),
        ("Matrix, The (1999)", "the matrix"),
        ("Tom & Jerry", "tom and jerry"),
        ("WALL·E", "wall e"),
        ("ＡＬＩＥＮ　３", "alien 3"),
        ("  Alien  ", "alien"),
        ("2001: A Space Odyssey", "2001 a space odyssey"),
        ("1984 (1984)", "1984"),
        ("ﬁlm", "film"),
        ("Straße", "strasse"),
        ("", ""),
        ("！", ""),
    ],
)
def test_titles_are_compared_without_case_article_order_punctuation_and_year(title, expected):
    assert normal(title) == expected


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("Toy Story", 0),
        ("Toy Story 2", 1),
        ("toy story 2!", 1),
        ("I would watch Toy Story 2 next", 1),
        ("I'd watch Toy Story next", 0),
        ("Alien", 2),
        ("Alien 3", 3),
        ("Aliens", 4),
        ("Alien 3 is great", 3),
        ("maybe Aliens?", 4),
    ],
)
def test_a_title_inside_another_is_not_taken_for_it(text, option):
    assert STORY.find(text)[0] == option


def test_both_films_are_found_when_both_are_named():
    assert found(STORY, "1. Toy Story 2\n2. Toy Story\n3. Alien 3\n4. Alien") == [1, 0, 3, 2]
    assert STORY.mentions("Watch Toy Story 2 and then Alien, never Aliens.") == [1, 2, 4]


@pytest.mark.parametrize("text", ["Picnic", "I liked Picnic at Hanging Rock", "a spin", "Pippi"])
def test_a_short_title_is_not_found_inside_a_word(text):
    assert Titles(("Pi", "Big", "Clue")).find(text) is None


@pytest.mark.parametrize(("text", "option"), [("Pi", 0), ("Watch Pi tonight", 0), ("Big!", 1), ("'Clue'", 2)])
def test_a_short_title_is_found_as_a_word(text, option):
    assert Titles(("Pi", "Big", "Clue")).find(text)[0] == option


def test_the_year_tells_equal_titles_apart():
    assert YEARS.find("Sabrina (1995)") == (1, "exact") and YEARS.find("The Jungle Book (1967)") == (2, "exact")
    assert found(YEARS, "1. Sabrina (1995)\n2. The Jungle Book (1994)\n3. Sabrina (1954)") == [1, 3, 0]


def test_equal_titles_without_year_are_taken_in_turn_each_once():
    assert found(YEARS, "Sabrina\nSabrina\nSabrina") == [0, 1]
    order, report = ground_list("Sabrina\nSabrina\nSabrina", YEARS)
    assert report.duplicates == 1 and report.matched == 2


HANDLED = Titles(("Alien", "Heat", "Pi"), ("A", "B", "C"))


@pytest.mark.parametrize(
    "answer",
    [
        "[B] Heat\n[A] Alien\n[C] Pi",
        "1. [B] Heat\n2. [A] Alien\n3. [C] Pi",
        "[B]\n[A]\n[C]",
        "B\nA\nC",
        "B. Heat\nA. Alien\nC. Pi",
        "B) Heat\nA) Alien\nC) Pi",
        "(B)\n(A)\n(C)",
        "【B】\n【A】\n【C】",
        "B, A, C",
        "B > A > C",
        "[B], [A], [C]",
        "[b]\n[a]\n[c]",
        '["B", "A", "C"]',
        '{"ranking": ["B", "A", "C"]}',
        'Sure!\n```json\n{"ranking": ["B", "A", "C"]}\n```',
        "Heat; Alien; Pi",
        "Heat, Alien, Pi",
        "1. Heat\n2. Alien\n3. Pi",
        "- Heat\n- Alien\n- Pi",
        "* **Heat**\n* **Alien**\n* **Pi**",
        "1) 'Heat'\n2) “Alien”\n3) Pi",
        "Here is my ranking:\n1. Heat\n2. Alien\n3. Pi\nEnjoy!",
        "1. heat\n2. ALIEN\n3. pi.",
        "B、A、C",
        "[B] > [A] > [C]",
    ],
)
def test_every_form_seen_in_the_wild_gives_the_same_ranking(answer):
    assert found(HANDLED, answer) == [1, 0, 2]


def test_handles_come_before_titles():
    order, report = ground_list("[A] Heat\n[B] Alien", HANDLED)
    assert order == [0, 1] and report.by_method == {"handle": 2}


def test_numbers_as_handles_are_not_list_marks():
    numbers = Titles(("Alien", "Heat", "Pi"), ("1", "2", "3"))
    assert found(numbers, "[3]\n[1]\n[2]") == [2, 0, 1] and found(numbers, "3, 1, 2") == [2, 0, 1]
    assert found(numbers, '{"ranking": [3, 1, 2]}') == [2, 0, 1]


def test_invented_titles_and_handles_are_counted_and_not_placed():
    order, report = ground_list("1. Heat\n2. The Film That Never Was\n3. [Z]\n4. Alien", HANDLED)
    assert order == [1, 0] and report.out_of_set == 2 and report.missing == 1


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("The Shawshank Redemtion", 0),
        ("Shawshank Redemption", 0),
        ("Shawshank", None),
        ("Rocky 3", 2),
        ("Rocky 2", 1),
        ("Rocky 4", None),
    ],
)
def test_a_near_spelling_counts_from_nine_tenths_on_and_numbers_must_agree(text, option):
    titles = Titles(("The Shawshank Redemption", "Rocky 2", "Rocky 3"))
    made = titles.find(text)
    assert (made and made[0]) == option and FUZZY == 0.9


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I cannot help with that.", "As an AI language model, I ...", "抱歉，我无法回答。"]
)
def test_a_refusal_is_said_to_be_one(text):
    order, report = ground_list(text, HANDLED)
    assert order == [] and report.refused == 1 and report.invalid_format == 1 and report.missing == 3


def test_an_apology_around_a_ranking_is_no_refusal():
    order, report = ground_list("I'm sorry, but I cannot be sure:\n1. Heat\n2. Alien", HANDLED)
    assert order == [1, 0] and report.refused == 0


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ("1. 霸王别姬\n2. 七武士", [0, 1]),
        ("霸王别姬、七武士、东京物语", [0, 1, 2]),
        ("霸王别姬，七武士", [0, 1]),
        ("《花样年华》\n《异形》", [3, 4]),
        ("我推荐霸王别姬", [0]),
        ("1、异形2\n2、异形", [5, 4]),
        ("1．七武士", [1]),
        ("首先看东京物语；然后花样年华", [2, 3]),
    ],
)
def test_chinese_titles_are_found_without_spaces(answer, order):
    assert found(ZH, answer) == order


def test_a_chinese_title_inside_another_is_not_taken_for_it():
    assert ZH.find("我想看异形2")[0] == 5 and ZH.mentions("先看异形2再看异形") == [5, 4]


def test_nothing_is_found_in_nothing():
    for empty in ("", "   ", "\n\n", "```", "???"):
        assert found(HANDLED, empty) == [] and Titles(()).find(empty) is None
    assert found(Titles(()), "[A] Alien") == []


@given(answers(["Alien", "Alien 3", "三体", "Pi"]), st.booleans(), st.none() | st.integers(0, 5))
def test_whatever_is_said_no_option_comes_twice_and_none_from_outside(answer, with_handles, requested):
    titles = Titles(("Alien", "Alien 3", "三体", "Pi", ""), tuple("ABCDE") if with_handles else ())
    order, report = ground_list(answer, titles, requested=requested)
    wanted = 5 if requested is None else requested
    assert len(set(order)) == len(order) <= wanted and set(order) <= set(range(5))
    assert report.requested == wanted and report.matched == len(order)
    assert report.missing >= 0 and json.loads(json.dumps(report.as_note()))["matched"] == len(order)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('x {"r": ["a"]} y', ["a"]),
        ("[1, 2]", ["1", "2"]),
        ("a\n\nb", ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("Crouching Tiger, Hidden Dragon\nHeat", ["Crouching Tiger, Hidden Dragon", "Heat"]),
        ('{"a": {"b": 1}}', ['{"a": {"b": 1}}']),
        ('["a", {"b": 1}]', ['["a"', '{"b": 1}]']),
        ("[" * 5000, ["[" * 5000]),
    ],
)
def test_an_answer_is_cut_into_what_may_name_one_item(answer, expected):
    assert pieces(answer) == expected


def test_a_report_adds_nothing_that_was_not_seen():
    assert ParseReport(3).as_note() == {
        "requested": 3,
        "matched": 0,
        "by_method": {},
        "out_of_set": 0,
        "duplicates": 0,
        "missing": 0,
        "retried": 0,
        "refused": 0,
        "invalid_format": 0,
    }


@given(
    st.lists(st.text("ab 千与Z'3", min_size=1, max_size=7), min_size=1, max_size=6),
    st.text("ab 千与Z'3.", max_size=30),
)
def test_a_title_is_mentioned_exactly_where_its_words_stand_in_the_text(options, text):
    """Looking up first words is only a shortcut: a plain search over all options finds the same."""
    titles, hay = Titles(tuple(options)), normal(text)
    found = set(titles.mentions(text))
    for place, option in enumerate(options):
        needle = normal(option)
        starts = [
            s for s in range(len(hay)) if needle and hay.startswith(needle, s) and ground._bounded(needle, hay, s)
        ]
        if not starts:
            assert place not in found
        elif all(len(normal(other)) < len(needle) for n, other in enumerate(options) if n != place):
            assert place in found  # the longest of all is never hidden by another


def test_what_is_known_is_exact_or_normalised_and_nothing_else():
    titles = Titles(("The Matrix (1999)", "Alien", "Alien"))
    assert titles.known("matrix, the") == (0, "normalised") and titles.known("1. alien") == (1, "exact")
    assert titles.known("Alien", {1}) == (2, "exact") and titles.known("Alien", {1, 2}) == (1, "exact")
    assert titles.known("Aliens") is titles.known("the film Alien") is titles.known("") is None
