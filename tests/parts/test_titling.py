import numpy as np
import pytest

from hexarec.core import Catalog, Item
from hexarec.lm.base import Hypothesis, Prompt
from hexarec.lm.fake import Overlap, Scripted
from hexarec.lm.open import open_encoder, open_lm
from hexarec.lm.tfidf import TfidfSvd
from hexarec.parts.several import Said
from hexarec.parts.titling import Titled, inside, named, nearest, read, surfaces

NAMES = ["The Red Lamp", "Blue Chair (1990)", "Heat", "Heat", "", "Green Table of Oak", "Grey Table of Oak"]
CATALOG = Catalog.of([Item(f"i{n}", name, titles={"zh": f"物品{n}"}) for n, name in enumerate(NAMES)])
KNOWN = surfaces(CATALOG, "en")
FREE = np.zeros(7, bool)
NEAR = nearest(CATALOG, "en", None)


def said(*texts):
    return Said(tuple(Hypothesis(text, -float(n)) for n, text in enumerate(texts)), texts)


def rows(made):
    return [(item, status) for item, _, status in made.rows]


def test_every_item_has_a_title_of_its_own():
    assert KNOWN.texts == (*NAMES[:3], "Heat #2", "i4", *NAMES[5:])
    assert named(CATALOG, np.array([3, 0]), "en") == ["Heat #2", "The Red Lamp"]
    assert named(CATALOG, np.array([3]), "zh") == ["物品3"]
    assert surfaces(CATALOG, "en") is surfaces(CATALOG, "en"), "the titles of a catalog are read once"


def test_an_answer_is_a_title_as_it_stands_or_but_for_case_article_and_year():
    made = read(said("the red lamp", "Red Lamp, The", "Blue chair", "i4", "Heat #2"), KNOWN, FREE, 6)
    assert rows(made) == [(0, "exact"), (1, "normalised"), (4, "exact"), (3, "exact")]
    assert [logprob for _, logprob, _ in made.rows] == [0.0, -2.0, -3.0, -4.0]
    parse = made.parse
    assert (parse.requested, parse.matched, parse.out_of_set, parse.duplicates, parse.missing) == (6, 4, 0, 1, 1)
    assert made.repaired == made.parse


def test_what_is_no_title_is_lost_in_free_words_and_counted():
    made = read(said("A Film That Never Was", "Heat"), KNOWN, FREE, 2)
    assert rows(made) == [(2, "exact")] and made.parse.out_of_set == made.repaired.out_of_set == 1


def test_grounding_takes_the_neighbour_and_the_raw_count_stays():
    made = read(said("greeen table of oak", "a chair", "zzz", "Heat"), KNOWN, FREE, 4, NEAR)
    assert rows(made) == [(5, "fuzzy"), (1, "nearest"), (2, "exact")]
    assert (made.parse.matched, made.parse.out_of_set) == (1, 3)
    assert (made.repaired.matched, made.repaired.out_of_set) == (3, 1)
    assert dict(made.repaired.by_method) == {"exact": 1, "fuzzy": 1, "nearest": 1}


def test_titles_of_the_history_are_counted_and_never_grounded_to_something_else():
    made = read(said("Heat", "The red lamp"), KNOWN, np.array([1, 0, 0, 0, 0, 0, 0], bool), 2, NEAR)
    assert rows(made) == [(2, "exact")] and made.seen == 1 and made.parse.out_of_set == 0


def test_a_title_of_the_history_is_not_grounded_to_its_neighbour():
    """ "Grey Table of Oak" is one letter away and may be shown, yet it is not what the model said."""
    met = np.array([0, 0, 0, 0, 0, 1, 0], bool)
    made = read(said("green table of oak", "Heat"), KNOWN, met, 2, NEAR)
    assert rows(made) == [(2, "exact")] and made.seen == 1
    assert (made.parse.out_of_set, made.repaired.matched) == (0, 1)
    assert rows(read(said("greeen table of oak"), KNOWN, met, 1, NEAR)) != [], "what names nothing has that neighbour"


def test_a_neighbour_is_free_and_not_named_yet():
    made = read(said("Green Table of Oak", "a table of oak", "some table of oak"), KNOWN, FREE, 3, NEAR)
    assert rows(made) == [(5, "exact"), (6, "nearest")] and made.repaired.out_of_set == 1


def test_two_of_one_name_are_both_reached():
    made = read(said("Heat", "HEAT!"), KNOWN, FREE, 2)
    assert rows(made)[0] == (2, "exact") and made.parse.duplicates == 1


def test_vectors_ground_as_words_do():
    near = nearest(CATALOG, "en", open_encoder("tfidf"))
    assert read(said("a red lamp"), KNOWN, FREE, 1, near).rows[0][0] == 0


def test_the_titles_of_a_catalog_are_encoded_once_by_each_encoder():
    one, other = TfidfSvd(8), TfidfSvd(16)
    near = nearest(CATALOG, "en", one)
    assert nearest(CATALOG, "en", one) is near and near.vectors_.shape == (7, 8)
    assert nearest(CATALOG, "en", other).vectors_.shape == (7, 16) and nearest(CATALOG, "zh", one) is not near
    grown = CATALOG.extend([Item("later", "A Later One")])
    assert nearest(grown, "en", one).found(["later one"], np.zeros(8, bool), 1) == [[7]]


def test_answers_that_read_alike_or_say_nothing_are_counted():
    made = read(Said((Hypothesis("Heat", -1.0),), ("Heat", "heat", "", "\n")), KNOWN, FREE, 4)
    assert (made.parse.matched, made.parse.duplicates, made.parse.missing) == (1, 1, 2)
    assert read(Said(fault="broken"), KNOWN, FREE, 3).parse.refused == 1


ASKED = [Prompt.user("1. The Red Lamp\nNext?"), Prompt.user("1. Heat\nNext?")]
ORDER = np.array([6, 5, 4, 3, 2, 1, 0])


@pytest.mark.parametrize("lm", [open_lm("hf:tiny", dtype="float32", prefix_mb=0.0), Overlap()], ids=["trie", "choice"])
def test_inside_the_catalog_every_answer_is_an_allowed_title(lm):
    forbidden = np.zeros((2, 7), bool)
    forbidden[0, :4] = True
    made = inside(lm, lambda room: ASKED, KNOWN, forbidden, 4, beams=6, order=ORDER, lang="en")
    assert {item for item, _, _ in made[0].rows} == {4, 5, 6} and len(made[1].rows) == 4
    assert [len({item for item, _, _ in one.rows}) for one in made] == [3, 4]
    assert [one.parse.requested for one in made] == [3, 4]
    assert all(one.parse.out_of_set == one.parse.missing == 0 and one.parse.matched == len(one.rows) for one in made)


def test_what_an_engine_says_outside_its_grammar_is_an_invalid_answer():
    lm = Scripted(lambda prompt: "A Film That Never Was")
    made = inside(lm, lambda room: ASKED, KNOWN, np.zeros((2, 7), bool), 2, beams=3, order=ORDER, lang="en")
    assert [one.rows for one in made] == [(), ()] and made[0].fault
    assert (made[0].parse.matched, made[0].parse.out_of_set, made[0].repaired.missing) == (0, 1, 2)


def test_the_trie_keeps_room_for_its_longest_title():
    rooms = []
    lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
    inside(
        lm, lambda room: rooms.append(room) or ASKED, KNOWN, np.zeros((2, 7), bool), 1, beams=2, order=ORDER, lang="en"
    )
    assert rooms == [lm.trie(KNOWN.texts).depth]


def test_nothing_came_of_nothing():
    assert Titled().parse.requested == 0 and Titled().rows == ()
