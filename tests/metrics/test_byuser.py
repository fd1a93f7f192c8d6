"""Label and word metrics with draws by user: weights against repetition, hand-worked rates, paired draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import OptionError
from hexarec.metrics import (
    Pairs,
    auc,
    interval_of,
    label_metrics,
    log_loss,
    paired_draws,
    uauc,
    user_draws,
    weighted_auc,
    word_metrics,
)

ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 3)), min_size=1, max_size=30
)


def pairs_of(rows):
    label, score, user = (np.array(column) for column in zip(*rows, strict=True))
    return Pairs.of(label, score, user)


@given(ROWS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_weight_is_a_repetition(rows, weights):
    pairs = pairs_of(rows)
    many = [row for row in rows for _ in range(weights[row[2]])]
    want = auc(pairs_of(many)) if many else math.nan
    made = weighted_auc(pairs, np.array([weights[: pairs.n_groups]], np.float64))
    assert made[0] == pytest.approx(want, nan_ok=True)


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_only_the_order_of_scores_counts_for_auc_and_uauc(rows):
    pairs = pairs_of(rows)
    moved = Pairs(pairs.label, np.exp(3.0 * pairs.score) - 7.0, pairs.group, pairs.n_groups, 0)
    assert auc(moved) == pytest.approx(auc(pairs), nan_ok=True)
    np.testing.assert_allclose(uauc(moved).values, uauc(pairs).values)
    turned = Pairs(pairs.label, -pairs.score, pairs.group, pairs.n_groups, 0)
    assert auc(turned) == pytest.approx(1.0 - auc(pairs), nan_ok=True)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_auc_and_log_loss_agree_with_scikit_learn(rows):
    metrics = pytest.importorskip("sklearn.metrics")
    pairs = pairs_of(rows)
    if pairs.label.all() or not pairs.label.any():
        assert math.isnan(auc(pairs))
        return
    assert auc(pairs) == pytest.approx(metrics.roc_auc_score(pairs.label, pairs.score))
    soft = Pairs(pairs.label, 0.1 + 0.8 * pairs.score, pairs.group, pairs.n_groups, 0)
    assert log_loss(soft).value == pytest.approx(metrics.log_loss(soft.label, soft.score))


# user 0: one pair lost and 0.9 above 0.2; user 1: one class; user 2: a tie
LABEL = np.array([1, 0, 1, 1, 1, 0])
SCORE = np.array([0.9, 0.2, np.nan, 0.7, 0.5, 0.5])
USER = np.array([0, 0, 0, 1, 2, 2])


def test_by_hand():
    made = label_metrics(Pairs.of(LABEL, SCORE, USER))
    # positives .9 .7 .5 against negatives .2 .5: 5 and a half of 6
    assert made["auc"].value == pytest.approx(5.5 / 6)
    np.testing.assert_allclose(made["uauc"], [1.0, np.nan, 0.5])
    assert made["uauc_users"].value == 2.0
    want = -(math.log(0.9) + math.log(0.8) + math.log(0.7) + 2 * math.log(0.5)) / 5
    assert made["log_loss"].value == pytest.approx(want)
    assert made["accuracy"].value == pytest.approx(4 / 5)
    assert made["parse_failure_rate"].value == pytest.approx(1 / 6)
    for name in ("auc", "log_loss", "ece", "accuracy", "parse_failure_rate"):
        low, high = interval_of(made[name].draws)
        assert low <= made[name].value <= high and made[name].draws.shape == (1000,)


def test_a_lost_pair_is_never_taken_for_a_half():
    lost = label_metrics(Pairs.of(np.array([1, 0, 1]), np.array([0.9, 0.1, np.nan])))
    half = label_metrics(Pairs.of(np.array([1, 0, 1]), np.array([0.9, 0.1, 0.5])))
    assert lost["log_loss"].value == pytest.approx(-math.log(0.9)) != half["log_loss"].value
    assert lost["parse_failure_rate"].value == pytest.approx(1 / 3) and half["parse_failure_rate"].value == 0.0


def test_scores_that_are_no_probabilities_have_no_log_loss():
    made = label_metrics(Pairs.of(np.array([1, 0]), np.array([17.0, 3.0])))
    assert made["auc"].value == 1.0
    assert all(math.isnan(made[name].value) for name in ("log_loss", "ece", "accuracy"))


def test_nothing_but_failures():
    made = label_metrics(Pairs.of(np.array([1, 0]), np.array([np.nan, np.nan]), np.array([0, 1])))
    assert made["parse_failure_rate"].value == 1.0 and math.isnan(made["auc"].value) and made["uauc_users"].value == 0.0
    assert np.isnan(made["auc"].draws).all()


def test_draws_are_of_users_not_of_pairs():
    # a thousand pairs of one user say as much as two: the interval must not shrink with the pairs
    label = np.tile([1, 0], 500)
    score = np.where(label == 1, 0.8, 0.3)
    many = label_metrics(Pairs.of(np.append(label, [1, 0]), np.append(score, [0.1, 0.9]), np.append(0 * label, [1, 1])))
    low, high = interval_of(many["auc"].draws)
    assert low == 0.0 and high == 1.0  # sometimes only the second user is drawn, who is served all wrong


def test_draws_are_paired_and_do_not_depend_on_the_block():
    kept = []
    user_draws(lambda w: (kept.append(w), np.zeros(len(w)))[1], 5, rounds=10)
    again = []
    user_draws(lambda w: (again.append(w), np.zeros(len(w)))[1], 5, rounds=10, cost=1 << 30)
    assert len(kept) == 1 and len(again) == 10
    np.testing.assert_array_equal(np.concatenate(kept), np.concatenate(again))
    assert (np.concatenate(kept).sum(1) == 5).all()
    assert np.isnan(user_draws(lambda w: w[:, 0], 0, rounds=3)).all()


def test_paired_draws_by_hand():
    base = np.zeros(99)
    assert paired_draws(base, base) == 1.0
    assert paired_draws(base + 1.0, base) == pytest.approx(2 / 100)
    assert paired_draws(base, base + 1.0) == pytest.approx(2 / 100)
    mixed = np.where(np.arange(99) < 9, -1.0, 1.0)
    assert paired_draws(mixed, base) == pytest.approx(2 * 10 / 100)
    assert math.isnan(paired_draws(np.full(3, np.nan), np.zeros(3)))


def row(claims=0, supported=0, raw=0, answers=0, template=0, empty=0):
    return {
        "claims": claims, "supported": supported, "raw_unsupported": raw, "answers": answers, "template": template,
        "empty": empty,
    }  # fmt: skip


def test_word_metrics_by_hand():
    rows = [
        row(2, 2, 0, answers=1),  # right at once
        row(3, 3, 2, answers=2),  # invented, asked again, right
        row(1, 1, 1, answers=2, template=1),  # invented twice, our own words
        row(4, 1, 3, answers=1),  # invented and shown
        row(empty=1, answers=1),  # nothing came
    ]
    made = {name: one.value for name, one in word_metrics(rows, np.array([0, 0, 1, 1, 2]), 4).items()}
    assert made == {
        "raw_invention": 0.6, "repaired_invention": 0.2, "claim_precision": 0.7, "template_share": 0.2,
        "retried_share": 0.4, "empty_share": 0.2,
    }  # fmt: skip


def test_no_claims_have_no_precision_and_no_requests_no_rates():
    assert math.isnan(word_metrics([row()], np.array([0]), 1)["claim_precision"].value)
    assert all(math.isnan(one.value) for one in word_metrics([], np.zeros(0, np.int64), 0).values())


def test_names_of_other_families_are_refused():
    with pytest.raises(OptionError, match="ndcg does not measure labelled pairs"):
        label_metrics(Pairs.of(np.array([1]), np.array([1.0])), ["ndcg"])
    with pytest.raises(OptionError, match="auc does not measure words"):
        word_metrics([row()], np.array([0]), 1, ["auc"])
