"""Metric names: spelling, aliases, refusals with the right guess."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import OptionError
from hexarec.metrics import TABLE, Measured, Metric, byuser, lists, parse, runs, visits, words


@pytest.mark.parametrize(
    "text, metric",
    [
        ("ndcg@10", Metric("ndcg", 10)),
        ("nDCG@5", Metric("ndcg", 5)),
        ("HR@1", Metric("hit", 1)),
        ("HitRate@10", Metric("hit", 10)),
        ("hit_rate @ 10", Metric("hit", 10)),
        ("MRR@10", Metric("mrr", 10)),
        ("MAP@10", Metric("map", 10)),
        ("Recall@20[cold]", Metric("recall", 20, "cold")),
        ("recall_capped@3[history:2-9]", Metric("recall_capped", 3, "history:2-9")),
        ("coverage@10", Metric("coverage", 10)),
        ("AUC", Metric("auc")),
        ("logloss", Metric("log_loss")),
        ("candidate_error_rate[repaired]", Metric("candidate_error_rate", 0, "repaired")),
    ],
)
def test_parse(text, metric):
    assert parse(text) == metric
    assert parse(str(metric)) == metric and parse(metric) is metric


@given(st.sampled_from(sorted(TABLE)), st.integers(1, 1000), st.sampled_from(["", "cold", "head"]))
def test_round_trip(name, k, part):
    metric = Metric(name, k if TABLE[name].at else 0, part)
    assert parse(str(metric)) == metric


@pytest.mark.parametrize(
    "text, guess", [("ndgc@10", "ndcg@10"), ("recalll@5", "recall@5"), ("pprecision@3", "precision@3")]
)
def test_did_you_mean(text, guess):
    with pytest.raises(OptionError, match=guess) as error:
        parse(text)
    assert "did you mean" in error.value.hint


@pytest.mark.parametrize("text", ["ndcg", "ndcg@0", "auc@10", "", "@10", "ndcg@10[", "ndcg@-1", "zzzzzz@10"])
def test_refusals(text):
    with pytest.raises(OptionError):
        parse(text)


def test_every_name_is_measured_somewhere():
    assert set(lists.MEASURES) == {n for n, s in TABLE.items() if s.family == "list"}
    assert set(runs.MEASURES) == {n for n, s in TABLE.items() if s.family == "run"}
    assert {*words.MEASURES, *byuser._WORDS} == {n for n, s in TABLE.items() if s.family == "words"}
    assert set(visits.MEASURES) == {n for n, s in TABLE.items() if s.family == "visit"}
    assert set(byuser._LABELS) == {n for n, s in TABLE.items() if s.family == "label"}


def test_measured():
    made = Measured.mean(np.array([1.0, np.nan, 0.0]))
    assert made.value == 0.5 and made.counted == 2
    assert np.isnan(Measured.mean(np.array([np.nan])).value) and Measured(3.0).counted == 0
    assert parse("gini@10").better == "lower" and parse("auc").family == "label"
