"""Uncertainty: bootstrap intervals, paired tests, correction for many tests, effect sizes.

Values are per user (or question), NaN = the metric does not apply to that user. Paired functions use the users for
whom both systems have a value. All draws come from `core.rng`, so equal input and seed give equal output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.core.seeds import rng

Floats = NDArray[np.float64]
Test = Literal["permutation", "t", "wilcoxon"]
CELLS = 1 << 21  # weights held at once: 16 MB
EXACT = 16  # non-zero differences up to which all sign patterns are counted


class Interval(NamedTuple):
    """Lower and upper bounds: numbers for one system, (systems,) arrays for several."""

    low: Any
    high: Any


class Effect(NamedTuple):
    """Mean difference a - b, its interval, Cohen's d of the pairs (mean / standard deviation), and how many pairs."""

    difference: float
    low: float
    high: float
    d: float
    n: int


def _weights(counts: NDArray[np.int64], rounds: int, generator: np.random.Generator) -> NDArray[Any]:
    """How often each kind of user is drawn in each round, (rounds, u): n draws among n users, `counts` of each kind."""
    n = int(counts.sum())
    if 8 * len(counts) <= n:
        return generator.multinomial(n, counts / n, size=rounds)
    owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    made = np.empty((rounds, len(counts)), np.float64)
    for row in made:
        row[:] = np.bincount(owner[generator.integers(0, n, n, dtype=np.int32)], minlength=len(counts))
    return made


def bootstrap(values: Any, seed: int = 0, *, rounds: int = 1000, level: float = 0.95) -> Interval:
    """Percentile interval of the mean over users: users are drawn with replacement, `rounds` times.

    values: (n,) of one system or (systems, n) of several on the same users, who are then drawn together. Users with
    equal values are drawn as one kind with multinomial weights, which is the same distribution, faster. A round
    averages over the drawn users to whom the metric applies. NaN without any. Source: Efron 1979.
    """
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or rounds < 1 or not 0.0 < level < 1.0:
        raise OptionError("bootstrap needs values (n,) or (systems, n), rounds >= 1 and 0 < level < 1")
    table = table[:, ~np.isnan(table).all(axis=0)]
    if not table.shape[1]:
        nothing = np.full(len(table), np.nan)
        return Interval(nothing, nothing) if np.ndim(values) == 2 else Interval(np.nan, np.nan)
    kinds, counts = _kinds(table)
    there = ~np.isnan(kinds)
    filled = np.where(there, kinds, 0.0)
    block = max(1, CELLS // len(counts))
    generator, means = rng(seed, "bootstrap"), np.empty((rounds, len(table)))
    for start in range(0, rounds, block):
        weights = _weights(counts, min(block, rounds - start), generator).astype(np.float64)
        total, among = weights @ filled.T, weights @ there.T.astype(np.float64)
        means[start : start + block] = np.where(among > 0, total / np.maximum(among, 1.0), np.nan)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    low, high = np.array([_quantiles(column, tails) for column in means.T]).T
    return Interval(low, high) if np.ndim(values) == 2 else Interval(float(low[0]), float(high[0]))


def user_draws(
    statistic: Callable[[Floats], Floats], n: int, *, cost: int = 0, seed: int = 0, rounds: int = 1000
) -> Floats:
    """A statistic in each round of a bootstrap over n users, (rounds,): for what is no mean of per-user values.

    statistic: how often each user is drawn (r, n) -> the statistic of each of these rounds (r,), NaN where it does
    not apply. cost: numbers the statistic holds per round, to bound the memory. Equal n and seed give equal users
    whatever the statistic, so that the draws of two systems are paired.
    """
    if n < 1:
        return np.full(rounds, np.nan)
    counts, generator = np.ones(n, np.int64), rng(seed, "bootstrap", "users")
    block = max(1, CELLS // max(n, cost))
    parts = [
        statistic(_weights(counts, min(block, rounds - start), generator).astype(np.float64))
        for start in range(0, rounds, block)
    ]
    return np.concatenate(parts)


def interval_of(draws: Floats, level: float = 0.95) -> Interval:
    """The percentile interval of bootstrap draws; NaN without any that applies."""
    low, high = _quantiles(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), float(high))


def paired_draws(a: Floats, b: Floats) -> float:
    """Two-sided bootstrap p-value that two statistics are equal, from draws of the same users; NaN without any.

    Twice the smaller share of rounds in which one is not above the other, each with one round added (Davison and
    Hinkley 1997, section 4.2); equal draws give 1.
    """
    difference = _differences(a, b)
    if not len(difference):
        return float("nan")
    below, above = int((difference <= 0).sum()), int((difference >= 0).sum())
    return min(1.0, 2.0 * (1 + min(below, above)) / (1 + len(difference)))


def _quantiles(means: Floats, tails: list[float]) -> Floats:
    means = means[~np.isnan(means)]
    return np.quantile(means, tails) if len(means) else np.full(2, np.nan)


def _kinds(table: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distinct columns (systems, u) and how many users have each."""
    if len(table) == 1:
        kinds, counts = np.unique(table[0], return_counts=True)
        return kinds[None, :], counts.astype(np.int64)
    order = np.lexsort(table)
    table = table[:, order]
    same = (table[:, 1:] == table[:, :-1]) | (np.isnan(table[:, 1:]) & np.isnan(table[:, :-1]))
    starts = np.flatnonzero(np.concatenate([np.ones(1, bool), ~same.all(axis=0)]))
    return table[:, starts], np.diff(np.append(starts, table.shape[1]))


def _differences(a: Any, b: Any) -> Floats:
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise DataError(f"paired values of unequal shape: {left.shape} and {right.shape}")
    made = left - right
    return np.asarray(made[~np.isnan(made)])


def paired(a: Any, b: Any, test: Test = "permutation", *, seed: int = 0, rounds: int = 10_000) -> float:
    """Two-sided p-value that two systems are equally good on the same users; NaN with fewer than two pairs.

    permutation: signs of the differences are flipped at random; all 2^m patterns when at most 16 differences are not
    zero, else (1 + patterns at least as extreme) / (1 + rounds). t: paired t test. wilcoxon: signed ranks, zeros
    dropped. Equal systems give 1.
    """
    if test not in ("permutation", "t", "wilcoxon"):
        raise OptionError(f"no paired test is called {test!r}", hint="permutation, t or wilcoxon")
    difference = _differences(a, b)
    if len(difference) < 2:
        return float("nan")
    if not difference.any():
        return 1.0
    if test == "permutation":
        return _sign_flip(difference[difference != 0], seed, rounds)
    from scipy import stats

    if test == "t":
        return float(stats.ttest_1samp(difference, 0.0).pvalue)
    return float(stats.wilcoxon(difference).pvalue)


def _sign_flip(difference: Floats, seed: int, rounds: int) -> float:
    size, count = np.unique(np.abs(difference), return_counts=True)
    extreme = abs(difference.sum()) - 1e-12 * np.abs(difference).sum()
    if len(difference) <= EXACT:
        m = len(difference)
        bits = (np.arange(1 << m)[:, None] >> np.arange(m)) & 1
        return float((np.abs((2 * bits - 1) @ difference) >= extreme).mean())
    generator, beyond = rng(seed, "paired"), 0
    block = max(1, CELLS // len(size))
    for start in range(0, rounds, block):
        shape = (min(block, rounds - start), len(size))
        if count.max() == 1:
            plus = generator.integers(0, 2, shape, dtype=np.int8).astype(np.float64)
        else:
            plus = generator.binomial(count, 0.5, shape).astype(np.float64)
        beyond += int((np.abs((2.0 * plus - count) @ size) >= extreme).sum())
    return (1 + beyond) / (1 + rounds)


def holm(p: Any) -> Floats:
    """Holm's step-down adjusted p-values, in the order given; NaN stays and does not count. Source: Holm 1979."""
    given = np.asarray(p, np.float64)
    there = np.flatnonzero(~np.isnan(given))
    order = there[np.argsort(given[there], kind="stable")]
    out = given.copy()
    out[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)), 1.0)
    return out


def effect(a: Any, b: Any, seed: int = 0, *, rounds: int = 1000, level: float = 0.95) -> Effect:
    """How much better a is than b: mean difference with its bootstrap interval, and Cohen's d of the pairs.

    d = mean / standard deviation (n - 1) of the differences; NaN with fewer than two pairs, or when they do not vary.
    """
    difference = _differences(a, b)
    low, high = bootstrap(difference, seed, rounds=rounds, level=level)
    n = len(difference)
    mean = float(difference.mean()) if n else float("nan")
    deviation = float(difference.std(ddof=1)) if n > 1 else 0.0
    return Effect(mean, low, high, mean / deviation if deviation > 0 else float("nan"), n)


def mcnemar(a: Any, b: Any) -> float:
    """Exact two-sided McNemar p-value for paired successes (hit or not): binomial over the pairs that differ.

    a, b: (n,) 0/1 or bool; pairs with NaN are left out; 1 when no pair differs. Source: McNemar 1947.
    """
    from scipy import stats

    difference = _differences(a, b)
    if not np.isin(difference, (-1.0, 0.0, 1.0)).all():
        raise DataError("mcnemar needs 0/1 values", hint="use paired() for graded values or expected ties")
    up, down = int((difference > 0).sum()), int((difference < 0).sum())
    return float(stats.binomtest(up, up + down, 0.5).pvalue) if up + down else 1.0
