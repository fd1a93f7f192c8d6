"""Looking after every user: the naive test breaks its promise, the mixture test keeps it and still finds effects."""

import numpy as np
import pytest
from scipy import stats

from hexarec.core import OptionError
from hexarec.metrics import analyse
from hexarec.metrics.sequential import crossing, grouped, mixture, obrien_fleming, running

ARM = np.arange(3000) % 2
START = 100


def looks(y, arm=ARM, tau=0.2):
    effect, variance = running(y, np.ones(len(y)), arm, 1, START)
    return mixture(effect, variance, tau), effect, variance


def paths(seed, effect=0.0, n=400):
    rng = np.random.default_rng(seed)
    return [looks(rng.exponential(1.0, len(ARM)) + effect * ARM) for _ in range(n)]


def test_peeking_breaks_the_t_test_and_not_the_mixture():
    naive, ours, covered = [], [], []
    for (p, low, high), effect, variance in paths(0):
        there = ~np.isnan(variance)
        z = np.abs(effect[there]) / np.sqrt(variance[there])
        naive.append((2 * stats.norm.sf(z.max())) < 0.05)
        ours.append(p[-1] < 0.05)
        covered.append(low[-1] <= 0.0 <= high[-1])
    assert np.mean(naive) > 0.15
    assert np.mean(ours) <= 0.05
    assert np.mean(covered) >= 0.95  # the running intersection: at all looks together


def test_an_effect_is_found_early_and_covered_at_every_look():
    made = paths(1, effect=0.25, n=200)
    assert np.mean([p[-1] < 0.05 for (p, _, _), _, _ in made]) > 0.95
    assert np.median([np.argmax(p < 0.05) for (p, _, _), _, _ in made]) < 1500  # half of the users were not needed
    assert np.mean([low[-1] <= 0.25 <= high[-1] for (_, low, high), _, _ in made]) >= 0.95


def test_the_formula_is_the_papers_for_pairs():
    d, v, tau = 0.3, 2.0, 0.5
    for n in (10, 100, 1000):
        ratio = np.sqrt(v / (v + n * tau**2)) * np.exp(n**2 * tau**2 * d**2 / (2 * v * (v + n * tau**2)))
        made = mixture(np.array([d]), np.array([v / n]), tau)
        assert made.p[0] == pytest.approx(min(1.0, 1.0 / ratio))


def test_p_never_rises_the_interval_never_widens_and_both_agree():
    for (p, low, high), _, _ in paths(2, effect=0.1, n=40):
        assert (p[1:] <= p[:-1]).all() and (low[1:] >= low[:-1]).all() and (high[1:] <= high[:-1]).all()
        assert (p[: 2 * START - 1] == 1).all() and np.isinf(low[: 2 * START - 1]).all() and p[2 * START] < 1.0001
        apart = (low > 0) | (high < 0)
        np.testing.assert_array_equal(apart, p < 0.05)


def test_running_numbers_are_those_of_each_prefix():
    rng = np.random.default_rng(3)
    arm = rng.integers(0, 3, 900)
    y, d = rng.normal(1000.0, 1.0, 900), rng.uniform(1, 3, 900)
    mean, mean_variance = running(y, np.ones(900), arm, 2, 20)
    rate, rate_variance = running(y, d, arm, 2, 20)
    for n in (100, 500, 900):
        a, b = y[:n][arm[:n] == 2], y[:n][arm[:n] == 0]
        assert mean[n - 1] == pytest.approx(a.mean() - b.mean())
        assert mean_variance[n - 1] == pytest.approx(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        made = analyse(y[:n], arm[:n], shares=(1 / 3, 1 / 3, 1 / 3), treatment=2, over=d[:n])
        assert rate[n - 1] == pytest.approx(made.effect)
        half = (made.high - made.low) / 2
        assert np.sqrt(rate_variance[n - 1]) == pytest.approx(half / 1.97, rel=0.02)


def test_analyse_reads_it_at_the_last_user_and_gives_no_less_later():
    rng = np.random.default_rng(4)
    y = rng.normal(size=3000) + 0.15 * ARM
    made = [analyse(y[:n], ARM[:n], tau=0.2) for n in range(150, 3001, 150)]
    assert made[0].stopped == "fewer than 100 users in an arm"
    read = made[1:]
    assert all(later.p <= earlier.p for earlier, later in zip(read, read[1:], strict=False))
    assert all(later.low >= earlier.low for earlier, later in zip(read, read[1:], strict=False))
    assert read[-1].p < 0.05 < read[0].p and read[-1].low <= 0.15 <= read[-1].high and read[-1].method == "msprt"
    assert analyse(y, ARM, tau=0.2, over=np.ones(3000)).p == pytest.approx(read[-1].p)


def test_cuped_helps_and_its_looks_do_not_change_later():
    rng, p = np.random.default_rng(5), []
    for _ in range(60):
        x = rng.normal(size=3000)
        y = 0.9 * x + np.sqrt(1 - 0.81) * rng.normal(size=3000)
        early, late = (analyse(y[:n] + 0.05 * ARM[:n], ARM[:n], tau=0.05, before=x[:n]) for n in (1500, 3000))
        none = analyse(y, ARM, tau=0.05, before=x)
        plain = analyse(y + 0.05 * ARM, ARM, tau=0.05)
        assert late.p <= early.p and late.low >= early.low and late.high <= early.high
        p.append([late.p < 0.05, plain.p < 0.05, none.p < 0.05])
    helped, alone, false = np.mean(p, 0)
    assert helped > alone + 0.2 and false <= 0.05


def test_an_effect_that_turns_round_is_not_read():
    rng = np.random.default_rng(6)
    turn = np.where(np.arange(3000) < 1500, 2.0, -6.0)
    made = analyse(rng.normal(size=3000) + turn * ARM, ARM, tau=0.5)
    assert "drifts" in made.stopped and np.isnan(made.p)


def test_values_that_do_not_vary_are_no_look():
    made = analyse(np.zeros(1000), ARM[:1000], tau=0.1)
    assert (made.p, made.low, made.high, made.effect) == (1.0, -np.inf, np.inf, 0.0)
    for tau, level in ((0.0, 0.95), (0.1, 1.0), (float("nan"), 0.95)):
        with pytest.raises(OptionError):
            mixture(np.zeros(1), np.ones(1), tau, level)


# ------------------------------------------------------------------------------------------------ planned looks
PUBLISHED = {
    0.90: {1: 1.645, 2: 1.678, 3: 1.710, 4: 1.733, 5: 1.751, 10: 1.801},
    0.95: {1: 1.960, 2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087, 20: 2.126},
    0.99: {1: 2.576, 2: 2.580, 3: 2.595, 4: 2.609, 5: 2.621, 10: 2.660},
}
"""C of O'Brien and Fleming's two-sided test: Jennison & Turnbull 2000, table 2.3."""


@pytest.mark.parametrize(("level", "k"), [(level, k) for level, row in PUBLISHED.items() for k in row])
def test_the_bounds_are_the_published_ones(level, k):
    bounds = obrien_fleming(k, level)
    np.testing.assert_allclose(bounds, PUBLISHED[level][k] * np.sqrt(k / np.arange(1, k + 1)), rtol=3e-4)


def test_crossing_is_what_walks_do():
    steps = np.random.default_rng(0).normal(size=(200_000, 5)).cumsum(1)
    for bound in (1.0, 3.0, 4.56):
        often = (np.abs(steps).max(1) >= bound).mean()
        assert crossing(bound, 5) == pytest.approx(often, abs=4 * np.sqrt(often / 200_000))
    assert crossing(1.96, 1) == pytest.approx(2 * stats.norm.sf(1.96))
    assert crossing(0.0, 3) == 1.0 and crossing(1e9, 3) == 0.0
    assert crossing(12.0, 3) == pytest.approx(2 * stats.norm.sf(12.0 / np.sqrt(3)), rel=0.05), "wide bounds, small odds"
    with pytest.raises(OptionError):
        obrien_fleming(0)


def trials(seed, effect=0.0, n=400, users=1000, k=5):
    rng = np.random.default_rng(seed)
    arm = np.arange(users) % 2
    ends = [users * i // k for i in range(1, k + 1)]
    for _ in range(n):
        y = rng.exponential(1.0, users) + effect * arm
        yield [analyse(y[:end], arm[:end], looks=k, planned=users) for end in ends]


def test_planned_looks_keep_the_promise_and_cover():
    made = list(trials(0))
    assert 0.02 <= np.mean([looks[-1].p < 0.05 for looks in made]) <= 0.07
    assert np.mean([min(one.p for one in looks) < 0.05 for looks in made]) <= 0.07
    assert np.mean([looks[-1].low <= 0.0 <= looks[-1].high for looks in made]) >= 0.93
    assert all(
        a.p >= b.p and a.low <= b.low and a.high >= b.high
        for looks in made
        for a, b in zip(looks, looks[1:], strict=False)
    )
    assert all((one.p < 0.05) == (one.low > 0.0 or one.high < 0.0) for looks in made for one in looks)


def test_planned_looks_find_more_than_the_mixture():
    made = list(trials(1, effect=0.2, n=200))
    rng, arm = np.random.default_rng(1), np.arange(1000) % 2
    ours = np.mean([looks[-1].p < 0.05 for looks in made])
    mixed = np.mean([analyse(rng.exponential(1.0, 1000) + 0.2 * arm, arm, tau=0.2).p < 0.05 for _ in range(200)])
    assert ours > mixed + 0.1
    assert np.mean([looks[2].p < 0.05 for looks in made]) > 0.2, "some end at the third look"


def test_a_look_is_of_the_users_who_were_there():
    rng = np.random.default_rng(2)
    arm, y = rng.integers(0, 3, 900), rng.normal(size=900)
    thirds = {"shares": (1 / 3, 1 / 3, 1 / 3), "looks": 4, "planned": 400}
    pair = np.flatnonzero(arm != 2)
    at = analyse(y[: pair[299] + 1], arm[: pair[299] + 1], **thirds)
    later = analyse(y[: pair[399]], arm[: pair[399]], **thirds)
    assert at[:4] == later[:4] and at.method == "obrien-fleming"
    whole, first = analyse(y, arm, **thirds), analyse(y[: pair[399] + 1], arm[: pair[399] + 1], **thirds)
    assert whole[:4] == first[:4] and whole.n != first.n, "users behind the plan do not count"
    early = analyse(y[: pair[98] + 1], arm[: pair[98] + 1], **thirds)
    assert np.isnan(early.p) and early.stopped == "99 users, the first look is after 100"


def test_planned_looks_of_a_ratio_and_with_a_covariate():
    rng = np.random.default_rng(3)
    before, arm = rng.normal(size=1200), np.arange(1200) % 2
    y = before + 0.3 * rng.normal(size=1200) + 0.1 * arm
    bare, sharp = (analyse(y, arm, looks=3, planned=1200, before=x) for x in (None, before))
    assert sharp.high - sharp.low < 0.5 * (bare.high - bare.low) and sharp.method == "cuped, obrien-fleming"
    over = rng.uniform(1, 3, 1200)
    ratio, once = (analyse(over + y, arm, over=over, **how) for how in ({"looks": 1, "planned": 1200}, {}))
    assert ratio.effect == pytest.approx(once.effect) and ratio.p == pytest.approx(once.p, abs=5e-3)


@pytest.mark.parametrize(
    "plan", [{"looks": 3}, {"planned": 100}, {"looks": 3, "planned": 100, "tau": 0.1}, {"looks": 0, "planned": 9},
             {"looks": 5, "planned": 4}, {"looks": 2, "planned": 9, "before": np.ones(9), "over": np.ones(9)}],
)  # fmt: skip
def test_plans_that_cannot_be(plan):
    with pytest.raises(OptionError):
        analyse(np.zeros(9), np.arange(9) % 2, **plan)


def test_more_looks_than_planned_are_refused_and_an_empty_one_says_nothing():
    with pytest.raises(OptionError):
        grouped(np.zeros(3), np.ones(3), 2)
    made = grouped(np.array([np.nan, 1.0]), np.array([np.nan, 0.01]), 3)
    assert made.p[0] == 1.0 and made.low[0] == -np.inf and made.p[1] < 1e-6
