import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.parts.ground import Titles
from hexarec.parts.paired import Pair, paired

KNOWN = Titles(("Star Wars: Episode IV - A New Hope (1977)", "Alien (1979)", "Big (1988)", "大话西游"))
OPTIONS = Titles(
    ("Heat (1995)", "Alien 3 - Special Edition (1992)", "Fargo (1996)", "Big Fish (2003)"), ("A", "B", "C", "D")
)


def read(answer, requested=10):
    pairs, report = paired(answer, KNOWN, OPTIONS, requested)
    return [(pair.left, pair.right) for pair in pairs], report


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1. Alien (1979) - [A] Heat (1995)", (1, 0)),
        ("1. Alien - Heat", (1, 0)),
        ("1. Alien – Heat", (1, 0)),
        ("Alien -> Fargo", (1, 2)),
        ("大话西游 - Fargo", (3, 2)),
        ("- Big - Big Fish", (2, 3)),
        ("[C]", (-1, 2)),
        ("3. Fargo (1996)", (-1, 2)),
        ("Nothing Like This - Fargo", (-1, 2)),
    ],
)
def test_a_line_gives_a_known_item_and_a_candidate(line, found):
    assert read(line)[0] == [found]


def test_titles_with_dashes_are_cut_where_both_halves_are_known():
    pairs, _ = read("1. Star Wars: Episode IV - A New Hope - Alien 3 - Special Edition")
    assert pairs == [(0, 1)]


def test_entries_in_brackets_on_one_line_are_read():
    assert read("[1. Alien - Fargo] [2. Big - Heat (1995)]")[0] == [(1, 2), (2, 0)]
    assert read("[1. Alien - [C] Fargo] [2. Big - [A] Heat]")[0] == [(1, 2), (2, 0)]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('Sure!\n```json\n{"ranking": ["C", "A"]}\n```\nEnjoy!', [(-1, 2), (-1, 0)]),
        ('["Alien - [A] Heat", "Big - Fargo"]', [(1, 0), (2, 2)]),
    ],
)
def test_a_list_in_json_is_read_though_nobody_asked_for_it(answer, found):
    assert read(answer)[0] == found


def test_a_number_in_brackets_is_a_handle_and_no_list():
    options = Titles(("Heat", "Fargo"), ("2", "3"))
    assert paired("Alien - [3] Fargo", KNOWN, options, 1)[0] == [Pair(1, 1)]


@pytest.mark.parametrize(
    "before",
    [
        'Your taste: ["science fiction", "crime"].\n',
        'From the watched films ["Alien (1979)", "Big (1988)"] I recommend:\n',
        "I chose among [1, 2, 3, 4].\n",
    ],
)
def test_a_list_in_a_sentence_is_not_the_answer(before):
    options = Titles(("Heat (1995)", "Alien 3 (1992)", "Fargo (1996)", "Big Fish (2003)"), ("1", "2", "3", "4"))
    pairs, _ = paired(f"{before}1. Alien - Fargo\n2. Big - Big Fish", KNOWN, options, 10)
    assert pairs == [Pair(1, 2), Pair(2, 3)]


def test_of_several_lists_in_json_the_one_that_names_candidates_counts():
    assert read('{"taste": ["crime", "space"], "next": ["Alien - Fargo", "Big - Heat"]}')[0] == [(1, 2), (2, 0)]


def test_a_title_of_the_left_half_is_no_answer():
    # the released scoring takes a title anywhere in the text, so that naming what was watched counts as a hit
    options = Titles(("Alien (1979)", "Heat (1995)"), ("A", "B"))
    pairs, report = paired("1. Alien (1979) - Unknown Film", Titles(("Alien (1979)",)), options, 2)
    assert [pair.right for pair in pairs] != [1] and report.matched <= 1
    assert all(pair.left == -1 for pair in pairs)


def test_what_is_not_a_candidate_is_counted_and_not_taken():
    pairs, report = read("1. Alien - Never Made\n2. Big - Fargo\n3. Alien - Fargo")
    assert pairs == [(2, 2)]
    assert (report.matched, report.out_of_set, report.duplicates, report.missing) == (1, 1, 1, 9)


def test_more_than_was_asked_for_is_cut():
    pairs, report = read("Alien - Heat\nAlien - Fargo\nBig - Big Fish", requested=2)
    assert pairs == [(1, 0), (1, 2)] and report.matched == 2 and report.missing == 0


def test_sentences_around_the_list_are_passed_over():
    answer = "Sure! Here is what you may like:\n\n1. Alien - [A] Heat\n\nI hope this helps."
    assert read(answer)[0] == [(1, 0)]


@given(st.text(max_size=300))
def test_any_text_is_survived(text):
    pairs, report = paired(text, KNOWN, OPTIONS, 4)
    assert len({pair.right for pair in pairs}) == len(pairs) == report.matched <= 4
    assert all(isinstance(pair, Pair) and -1 <= pair.left < 4 and 0 <= pair.right < 4 for pair in pairs)
