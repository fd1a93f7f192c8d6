"""Validity errors: divided by all requests, raw and repaired."""

import math

import numpy as np
import pytest

from hexarec.core import DataError
from hexarec.metrics import validity
from hexarec.metrics import words as W

RAW = [
    {"requested": 10, "matched": 7, "out_of_set": 2, "duplicates": 1, "missing": 3, "retried": 1},
    {"requested": 10, "matched": 0, "missing": 10, "refused": 1, "fallback": 1},
    {"requested": 5, "matched": 5, "retried": 2, "invalid_format": 1},
    {"requested": 5, "matched": 5},
]


def test_by_hand():
    made = validity(RAW)
    assert {name: one.value for name, one in made.items()} == pytest.approx(
        {
            "candidate_error_rate": 2 / 30,
            "duplicate_error_rate": 1 / 30,
            "missing_rate": 13 / 30,
            "refusal_rate": 1 / 4,
            "format_error_rate": 1 / 4,
            "retried_rate": 2 / 4,
            "fallback_rate": 1 / 4,
        }
    )
    for one in made.values():
        assert np.mean(one.values) == pytest.approx(one.value) and one.counted == 4


def test_a_refused_request_stays_in_the_denominator():
    only = [{"requested": 10, "out_of_set": 5}]
    refused = [{"requested": 10, "refused": 1}]
    assert W.candidate_error_rate(only).value == 0.5
    assert W.candidate_error_rate(only + refused).value == 0.25


def test_repaired_stands_beside_raw():
    repaired = [{"requested": r["requested"], "matched": r["requested"]} for r in RAW]
    made = validity(RAW, repaired)
    assert made["missing_rate[repaired]"].value == 0 and made["missing_rate"].value > 0
    with pytest.raises(DataError):
        validity(RAW, repaired[:2])


def test_refusals_and_nothing():
    with pytest.raises(DataError):
        validity([{"matched": 3}])
    with pytest.raises(DataError):
        validity([{"requested": 3, "missing": -1}])
    assert all(math.isnan(one.value) for one in validity([]).values())
    assert math.isnan(W.missing_rate([{"requested": 0}]).value)
