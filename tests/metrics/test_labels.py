"""Labelled pairs: hand-worked numbers, scikit-learn-style definitions by brute force, exclusions counted."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Catalog, DataError, Dataset, Exposures, Interactions, Item, Lists
from hexarec.core.dataset import Users
from hexarec.core.ids import IdTable
from hexarec.metrics import Pairs, accuracy, auc, ece, log_loss, uauc


def brute_auc(label, score):
    wins = [(p > q) + 0.5 * (p == q) for p in score[label] for q in score[~label]]
    return float(np.mean(wins)) if wins else math.nan


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.integers(0, 3)), max_size=30))
@settings(max_examples=150, deadline=None)
def test_auc_and_uauc_against_brute_force(rows):
    label = np.array([r[0] for r in rows], bool)
    score, user = np.array([r[1] for r in rows]), np.array([r[2] for r in rows], np.int64)
    pairs = Pairs.of(label, score, user)
    assert auc(pairs) == pytest.approx(brute_auc(label, score), nan_ok=True)
    each = [brute_auc(label[user == u], score[user == u]) for u in range(pairs.n_groups)]
    made = uauc(pairs)
    np.testing.assert_allclose(made.values, each)
    assert made.counted == int(np.count_nonzero(~np.isnan(each)))
    assert made.value == pytest.approx(np.nanmean(each) if made.counted else math.nan, nan_ok=True)


def test_by_hand():
    pairs = Pairs.of(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.6, 0.1]))
    assert auc(pairs) == 0.75
    assert accuracy(pairs).value == 0.75
    want = -(math.log(0.9) + math.log(0.2) + math.log(0.6) + math.log(0.9)) / 4
    assert log_loss(pairs).value == pytest.approx(want)


def test_ece_by_hand():
    # bins of width 1/2: (0 .. 0.5] holds 0.2 (label 0) and 0.5 (label 1); (0.5 .. 1] holds 0.9 (1) and 1.0 (0)
    pairs = Pairs.of(np.array([0, 1, 1, 0]), np.array([0.2, 0.5, 0.9, 1.0]))
    assert ece(pairs, 2) == pytest.approx(0.5 * abs(0.5 - 0.35) + 0.5 * abs(0.5 - 0.95))
    assert ece(Pairs.of(np.array([0, 1]), np.array([0.0, 1.0]))) == 0


def test_ece_of_calibrated_scores_is_small_and_of_wrong_ones_is_not():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    label = rng.random(200_000) < p
    assert ece(Pairs.of(label, p)) < 0.01
    assert ece(Pairs.of(label, 1 - p)) > 0.4


def test_nan_is_left_out_and_counted():
    pairs = Pairs.of(np.array([1, 0, np.nan, 1]), np.array([0.9, 0.1, 0.3, np.nan]))
    assert pairs.excluded == 2 and auc(pairs) == 1.0
    empty = Pairs.of(np.array([1.0]), np.array([np.nan]))
    assert math.isnan(auc(empty)) and math.isnan(log_loss(empty).value) and math.isnan(ece(empty))
    assert math.isnan(uauc(empty).value) and math.isnan(accuracy(empty).value)


def test_log_loss_is_finite_at_the_ends_and_refuses_what_is_no_probability():
    assert log_loss(Pairs.of(np.array([1, 0]), np.array([0.0, 1.0]))).value == pytest.approx(-math.log(1e-15), rel=1e-2)
    for metric in (log_loss, ece):
        with pytest.raises(DataError):
            metric(Pairs.of(np.array([1]), np.array([1.5])))
    with pytest.raises(DataError):
        Pairs.of(np.array([1]), np.array([0.5, 0.5]))


def test_of_exposures_groups_by_user():
    catalog = Catalog.of([Item("a", "A"), Item("b", "B")])
    log = Interactions.of({"user": [0, 1], "item": [0, 1], "time": [1.0, 1.0]}, 2)
    data = Dataset(catalog, log, Users(IdTable.of(["u", "v"])))
    queries = data.queries([0, 0, 1])
    shown = Lists.of(catalog.key, [[0, 1], [1], [0, 1]], [[0.9, 0.2], [0.5], [0.4, 0.4]])
    shown = shown.with_field("gain", np.array([1, 0, 1, 1, 0], np.float32))
    made = uauc(Pairs.of_exposures(Exposures(queries, shown)))
    np.testing.assert_allclose(made.values, [1.0, 0.5])
    other = Pairs.of_exposures(Exposures(queries, shown), np.array([0.1, 0.2, 0.3, 0.4, np.nan]))
    assert other.excluded == 1 and uauc(other).counted == 1
