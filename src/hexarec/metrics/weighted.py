"""What the estimates from weighted logs share: sums with intervals, and whether the weights can be believed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError
from hexarec.metrics.stats import interval_of, user_draws

Floats = NDArray[np.float64]
THIN = 0.05  # overlap below it is warned of
OFF = 4.0  # standard errors of the mean weight from 1 that are warned of


class Diagnostics(NamedTuple):
    """Whether an estimate can be believed.

    ess: (sum w)^2 / sum w^2, the decisions that the log is worth. overlap: ess / n. mean_weight: 1 when propensities
    and support are right. max_share: the largest weight over the sum. unsupported: mean probability of the policy
    judged on what the logger never shows (NaN = not known). residual: mean r - q on the log, 0 = calibrated (NaN
    without q). warnings: what is wrong, in words.
    """

    ess: float
    overlap: float
    mean_weight: float
    max_share: float
    unsupported: float
    residual: float
    warnings: tuple[str, ...]


class Estimate(NamedTuple):
    """The value per decision (or list), its bootstrap interval, and whether it can be believed."""

    value: float
    low: float
    high: float
    ess: float
    method: str
    diagnostics: Diagnostics


def probability(values: Floats, name: str, *, above: bool = False) -> Floats:
    """The values, or a DataError when they are no probabilities (`above`: 0 is none either)."""
    if not ((values >= 0.0) & (values <= 1.0 + 1e-6)).all() or (above and not (values > 0.0).all()):
        raise DataError(f"{name} outside {'(0' if above else '[0'}, 1]", field=name, hint="probabilities, not scores")
    return values


def summed(
    over: Floats, under: Floats, user: NDArray[Any] | None, *, seed: int, rounds: int, level: float
) -> tuple[float, float, float]:
    """Sum over the columns of sum(over) / sum(under), with an interval from draws of users; NaN where a sum is 0."""
    if user is not None:
        whose, group = np.unique(user, return_inverse=True)
        if group.shape != (len(over),):
            raise DataError(f"{group.size} users for {len(over)} rows", field="user")
        over, under = _by_user(over, group, len(whose)), _by_user(under, group, len(whose))
    draws = user_draws(lambda w: _ratios(w @ over, w @ under), len(over), seed=seed, rounds=rounds)
    low, high = interval_of(draws, level)
    return float(_ratios(over.sum(0)[None], under.sum(0)[None])[0]), low, high


def _ratios(over: Floats, under: Floats) -> Floats:
    return np.asarray(np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0).sum(1))


def _by_user(table: Floats, group: NDArray[np.int64], users: int) -> Floats:
    return np.stack([np.bincount(group, column, minlength=users).astype(np.float64) for column in table.T], 1)


def diagnose(weight: Floats, *, unsupported: float = float("nan"), residual: float = float("nan")) -> Diagnostics:
    """What the weights (n,) say of an estimate made with them."""
    n, total, squares = len(weight), float(weight.sum()), float((weight**2).sum())
    ess = total**2 / squares if squares else 0.0
    mean, error = total / n, float(weight.std()) / n**0.5
    warnings = []
    if ess < THIN * n:
        warnings.append(f"overlap {ess / n:.1%}: the log is worth {ess:.0f} of its {n} decisions")
    if abs(mean - 1.0) > OFF * error + 1e-9:
        warnings.append(f"mean weight {mean:.3g}, not 1: propensities are wrong, or the log lacks what the policy does")
    if unsupported > 1e-9:
        warnings.append(f"{unsupported:.1%} of the policy lies on what the logger never shows: no weight mends that")
    share = float(weight.max()) / total if total else float("nan")
    return Diagnostics(ess, ess / n, mean, share, unsupported, residual, tuple(warnings))
