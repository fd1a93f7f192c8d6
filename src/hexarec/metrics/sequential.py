"""Tests that may be looked at before the end: after every user, or at a few looks that were planned.

After every user: always-valid p-values and intervals, the mixture sequential probability ratio test. That is the
likelihood of the difference under effects drawn from N(0, tau^2), over that under no effect. At any time it exceeds
1 / alpha with probability at most alpha when there is no effect (Robbins 1970; Johari et al. 2017, KDD,
"Peeking at A/B Tests"). With s2 = the variance of the difference d,

    Lambda = sqrt(s2 / (s2 + tau^2)) exp(tau^2 d^2 / (2 s2 (s2 + tau^2)))

which for n pairs whose differences have variance V is the paper's form with s2 = V / n.

At planned looks: O'Brien and Fleming's group-sequential bounds, which find an effect with fewer users when it is looked
for a few times only.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import OptionError

Floats = NDArray[np.float64]


class Looks(NamedTuple):
    """What may be said at each look, (looks,) each: p never rises, the interval never widens."""

    p: Floats
    low: Floats
    high: Floats


def running(
    values: Floats, over: Floats, group: NDArray[np.int64], treatment: int, start: int
) -> tuple[Floats, Floats]:
    """The difference treatment - control and its variance after each user, NaN until both arms have `start` users.

    values, over: (n,) in the order in which users came; an arm's number is sum of values / sum of `over` (the mean,
    when `over` is 1), with the variance of the delta method.
    """
    arms = [_arm(values, over, group == which, start) for which in (treatment, 0)]
    return arms[0][0] - arms[1][0], arms[0][1] + arms[1][1]


def _arm(values: Floats, over: Floats, mine: NDArray[np.bool_], start: int) -> tuple[Floats, Floats]:
    n = np.cumsum(mine).astype(np.float64)
    n[n < max(start, 2)] = np.nan
    # sums of squares lose digits far from 0, so all is measured from the first users: later ones move no earlier look
    first = np.flatnonzero(mine)[:start]
    middle = values[first].sum() / over[first].sum() if over[first].any() else 0.0
    y, d = np.where(mine, values - middle * over, 0.0), np.where(mine, over, 0.0)
    below = np.cumsum(d)
    below[below <= 0] = np.nan
    ratio = np.cumsum(y) / below
    squares = np.cumsum(y * y) - 2 * ratio * np.cumsum(y * d) + ratio**2 * np.cumsum(d * d)
    return middle + ratio, np.maximum(squares, 0.0) * n / ((n - 1) * below**2)


def mixture(effect: Floats, variance: Floats, tau: float, level: float = 0.95) -> Looks:
    """The always-valid p-value and confidence sequence at each look, running minimum and running intersection.

    effect, variance: (looks,) the estimate at each look and its variance; NaN or a variance of 0 is no look. tau:
    the size of effect that is expected, in the metric's own unit, fixed before the data. The variance is estimated,
    so what is said holds from about a hundred users per arm on. An empty intersection (low above high) says that the
    effect is not one number: it drifts.
    """
    if not tau > 0.0 or not 0.0 < level < 1.0:
        raise OptionError(f"tau is {tau} and level {level}", hint="tau above 0, level between 0 and 1")
    looked = variance > 0
    s2 = np.where(looked, variance, 1.0)
    wide = s2 + tau**2
    shift = np.where(looked, effect, 0.0)
    log_ratio = 0.5 * np.log(s2 / wide) + tau**2 * shift**2 / (2 * s2 * wide)
    p = np.where(looked, np.exp(-np.maximum(log_ratio, 0.0)), 1.0)
    half = np.sqrt(s2 * wide / tau**2 * (2 * np.log(1 / (1 - level)) + np.log(wide / s2)))
    low, high = np.where(looked, shift - half, -np.inf), np.where(looked, shift + half, np.inf)
    return Looks(np.minimum.accumulate(p), np.maximum.accumulate(low), np.minimum.accumulate(high))


NODES, EACH = 128, 8
"""Points of the quadrature: at least so many, and so many for each standard deviation of the bounds."""
FAR = 10.0
"""A z that nobody reaches by chance."""


def crossing(bound: float, looks: int) -> float:
    """The probability that |S_k|, the sum of k standard normal steps, reaches `bound` at one of so many looks.

    By recursive integration of the density of the sums that have not crossed (Armitage, McPherson & Rowe 1969).
    """
    if not 0.0 < bound < FAR * np.sqrt(looks):
        return float(not bound > 0.0)
    nodes, weights = _quadrature(max(NODES, int(EACH * bound)))
    x, w = bound * nodes, bound * weights
    inside = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    step = np.exp(-0.5 * (x[:, None] - x[None, :]) ** 2) / np.sqrt(2 * np.pi) * w
    for _ in range(looks - 1):
        inside = step @ inside
    return float(np.clip(1.0 - w @ inside, 0.0, 1.0))


@cache
def _quadrature(n: int) -> tuple[Floats, Floats]:
    """Places and weights of Gauss and Legendre between -1 and 1."""
    return np.polynomial.legendre.leggauss(n)


def obrien_fleming(looks: int, level: float = 0.95) -> Floats:
    """The two-sided bounds of |z| at each of `looks` equally spaced looks, (looks,): C sqrt(looks / k).

    Early looks need much, the last hardly more than one look would: of all trials without an effect, 1 - level cross at
    any look (O'Brien & Fleming 1979; C as in Jennison & Turnbull 2000, table 2.3).
    """
    if looks < 1 or not 0.0 < level < 1.0:
        raise OptionError(f"{looks} looks at level {level}", hint="at least one look, level between 0 and 1")
    return np.asarray(_bound(looks, level) / np.sqrt(np.arange(1, looks + 1)))


@cache
def _bound(looks: int, level: float) -> float:
    """The bound of |S_k| that is crossed with probability 1 - level."""
    from scipy.optimize import brentq

    return float(brentq(lambda b: crossing(b, looks) - (1.0 - level), 1e-3, FAR * np.sqrt(looks), xtol=1e-10))


def grouped(effect: Floats, variance: Floats, looks: int, level: float = 0.95) -> Looks:
    """What may be said at each look of a group-sequential trial, of which so many are planned, equally spaced.

    effect, variance: (done,) of the looks so far; NaN or a variance of 0 says nothing. p is the smallest alpha at which
    a look so far would have crossed O'Brien and Fleming's bounds; the interval is the intersection of the repeated ones
    (Jennison & Turnbull 2000, section 9). Both hold at whichever look one stops.
    """
    if len(effect) > looks:
        raise OptionError(f"{len(effect)} looks, {looks} were planned")
    k = np.arange(1, len(effect) + 1)
    looked = variance > 0
    error = np.sqrt(np.where(looked, variance, 1.0))
    shift = np.where(looked, effect, 0.0)
    furthest = np.maximum.accumulate(np.where(looked, np.abs(shift) / error * np.sqrt(k), 0.0))
    p = np.array([crossing(float(one), looks) for one in furthest])
    half = obrien_fleming(looks, level)[: len(effect)] * error
    low, high = np.where(looked, shift - half, -np.inf), np.where(looked, shift + half, np.inf)
    return Looks(p, np.maximum.accumulate(low), np.minimum.accumulate(high))
