"""Looking after every user: the naive test breaks its promise, the mixture test keeps it and still finds effects."""

import numpy as np
import pytest
from scipy import stats

from hexarec.core import OptionError
from hexarec.metrics import analyse
from hexarec.metrics.sequential import mixture, running

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
