from dataclasses import replace

import numpy as np

from hexarec.core import Evidence, Lists
from hexarec.parts.ask import MISSING
from hexarec.parts.ground import ParseReport, Titles
from hexarec.parts.paired import Pair
from hexarec.parts.pairpage import PairPage, PairsRead, ordered_by_pairs

PAGE = PairPage(
    np.array([3, 4], np.int32), np.array([9, 7, 8], np.int32), Titles(("Old", "Older")),
    Titles(("Nine", "Seven", "Eight"), ("A", "B", "C")), 2,
)  # fmt: skip
GIVEN = Lists.of("k", [[7, 8, 9]])


def test_an_answer_is_read_against_what_was_shown_and_no_more_is_taken_than_was_asked_for():
    pairs, report = PAGE.read("Older - [C] Eight\nNew - [A] Nine\nOld - [B] Seven")
    assert pairs == [Pair(1, 2), Pair(-1, 0)] and (report.requested, report.matched) == (2, 2)


def test_what_was_named_comes_first_with_the_history_item_beside_it_and_the_rest_as_it_came():
    read = PairsRead((Pair(1, 2), Pair(-1, 0)), ParseReport(2, 2), ("an answer",))
    made = ordered_by_pairs(GIVEN, [PAGE], [read], "x")
    assert made.items.tolist() == [8, 9, 7] and made.fields["score.x"].tolist() == [3.0, 2.0, MISSING]
    assert made.fields["why"].tolist() == [0, -1, -1] and made.evidence == (Evidence("history", (4,)),)
    note = made.notes[0]
    assert note["pairs"] == [[4, 8], [-1, 9]] and note["raw"] == ["an answer"] and note["parse"]["matched"] == 2


def test_reasons_of_an_earlier_stage_stay_where_nothing_is_named():
    earlier = replace(GIVEN.with_field("why", np.zeros(3, np.int32)), evidence=(Evidence("rule", (), "new"),))
    made = ordered_by_pairs(earlier, [PAGE], [PairsRead((Pair(0, 1),), ParseReport(2, 1))], "x")
    assert made.items.tolist() == [7, 8, 9] and made.fields["why"].tolist() == [1, 0, 0]
    assert [one.kind for one in made.evidence] == ["rule", "history"]


def test_a_question_without_an_answer_keeps_its_order():
    made = ordered_by_pairs(GIVEN, [PAGE], [PairsRead(error="down")], "x")
    assert made.items.tolist() == [7, 8, 9] and made.fields["why"].tolist() == [-1, -1, -1]


def test_what_was_not_named_is_measured_in_the_order_it_came_and_each_list_by_itself():
    """Equal scores would count as any order of them."""
    given = Lists.of("k", [[7, 8, 9], [9, 8, 7]])
    read = [PairsRead((Pair(-1, 2),), ParseReport(2, 1)), PairsRead(error="down")]
    made = ordered_by_pairs(given, [PAGE] * 2, read, "x")
    assert made.items.tolist() == [8, 7, 9, 9, 8, 7]
    assert made.scores.tolist() == [3.0, MISSING, MISSING - 1, MISSING, MISSING - 1, MISSING - 2]
