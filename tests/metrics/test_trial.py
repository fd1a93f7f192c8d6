"""A/B tests: p-values that are uniform without an effect, less variance by CUPED, ratios, guardrails, refusals."""

import numpy as np
import pytest
from scipy import stats

from hexarec.core import DataError, OptionError
from hexarec.metrics import analyse, guardrail
from hexarec.metrics.trial import cuped, linear

HALF = np.arange(400) % 2


def world(rng, n, *, rho=0.7, effect=0.0, known=1.0):
    """Per-user values, their arms, and what the same users did before (NaN for the new ones)."""
    arm = rng.permutation(n) % 2
    before = rng.normal(5.0, 2.0, n)
    y = 3.0 + rho * (before - 5.0) / 2.0 + np.sqrt(1 - rho**2) * rng.normal(0.0, 1.0, n) + effect * arm
    new = rng.random(n) >= known
    return y + 0.8 * new, arm, np.where(new, np.nan, before)


def test_welch_is_scipys():
    rng = np.random.default_rng(0)
    y, arm, _ = world(rng, 300, effect=0.2)
    y = np.where(arm == 1, y * 2, y)
    made, want = analyse(y, arm), stats.ttest_ind(y[arm == 1], y[arm == 0], equal_var=False)
    assert made.p == pytest.approx(want.pvalue) and made.effect == pytest.approx(
        y[arm == 1].mean() - y[arm == 0].mean()
    )
    assert (made.low, made.high) == pytest.approx(tuple(want.confidence_interval(0.95)))
    assert (made.method, made.n, made.stopped) == ("welch", (150, 150), "")


@pytest.mark.parametrize(("before", "known"), [(False, 1.0), (True, 1.0), (True, 0.6)])
def test_without_an_effect_p_is_uniform(before, known):
    rng, p = np.random.default_rng(1), []
    for _ in range(600):
        y, arm, x = world(rng, 200, known=known)
        p.append(analyse(y, arm, before=x if before else None).p)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.07


def test_a_p_value_that_knows_too_much_would_be_seen():
    rng, p = np.random.default_rng(2), []
    for _ in range(300):
        y, arm, x = world(rng, 200)
        p.append(analyse(np.repeat(y, 2), np.repeat(arm, 2)).p)  # every user counted twice
    assert stats.kstest(p, "uniform").pvalue < 0.01


@pytest.mark.parametrize("rho", [0.3, 0.7, 0.9])
def test_cuped_leaves_one_less_rho_squared_of_the_variance(rho):
    rng = np.random.default_rng(3)
    y, arm, x = world(rng, 40_000, rho=rho)
    left = cuped(y, x, arm).var() / y.var()
    assert left == pytest.approx(1 - rho**2, rel=0.05)


def test_cuped_narrows_the_interval_and_does_not_move_the_effect():
    rng, found = np.random.default_rng(4), []
    for _ in range(300):
        y, arm, x = world(rng, 400, effect=0.3, known=0.8)
        found.append(
            [(r.effect, r.high - r.low, r.low <= 0.3 <= r.high) for r in (analyse(y, arm), analyse(y, arm, before=x))]
        )
    table = np.array(found)
    plain, ours = table[:, 0], table[:, 1]
    assert abs(ours[:, 0].mean() - 0.3) < 2 * ours[:, 0].std() / 300**0.5
    assert ours[:, 0].var() < 0.75 * plain[:, 0].var() and ours[:, 1].mean() < 0.85 * plain[:, 1].mean()
    assert 0.92 <= ours[:, 2].mean() <= 0.98


def test_users_without_history_are_kept_and_their_difference_is_taken_out():
    rng = np.random.default_rng(5)
    y, arm, x = world(rng, 5000, known=0.5)
    assert analyse(y, arm, before=x).n == (2500, 2500)
    y = y + 3.0 * np.isnan(x)  # new users differ: only the second regressor can say so
    ours = cuped(y, x, arm)
    assert abs(ours[np.isnan(x)].mean() - ours[~np.isnan(x)].mean()) < 0.1
    nothing = cuped(y, np.full(5000, np.nan), arm)
    np.testing.assert_allclose(nothing, y)
    np.testing.assert_allclose(cuped(y, np.ones(5000), arm), y)


def test_theta_is_pooled_over_the_arms_and_blind_to_the_effect():
    rng = np.random.default_rng(6)
    y, arm, x = world(rng, 2000)
    np.testing.assert_allclose(cuped(y + 50.0 * arm, x, arm) - 50.0 * arm, cuped(y, x, arm))


def ratios(rng, n, rates=(0.1, 0.1)):
    """Clicks and impressions per user; a user's own rate makes the impressions of a user alike."""
    arm = rng.permutation(n) % 2
    views = 1 + rng.poisson(8 * rng.gamma(1.0, 1.0, n))
    own = np.clip(np.asarray(rates)[arm] + rng.normal(0, 0.06, n), 0, 1)
    return rng.binomial(views, own), arm, views


def test_a_ratio_is_that_of_the_sums_with_the_variance_of_users():
    rng, p, naive = np.random.default_rng(7), [], []
    for _ in range(400):
        clicks, arm, views = ratios(rng, 400)
        made = analyse(clicks, arm, over=views)
        p.append(made.p)
        c, v = np.bincount(arm, clicks), np.bincount(arm, views)
        assert made.effect == pytest.approx(c[1] / v[1] - c[0] / v[0])
        pooled = c.sum() / v.sum()
        naive.append(2 * stats.norm.sf(abs(made.effect) / np.sqrt(pooled * (1 - pooled) * (1 / v).sum())))
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) < 0.05) < 0.075 < np.mean(np.array(naive) < 0.05)  # impressions are not what is sampled
    assert made.method == "delta, welch"


def test_the_interval_of_a_ratio_covers_and_cuped_narrows_it():
    rng, inside, widths = np.random.default_rng(8), [], []
    for _ in range(250):
        clicks, arm, views = ratios(rng, 500, (0.2, 0.25))
        made = analyse(clicks, arm, over=views)
        history = clicks / views - 0.05 * arm + rng.normal(0, 0.02, 500)
        less = analyse(clicks, arm, over=views, before=history)
        inside.append(made.low <= 0.05 <= made.high)
        widths.append([made.high - made.low, less.high - less.low])
    assert 0.92 <= np.mean(inside) <= 0.98
    assert np.mean(widths, 0)[1] < 0.9 * np.mean(widths, 0)[0] and less.method == "delta, cuped, welch"


def test_the_linear_form_has_the_ratio_as_its_mean_and_the_textbook_variance():
    rng = np.random.default_rng(9)
    y, _, d = ratios(rng, 3000)
    arm = np.zeros(3000, np.int64)
    z = linear(y.astype(float), d.astype(float), arm)
    assert z.mean() == pytest.approx(y.sum() / d.sum())
    cov, r = np.cov(y, d), y.mean() / d.mean()
    assert z.var(ddof=1) == pytest.approx((cov[0, 0] - 2 * r * cov[0, 1] + r * r * cov[1, 1]) / d.mean() ** 2)


def test_no_effect_is_read_when_users_are_lost():
    rng = np.random.default_rng(10)
    arm = (rng.random(100_000) < 0.49).astype(int)
    for extra in ({}, {"tau": 0.1}, {"over": np.ones(100_000)}):
        made = analyse(rng.normal(size=100_000) + arm, arm, **extra)
        assert made.sample_ratio_p < 0.001 and made.stopped.startswith("sample ratio")
        assert np.isnan([made.effect, made.low, made.high, made.p]).all() and sum(made.n) == 100_000
        assert guardrail(made, 0.1, better="higher").verdict == "unread"
    assert analyse(rng.normal(size=100_000), arm, shares=(0.51, 0.49)).stopped == ""


def test_several_arms_are_each_read_against_control():
    rng = np.random.default_rng(11)
    arm = np.arange(3000) % 3
    y = rng.normal(size=3000) + np.array([0.0, 0.0, 0.5])[arm]
    first, second = (analyse(y, arm, shares=(1 / 3, 1 / 3, 1 / 3), treatment=t) for t in (1, 2))
    assert first.n == second.n == (1000, 1000, 1000)
    assert first.p > 0.05 > second.p and second.low <= 0.5 <= second.high


def test_too_few_users_and_values_that_do_not_vary():
    made = analyse([1.0, 2.0], [0, 1])
    assert made.stopped == "fewer than 2 users in an arm" and np.isnan(made.p)
    flat = analyse(np.ones(400), HALF)
    assert (flat.effect, flat.low, flat.high, flat.p) == (0.0, 0.0, 0.0, 1.0)
    assert analyse(HALF * 1.0, HALF).p == 0.0
    assert analyse([], []).stopped == "fewer than 2 users in an arm"


@pytest.mark.parametrize(
    ("change", "error"),
    [({"values": [1.0]}, DataError), ({"values": np.full(400, np.nan)}, DataError), ({"arm": HALF + 1}, DataError),
     ({"arm": HALF + 0.5}, DataError), ({"over": -np.ones(400)}, DataError), ({"over": HALF * 1.0}, DataError),
     ({"over": np.ones(3)}, DataError), ({"before": np.ones(3)}, DataError), ({"before": np.full(400, np.inf)}, DataError),
     ({"treatment": 2}, OptionError), ({"treatment": 0}, OptionError), ({"level": 1.0}, OptionError),
     ({"tau": -1.0}, OptionError), ({"start": 1}, OptionError),
     ({"tau": 1.0, "over": np.ones(400), "before": np.ones(400)}, OptionError)],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(change, error):
    given = {"values": np.random.default_rng(0).normal(size=400), "arm": HALF} | change
    with pytest.raises(error):
        analyse(given.pop("values"), given.pop("arm"), **given)


def test_guardrails_are_one_sided():
    rng = np.random.default_rng(12)
    y = rng.normal(size=2000)
    arm = np.arange(2000) % 2
    worse = analyse(y + 0.5 * arm, arm, level=0.90)
    assert guardrail(worse, 0.1, better="lower").verdict == "broken"
    assert guardrail(worse, 0.1, better="higher").verdict == "held"
    assert guardrail(worse, 0.5, better="lower").verdict == "open"
    held = guardrail(analyse(y - 0.5 * arm, arm, level=0.90), 0.6, better="higher")
    assert held.verdict == "held" and held.low < held.harm < held.high < 0.6
    for bad in ({"margin": -1.0, "better": "lower"}, {"margin": 0.1, "better": "up"}):
        with pytest.raises(OptionError):
            guardrail(worse, bad["margin"], better=bad["better"])


def test_a_guardrail_at_its_margin_is_held_and_broken_in_one_case_of_twenty_each():
    rng = np.random.default_rng(13)
    arm = np.arange(200) % 2
    found = [
        guardrail(analyse(rng.normal(size=200) + 0.3 * arm, arm, level=0.90), 0.3, better="lower").verdict
        for _ in range(1000)
    ]
    assert 0.03 < found.count("held") / 1000 < 0.075 and 0.03 < found.count("broken") / 1000 < 0.075
