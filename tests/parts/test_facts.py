import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import Catalog, Claim, Item, strings
from hexarec.parts.facts import check, names, sound

CATALOG = Catalog.of(
    [
        Item(
            "alien",
            "Alien",
            "A crew meets something.",
            {"year": 1979.0, "genres": ("horror", "science-fiction"), "director": "Ridley Scott"},
            {"zh": "异形"},
        ),
        Item(
            "heat",
            "Heat",
            "Cops and robbers in Los Angeles.",
            {"year": 1995.0, "genres": ("crime", "martial arts"), "director": "Michael Mann"},
        ),
        Item("m", "M", "A hunt.", {"year": 1931.0, "genres": ("crime", "art"), "director": "Fritz Lang"}),
    ]
).with_text("genres", "zh", strings(["恐怖、科幻", "犯罪", "犯罪"]), {})


def verdicts(text, *rows):
    return {claim.text.casefold(): claim.verdict for claim in check(text, CATALOG, rows or (0,))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Alien is from 1979.", {"1979": "supported", "alien": "supported"}),
        ("Alien is from 1980.", {"1980": "contradicted", "alien": "supported"}),
        ("A horror film.", {"horror": "supported"}),
        ("A crime film.", {"crime": "contradicted"}),
        ("Directed by Ridley Scott.", {"ridley scott": "supported"}),
        ("Directed by Fritz Lang.", {"fritz lang": "contradicted"}),
        ("Jane Doe directed it.", {"jane doe": "unchecked"}),
        ("Like Heat, it is tense.", {"heat": "contradicted"}),
        ("It is among the horrors.", {"horror": "supported"}),
        ("You liked it, so here it is.", {}),
        ("", {}),
        ("It has 12345 fans.", {}),
    ],
)
def test_a_sentence_about_one_item_is_checked_claim_by_claim(text, expected):
    assert verdicts(text) == expected


def test_a_claim_about_any_of_the_items_in_question_is_supported():
    assert verdicts("Both Alien and Heat came out, in 1979 and 1995.", 0, 1) == {
        "alien": "supported",
        "heat": "supported",
        "1979": "supported",
        "1995": "supported",
    }


def test_the_longest_value_counts_and_its_parts_do_not():
    assert verdicts("It has martial arts.", 1) == {"martial arts": "supported"}
    assert verdicts("It has art.", 1) == {"art": "contradicted"}


def test_a_title_of_one_letter_inside_a_sentence_claims_nothing():
    assert "m" not in verdicts("i am fond of it.") and verdicts("M is a hunt.", 2)["m"] == "supported"


def test_chinese_values_and_titles_are_checked_without_spaces():
    assert verdicts("这是一部恐怖片。") == {"恐怖": "supported"} and verdicts("这是一部犯罪片。") == {
        "犯罪": "contradicted"
    }
    assert (
        verdicts("因为您喜欢《异形》。")["异形"] == "supported"
        and verdicts("因为您喜欢《异形》。", 1)["异形"] == "contradicted"
    )


def test_a_name_that_the_items_own_text_says_is_no_invention():
    assert verdicts("Los Angeles is where it is set.", 1) == {}
    assert verdicts("Los Angeles is where it is set.", 0) == {"los angeles": "unchecked"}


def test_a_claim_does_not_hold_the_full_stop_behind_it():
    assert verdicts("Directed by Jane Doe.") == {"jane doe": "unchecked"}


@pytest.mark.parametrize("text", ["Fans of Alien like horror.", "One of the horror films.", "Full of horror."])
def test_an_ordinary_beginning_of_a_sentence_is_no_name(text):
    assert sound(check(text, CATALOG, (0,)))


def test_words_are_sound_only_when_every_claim_is_supported():
    assert sound([]) and sound([Claim("a", "supported")])
    assert not sound([Claim("a", "supported"), Claim("b", "unchecked")]) and not sound([Claim("a", "contradicted")])


def test_a_catalog_without_years_leaves_them_unchecked():
    bare = Catalog.of([Item("a", "Alien")])
    assert check("From 1979.", bare, (0,)) == (Claim("1979", "unchecked"),)


@given(st.text(max_size=60), st.lists(st.integers(0, 2), max_size=3))
def test_any_text_is_checked_and_each_claim_stands_once(text, rows):
    made = check(text, CATALOG, rows)
    assert len(set(made)) == len(made) and all(
        claim.verdict in ("supported", "contradicted", "unchecked") for claim in made
    )


def test_two_catalogs_in_turn_keep_their_own_facts():
    other = Catalog.of([Item("x", "Alien", "", {"year": 2000.0})])
    for _ in range(2):
        assert verdicts("From 1979.") == {"1979": "supported"}
        assert check("From 1979.", other, (0,)) == (Claim("1979", "contradicted"),)


ODD = Catalog.of(
    [
        Item("legend", "The Legend of 1900", "", {"year": 1998.0, "genres": ("drama",), "keywords": ("alien",)}),
        Item("alien", "Alien", "", {"year": 1979.0, "genres": ("horror",), "keywords": ("ship",)}),
        Item("akira", "Akira", "", {"year": 1988.0, "genres": ("animation",), "director": "Katsuhiro Otomo"}),
        Item("ran", "Ran", "", {"year": 1985.0, "genres": ("drama",), "director": "Akira Kurosawa"}),
    ]
)


@pytest.mark.parametrize(
    ("text", "row", "wrong"),
    [
        ("You liked The Legend of 1900: a drama.", 0, set()),
        ("You liked The Legend of 1900, from 1901.", 0, {"1901"}),
        ("Both have the keyword alien.", 0, set()),
        ("It is like Alien.", 0, {"Alien"}),
        ("Directed by Akira Kurosawa.", 3, set()),
        ("As good as Akira.", 3, {"Akira"}),
    ],
)
def test_titles_and_years_inside_what_is_true_claim_nothing(text, row, wrong):
    assert {claim.text for claim in check(text, ODD, (row,)) if claim.verdict != "supported"} == wrong


@pytest.mark.parametrize(
    ("text", "title", "named"),
    [
        ("I liked alien best.", "Alien", True), ("The aliens came.", "Alien", False), ("Talk to her.", "Her", False),
        ("See Her tonight.", "Her", True), ("Love to talk to her.", "Talk to Her", False),
        ("Like Talk to Her.", "Talk to Her", True), ("M is grim.", "M", True), ("I am grim.", "M", False),
        ("因为您喜欢异形。", "异形", True), ("A (1979) film (really).", "(really)", True),
    ],
)  # fmt: skip
def test_a_text_names_a_title_as_whole_words_and_a_short_one_as_it_is_spelled(text, title, named):
    assert names(text, title) is named


PLAIN = Catalog.of(
    [
        Item("talk", "Talk to Her", "", {"genres": ("drama",)}),
        Item("her", "Her", "", {"genres": ("romance",)}),
        Item("heat", "Heat", "", {"genres": ("crime",)}),
        Item("lala", "La La Land", "", {"genres": ("music",)}),
        Item("boot", "Das Boot", "", {"genres": ("war",)}),
        Item("run", "Run for it", "", {"genres": ("war",)}),
    ]
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("You will love to talk to her.", set()),
        ("Her smile warms the heat of the day.", set()),
        ("Run for it, it is a war film.", set()),
        ("You liked Talk to Her.", {"Talk to Her"}),
        ("Talk to Her is a war film.", {"Talk to Her"}),
        ("It is like TALK TO HER.", {"Talk to Her"}),
        ("You liked “talk to her” most.", {"Talk to Her"}),
        ("Like Her, it is tender.", {"Her"}),
        ("Better than Heat.", {"Heat"}),
        ("So you would Run for it.", {"Run for it"}),
        # a title that no sentence holds by chance is known in any letters
        ("You liked la la land.", {"La La Land"}),
        ("because das boot was fine", {"Das Boot"}),
    ],
)
def test_common_words_are_a_title_only_where_they_stand_as_one(text, named):
    claims = check(text, PLAIN, ())
    assert {claim.text for claim in claims if claim.text in set(PLAIN.titles)} == named


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Sarah loves crime.", {"Sarah"}),
        ("Sarah's favourite is full of crime.", {"Sarah"}),
        ("A film of crime. Tom and others liked it.", {"Tom"}),
        ("Made for Sarah.", {"Sarah"}),
        ("Ridley loves crime.", set()),
        ("Fans love crime.", set()),
        ("Everyone likes crime.", set()),
        ("Movies are fun.", set()),
        ("Crime pays.", set()),
        ("Gripping and full of crime.", set()),
    ],
)
def test_a_first_name_that_nobody_said_is_an_unsupported_claim(text, unknown):
    catalog = Catalog.of([Item("a", "A", "With Ridley in it.", {"genres": ("crime",)})])
    claims = check(text, catalog, (0,))
    assert {claim.text for claim in claims if claim.verdict == "unchecked"} == unknown
    assert sound(check(text, catalog, (0,), "I am Sarah, and my son is Tom"))
