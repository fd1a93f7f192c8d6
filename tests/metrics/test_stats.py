"""Intervals that cover, tests that agree with scipy, corrections by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from hexarec.core import DataError, OptionError
from hexarec.metrics import bootstrap, effect, holm, mcnemar, paired


def test_bootstrap_matches_the_normal_interval_where_it_should():
    rng = np.random.default_rng(0)
    for values in (rng.normal(3, 2, 5000), (rng.random(5000) < 0.3).astype(float)):  # distinct values, and two kinds
        low, high = bootstrap(values, 1, rounds=4000)
        error = values.std() / math.sqrt(len(values))
        assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
        assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


@pytest.mark.parametrize("draw", [lambda r: r.exponential(1.0, 60), lambda r: (r.random(60) < 0.5) * 2.0])
def test_bootstrap_covers_about_as_often_as_it_says(draw):
    rng = np.random.default_rng(1)
    inside = [low <= 1.0 <= high for low, high in (bootstrap(draw(rng), s, rounds=400) for s in range(400))]
    assert 0.89 <= np.mean(inside) <= 0.98


def test_bootstrap_is_reproducible_and_does_not_depend_on_the_order_of_users():
    values = np.round(np.random.default_rng(2).random(300), 1)
    assert bootstrap(values, 5) == bootstrap(values, 5) == bootstrap(values[::-1], 5)
    assert bootstrap(values, 5) != bootstrap(values, 6)


def test_bootstrap_of_several_systems_draws_the_same_users():
    values = np.random.default_rng(3).random((2, 400))
    both = np.vstack([values, values[0] - 0.25])
    low, high = bootstrap(both, 0)
    assert low.shape == (3,)
    np.testing.assert_allclose([low[0] - 0.25, high[0] - 0.25], [low[2], high[2]])
    repeated = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0]]), 500, axis=1)
    low, high = bootstrap(repeated, 0)
    np.testing.assert_allclose(low[0], 1 - high[1])


def test_nan_is_not_applicable():
    values = np.random.default_rng(4).random(500)
    holes = np.where(np.arange(500) % 2 == 0, values, np.nan)
    assert bootstrap(holes, 1) == bootstrap(values[::2], 1)
    low, high = bootstrap(np.vstack([values, holes, np.full(500, np.nan)]), 1)
    assert low[1] < np.nanmean(holes) < high[1] and np.isnan(low[2])
    assert high[1] - low[1] > high[0] - low[0]
    assert np.isnan(bootstrap(np.full(3, np.nan), 1)).all() and np.isnan(bootstrap(np.zeros(0), 1)).all()
    assert np.isnan(bootstrap(np.full((2, 3), np.nan), 1).low).all()
    assert bootstrap(np.array([0.5, np.nan]), 1) == (0.5, 0.5)


def test_bootstrap_of_a_million_users_is_quick():
    rng = np.random.default_rng(5)
    values = 1 / np.log2(rng.integers(2, 12, 1_000_000))
    low, high = bootstrap(values, 0)
    assert low < values.mean() < high and high - low < 0.001


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"level": 1.0}, {"level": 0.0}])
def test_bootstrap_refuses(bad):
    with pytest.raises(OptionError):
        bootstrap(np.zeros(3), 0, **bad)
    with pytest.raises(OptionError):
        bootstrap(np.zeros((2, 2, 2)), 0)


def scipy_flip(a, b, resamples):
    made = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=resamples, rng=np.random.default_rng(0),
    )  # fmt: skip
    return made.pvalue


@pytest.mark.parametrize("seed", range(6))
def test_exact_permutation_against_scipy(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 11) / 4.0, rng.integers(0, 4, 11) / 4.0  # with ties and zeros
    assert paired(a, b) == pytest.approx(scipy_flip(a, b, 5000), abs=1e-12)


def exact_flip(difference):
    """P(|sum of +-d| >= |sum d|) of whole-number differences, by convolution."""
    chance = np.ones(1)
    for d in np.abs(difference):
        made = np.zeros(len(chance) + 2 * d)
        made[: len(chance)] += chance / 2
        made[2 * d :] += chance / 2
        chance = made
    sums = np.arange(len(chance)) - np.abs(difference).sum()
    return chance[np.abs(sums) >= abs(difference.sum())].sum()


@pytest.mark.parametrize("seed", range(3))
def test_sampled_permutation_against_the_exact_distribution(seed):
    difference = np.random.default_rng(seed).integers(-3, 5, 60)
    found = paired(difference / 4.0, np.zeros(60), rounds=50_000)
    assert found == pytest.approx(exact_flip(difference), abs=0.009)


def test_sampled_permutation_against_scipy():
    rng = np.random.default_rng(7)
    a, b = rng.random(80) + 0.06, rng.random(80)
    assert paired(a, b, rounds=20_000) == pytest.approx(scipy_flip(a, b, 20_000), abs=0.02)
    assert paired(a, b, seed=3) == paired(a, b, seed=3)


def test_permutation_is_calibrated_and_finds_what_is_there():
    rng = np.random.default_rng(8)
    p = np.array([paired(x, y, rounds=500) for x, y in rng.normal(size=(300, 2, 40))])
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    x = rng.normal(size=100)
    assert paired(x + 0.5, x + rng.normal(0, 0.1, 100)) < 0.001


def test_t_and_wilcoxon_are_scipys():
    rng = np.random.default_rng(9)
    a, b = rng.random(30), rng.random(30)
    assert paired(a, b, "t") == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired(a, b, "wilcoxon") == pytest.approx(stats.wilcoxon(a, b).pvalue)
    with_nan = np.append(a, np.nan)
    assert paired(with_nan, np.append(b, 1.0), "t") == paired(a, b, "t")


@pytest.mark.parametrize("test", ["permutation", "t", "wilcoxon"])
def test_equal_systems_and_too_few_pairs(test):
    assert paired(np.arange(5.0), np.arange(5.0), test) == 1.0
    assert math.isnan(paired(np.array([1.0, np.nan]), np.array([0.0, 1.0]), test))


def test_paired_refuses():
    with pytest.raises(OptionError):
        paired(np.zeros(3), np.zeros(3), "sign")
    with pytest.raises(DataError):
        paired(np.zeros(3), np.zeros(4))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    np.testing.assert_allclose(holm([0.04, np.nan, 0.01]), [0.04, np.nan, 0.02])
    assert holm([]).shape == (0,)


def test_effect():
    rng = np.random.default_rng(10)
    b = rng.random(1000)
    a = b + rng.normal(0.1, 0.2, 1000)
    made = effect(a, b)
    assert made.low < made.difference < made.high and made.difference == pytest.approx(0.1, abs=0.03)
    assert made.d == pytest.approx((a - b).mean() / (a - b).std(ddof=1)) and made.n == 1000
    assert effect(b + 0.5, b)[:3] == pytest.approx((0.5, 0.5, 0.5))
    assert math.isnan(effect(np.array([np.nan]), np.array([1.0])).difference)


def test_mcnemar():
    a = np.array([1, 1, 1, 1, 1, 0, 0, 1, 0, np.nan])
    b = np.array([0, 0, 0, 0, 0, 1, 0, 1, 0, 1])
    assert mcnemar(a, b) == pytest.approx(stats.binomtest(5, 6).pvalue)
    assert mcnemar(np.array([True, False]), np.array([True, False])) == 1.0
    with pytest.raises(DataError):
        mcnemar(np.array([0.5]), np.array([0.0]))
