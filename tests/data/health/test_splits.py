import numpy as np
import pytest

from hexarec.data.health import splits
from hexarec.data.split import leave_last

from ..makers import log_of


def found(data):
    return {one.name: one for one in splits.findings(data)}


def test_cold_shares():
    rows = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 1), (1, 1, 2), (1, 0, 9), (2, 3, 1), (2, 4, 2), (2, 1, 3)]
    users, items = splits.cold_shares(leave_last(log_of(rows, 3, 5), valid=False))
    assert users == 0 and items == pytest.approx(0.5)


def test_events_before_their_item_was_there():
    data = log_of([(0, 0, 10), (0, 1, 20), (0, 0, 30)], 1, 2, since=[15.0, -np.inf])
    assert found(data)["too early"].number == 1


def test_the_future_of_others_and_truth_already_met():
    rows = [(0, 0, 1), (0, 1, 2), (0, 0, 3)] + [(1, i % 4, 100 + i) for i in range(8)]
    made = found(log_of(rows, 2, 4))
    assert made["future in train"].number == pytest.approx(6 / 7 / 2) and made["truth in history"].number == 1.0


def test_an_impossible_split_is_a_finding():
    made = found(log_of([(0, 0, 7), (1, 1, 7)], 2, 2))
    assert made["split by time"].level == "warn" and "impossible" in made["split by time"].sentence
