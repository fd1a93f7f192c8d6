import time

import numpy as np
import pytest

from hexarec.data.health import log as checks

from ..makers import log_of


def found(data):
    return {one.name: one for one in checks.findings(data)}


def test_duplicates_repeats_and_ties():
    made = found(log_of([(0, 0, 2e8), (0, 0, 2e8), (0, 0, 3e8), (0, 1, 3e8)], 1, 3))
    assert made["duplicates"].number == 1 and made["repeats"].number == 0.5 and made["ties"].number == 0.5
    assert made["ties"].level == "bad" and made["unsold items"].number == pytest.approx(1 / 3)


def test_units_and_the_future():
    assert found(log_of([(0, 0, 1.7e12), (0, 1, 1.7e12)], 1, 2))["time unit"].level == "bad"
    assert found(log_of([(0, 0, 5), (0, 1, 6)], 1, 2))["time unit"].level == "bad"
    assert found(log_of([(0, 0, 1.6e9), (0, 1, 1.7e9)], 1, 2))["time unit"].level == "ok"
    assert found(log_of([(0, 0, 1.6e9), (0, 1, time.time() + 1e6)], 1, 2))["future"].number == 1


def test_one_instant_and_short_histories():
    made = found(log_of([(u, 0, 1.6e9) for u in range(10)], 10, 1))
    assert made["one instant"].level == "bad" and made["short histories"].level == "warn"


def test_no_clock_and_nothing_liked():
    data = log_of([(0, 0, 1, 1), (0, 1, 2, 1)], 1, 2, clock=False, like=4)
    made = found(data)
    assert made["clock"].level == "warn" and made["liked"].level == "bad" and "time unit" not in made


def test_gini():
    assert checks.gini(np.array([1, 1, 1, 1])) == pytest.approx(0) and checks.gini(
        np.array([0, 0, 0, 8])
    ) == pytest.approx(0.75)
    assert np.isnan(checks.gini(np.array([0, 0])))


def test_the_suggested_core_keeps_most_events():
    dense = [(u, i, 1.6e9 + u * 10 + i) for u in range(6) for i in range(6)]
    assert found(log_of(dense, 6, 6))["k-core"].number == 5
