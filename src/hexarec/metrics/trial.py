"""A/B tests from per-user values: effect, interval and p; CUPED, ratio metrics, peeking, guardrails.

One row is one user with everything the user did, so users are what is sampled. Values are never missing: a user who
did nothing has 0. Nothing is read when the arms did not get the users they should have got.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.metrics.assignment import ALARM, sample_ratio
from hexarec.metrics.sequential import grouped, mixture, running

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]


class Result(NamedTuple):
    """What an experiment says.

    effect: treatment - control, in the metric's unit, with its interval [low, high] at `level` and two-sided `p`.
    method: what was done, for example "cuped, welch". n: users per arm. sample_ratio_p: see `sample_ratio`.
    stopped: why the effect is not read ("" = it is); effect, low, high and p are then NaN.
    """

    effect: float
    low: float
    high: float
    p: float
    method: str
    n: tuple[int, ...]
    sample_ratio_p: float
    level: float = 0.95
    stopped: str = ""


def analyse(
    values: Any,
    arm: Any,
    *,
    shares: Sequence[float] = (0.5, 0.5),
    treatment: int = 1,
    over: Any = None,
    before: Any = None,
    tau: float | None = None,
    looks: int | None = None,
    planned: int | None = None,
    start: int = 100,
    level: float = 0.95,
) -> Result:
    """The effect of an arm against control (arm 0).

    values: (n,) one number per user. arm: (n,) 0, 1, ... as in `shares`, the planned shares; all assigned users.
    over: (n,) what lies below the line of a ratio metric (clicks over impressions), per user; delta method.
    before: (n,) the same kind of number from before the experiment, NaN = no history; CUPED.
    tau: makes p and interval always valid (see `sequential.mixture`): rows in the order users came, first look when
    both arms have `start` users. looks: how many looks are planned, at equal parts of `planned` users of both arms
    together; what is said is that of the newest of them (see `sequential.grouped`), later users do not count. Without
    tau and looks, Welch's t, good for one look at a time fixed beforehand.
    """
    y, group = _columns(values, arm, len(shares))
    if not 1 <= treatment < len(shares) or not 0.0 < level < 1.0 or start < 2:
        raise OptionError(f"treatment {treatment}, level {level}, start {start}", hint="arm 0 is control; start >= 2")
    below = None if over is None else _below(over, group, len(shares))
    check_plan(tau, looks, planned)
    if (tau, looks) != (None, None) and below is not None and before is not None:
        raise OptionError("no CUPED of a ratio metric at several looks", hint="leave out tau and looks, over or before")
    counts = np.bincount(group, minlength=len(shares))
    ratio_p = sample_ratio(counts.tolist(), shares)
    used = ("delta" * (below is not None), "cuped" * (before is not None), _name(tau, looks))
    method = ", ".join(word for word in used if word)
    n = tuple(counts.tolist())
    reason = _unreadable(n, shares, ratio_p, treatment, 2 if tau is None else start)
    if not reason and looks and planned and (pair := n[0] + n[treatment]) * looks < planned:
        reason = f"{pair} users, the first look is after {-(-planned // looks)}"
    if not reason:
        if looks and planned:
            effect, low, high, p = _at_looks(y, group, below, before, treatment, looks, planned, level)
        elif tau is None:
            effect, low, high, p = _once(y, group, below, before, treatment, level)
        else:
            effect, low, high, p = _looking(y, group, below, before, treatment, start, tau, level)
        if low <= high:
            return Result(effect, low, high, p, method, n, ratio_p, level)
        reason = "the intervals of earlier and later looks do not meet: the effect drifts"
    nan = float("nan")
    return Result(nan, nan, nan, nan, method, n, ratio_p, level, reason)


def check_plan(tau: float | None, looks: int | None, planned: int | None) -> None:
    """Raise OptionError for looks that cannot be planned like this."""
    if (looks is None) != (planned is None) or (looks is not None and tau is not None):
        raise OptionError("looks and planned go together, and without tau", hint="a few planned looks, or any with tau")
    if looks is not None and planned is not None and not 1 <= looks <= min(planned, 100):
        raise OptionError(f"{looks} looks at {planned} users", hint="1 to 100 looks, and a user for each")


def _name(tau: float | None, looks: int | None) -> str:
    return "obrien-fleming" if looks is not None else "welch" if tau is None else "msprt"


def _columns(values: Any, arm: Any, arms: int) -> tuple[Floats, Groups]:
    y, given = np.asarray(values, np.float64), np.asarray(arm)
    if y.ndim != 1 or y.shape != given.shape:
        raise DataError(f"values of shape {y.shape} for arms of shape {given.shape}", hint="(n,) each, one per user")
    if not np.isfinite(y).all():
        raise DataError(f"{int((~np.isfinite(y)).sum())} users without a value", hint="who did nothing has 0")
    group = given.astype(np.int64)
    if len(group) and ((group != given).any() or group.min() < 0 or group.max() >= arms):
        raise DataError(f"arms other than 0 to {arms - 1}", field="arm", hint="as many shares as arms")
    return y, group


def _below(over: Any, group: Groups, arms: int) -> Floats:
    d = np.asarray(over, np.float64)
    if d.shape != group.shape or not (np.isfinite(d) & (d >= 0)).all():
        raise DataError("a ratio needs a number of 0 or more below the line for each user", field="over")
    total = np.bincount(group, d, minlength=arms)
    if (total[np.unique(group)] == 0).any():
        raise DataError("an arm has nothing below the line", field="over")
    return d


def _unreadable(n: tuple[int, ...], shares: Sequence[float], ratio_p: float, treatment: int, least: int) -> str:
    if ratio_p < ALARM:
        return f"sample ratio: {list(n)} users for shares {list(shares)}, p = {ratio_p:.2g}"
    if min(n[0], n[treatment]) < least:
        return f"fewer than {least} users in an arm"
    return ""


def _once(
    y: Floats, group: Groups, below: Floats | None, before: Any, treatment: int, level: float
) -> tuple[float, float, float, float]:
    if below is not None:
        y = linear(y, below, group)
    if before is not None:
        y = cuped(y, before, group)
    return welch(y[group == treatment], y[group == 0], level)


def _looking(
    y: Floats, group: Groups, below: Floats | None, before: Any, treatment: int, start: int, tau: float, level: float
) -> tuple[float, float, float, float]:
    if before is not None:
        # theta from the users before the first look: it does not move later, so no earlier look changes
        behind = np.minimum(np.cumsum(group == 0), np.cumsum(group == treatment)) < start
        y = cuped(y, before, group, behind)
    effect, variance = running(y, np.ones(len(y)) if below is None else below, group, treatment, start)
    looks = mixture(effect, variance, tau, level)
    return float(effect[-1]), float(looks.low[-1]), float(looks.high[-1]), float(looks.p[-1])


def _at_looks(
    y: Floats, group: Groups, below: Floats | None, before: Any, treatment: int, looks: int, planned: int, level: float
) -> tuple[float, float, float, float]:
    """The newest look; each takes the first users, so that no earlier one changes when others come."""
    mine = (group == 0) | (group == treatment)
    y, group = y[mine], group[mine]
    ends = [-(-planned * k // looks) for k in range(1, looks + 1) if -(-planned * k // looks) <= len(y)]
    if before is not None:
        y = cuped(y, np.asarray(before, np.float64)[mine], group, np.arange(len(y)) < ends[0])
    over = np.ones(len(y)) if below is None else below[mine]
    effect, variance = running(y, over, group, treatment, 2)
    at = np.array(ends) - 1
    said = grouped(effect[at], variance[at], looks, level)
    return float(effect[at][-1]), float(said.low[-1]), float(said.high[-1]), float(said.p[-1])


def welch(a: Floats, b: Floats, level: float = 0.95) -> tuple[float, float, float, float]:
    """Mean a - mean b, its interval and two-sided p, variances unequal. Source: Welch 1947."""
    from scipy import stats

    effect = float(a.mean() - b.mean())
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    error = float(np.sqrt(parts.sum()))
    if error == 0.0:
        return effect, effect, effect, 1.0 if effect == 0.0 else 0.0
    freedom = parts.sum() ** 2 / (parts**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return effect, effect - half, effect + half, float(2 * stats.t.sf(abs(effect) / error, freedom))


def linear(values: Floats, over: Floats, group: Groups) -> Floats:
    """Per-user numbers whose mean in each arm is sum(values) / sum(over), and whose variance is that ratio's.

    R + (y - R d) / mean d, R = the arm's ratio: the delta method, clustered by user (Deng et al. 2018, KDD).
    """
    arms = int(group.max(initial=0)) + 1
    top, bottom = np.bincount(group, values, minlength=arms), np.bincount(group, over, minlength=arms)
    there = np.maximum(np.bincount(group, minlength=arms), 1)
    ratio = np.divide(top, bottom, out=np.zeros(arms), where=bottom > 0)[group]
    return np.asarray(ratio + (values - ratio * over) / (bottom / there)[group])


def cuped(values: Floats, before: Any, group: Groups, fit: NDArray[np.bool_] | None = None) -> Floats:
    """The values less what the time before the experiment foretells: the same effect, variance times 1 - rho^2.

    y - theta (x - mean x), theta = cov(x, y) / var(x) inside the arms, pooled over them. Users without history (NaN)
    get the mean of x, and whether there is a history is a second regressor. fit: rows that theta is taken from, all
    when left out. Source: Deng et al. 2013, WSDM.
    """
    x = np.asarray(before, np.float64)
    if x.shape != values.shape or np.isinf(x).any():
        raise DataError(f"{x.size} numbers from before for {values.size} users", field="before", hint="NaN = unknown")
    unknown = np.isnan(x)
    rows = np.ones(len(x), bool) if fit is None else fit
    known = x[rows & ~unknown]
    columns = np.stack([np.where(unknown, known.mean() if len(known) else 0.0, x), unknown.astype(np.float64)], 1)
    inner = _centred(columns[rows], group[rows])
    theta = np.linalg.lstsq(inner, _centred(values[rows, None], group[rows])[:, 0], rcond=None)[0]
    return np.asarray(values - (columns - columns[rows].mean(0)) @ theta)


def _centred(columns: Floats, group: Groups) -> Floats:
    sizes = np.maximum(np.bincount(group), 1)
    means = [np.bincount(group, column) / sizes for column in columns.T]
    return np.asarray(columns - np.stack(means, 1)[group])


class Guardrail(NamedTuple):
    """Harm (> 0 = worse) with its interval, and the verdict: held, broken, open (cannot say) or unread."""

    harm: float
    low: float
    high: float
    verdict: Literal["held", "broken", "open", "unread"]


def guardrail(result: Result, margin: float, *, better: Literal["higher", "lower"]) -> Guardrail:
    """Whether a metric that must not get worse by more than `margin` did not.

    held: the upper bound of the harm lies below the margin. broken: the lower bound lies above it. Each bound of a
    two-sided interval at level 1 - 2 alpha is a one-sided bound at alpha: analyse with level=.90 for 5 %. Of a
    result with tau, the verdict too may be looked at any time. All guardrails must hold, so none is corrected for
    the others.
    """
    if margin < 0.0 or better not in ("higher", "lower"):
        raise OptionError(f"margin {margin}, better {better!r}", hint="a margin of 0 or more; higher or lower")
    if result.stopped:
        return Guardrail(result.effect, result.low, result.high, "unread")
    harm, low, high = result.effect, result.low, result.high
    if better == "higher":
        harm, low, high = -harm, -high, -low
    return Guardrail(harm, low, high, "held" if high < margin else "broken" if low > margin else "open")
