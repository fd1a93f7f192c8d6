"""Off-policy evaluation: what a policy would have earned, from what another one showed.

Each estimator weights a logged reward r by w = (probability under the policy judged) / (propensity, the probability
under the policy that logged), and some add a model q of the reward. With v = the mean of q under the policy judged:

    dm        mean v                             right when q is
    ips       mean w r                           right when the propensities are
    clipped   mean min(w, lam) r                 less variance, biased towards what was logged
    snips     sum w r / sum w                    a shift of all rewards shifts it alike
    dr        mean (v + w (r - q))               right when q or the propensities are
    sndr      mean v + sum w (r - q) / sum w
    switch    dr, with q alone where w > lam
    dros      dr with lam w / (w^2 + lam) for w
    sg        ips with w / (1 - lam + lam w) for w, lam in 0 to 1

Sources: Horvitz and Thompson 1952; Swaminathan and Joachims 2015, NeurIPS (snips); Dudik et al. 2011, ICML (dr); Wang
et al. 2017, ICML (switch); Su et al. 2020, ICML (dros); Metelli et al. 2021, NeurIPS (sg). Lists: `offpolicy_lists`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError, OptionError
from hexarec.core.exposures import Exposures
from hexarec.metrics.weighted import Estimate, diagnose, probability, summed

Floats = NDArray[np.float64]
TINY = 1e-300  # 0 / TINY = 0, where a weight of 0 meets a lam at its end


@dataclass(frozen=True, eq=False)
class Logged:
    """What was done and what came of it, one row per decision.

    action: (n,) column of what was shown, in the tables of `estimate`. reward: (n,). propensity: (n,) probability,
    above 0, with which the logger chose it. user: (n,) whose decision it was; users are what the intervals draw,
    decisions when left out. logger: (n, actions) the logger's probabilities of everything, where they are known.
    """

    action: NDArray[np.int64]
    reward: Floats
    propensity: Floats
    user: NDArray[Any] | None = None
    logger: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.action)
        if not n or self.reward.shape != (n,) or self.propensity.shape != (n,):
            raise DataError(f"{self.reward.size} rewards, {self.propensity.size} propensities for {n} actions")
        if not np.isfinite(self.reward).all():
            raise DataError("rewards that are no numbers", field="reward", hint="say what an unknown gain counts as")
        probability(self.propensity, "propensity", above=True)


class _Terms(NamedTuple):
    w: Floats
    r: Floats
    q: Floats
    v: Floats
    lam: float


_MEANS: dict[str, Callable[[_Terms], Floats]] = {
    "dm": lambda t: t.v,
    "ips": lambda t: t.w * t.r,
    "clipped": lambda t: np.minimum(t.w, t.lam) * t.r,
    "dr": lambda t: t.v + t.w * (t.r - t.q),
    "switch": lambda t: t.v + np.where(t.w <= t.lam, t.w, 0.0) * (t.r - t.q),
    "dros": lambda t: t.v + t.lam * t.w / np.maximum(t.w**2 + t.lam, TINY) * (t.r - t.q),
    "sg": lambda t: t.w / np.maximum(1.0 - t.lam + t.lam * t.w, TINY) * t.r,
}
METHODS = (*_MEANS, "snips", "sndr")
_WITH_Q = {"dm", "dr", "sndr", "switch", "dros"}
_WITH_LAM = {"clipped", "switch", "dros", "sg"}


def estimate(
    policy: Any,
    logged: Logged,
    method: str = "snips",
    *,
    q: Any = None,
    lam: float | None = None,
    seed: int = 0,
    rounds: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """The mean reward per decision under `policy`, one of `METHODS` (see the module), with a bootstrap interval.

    policy: (n, actions) its probabilities, or (n,) those of what was logged. q: (n, actions) predicted rewards, not
    fitted on these rows; wants the whole table of `policy`. lam: for clipped, switch, dros and sg, fixed before the
    rewards are seen. The interval draws numerator and denominator of self-normalised estimators together.
    """
    _check(method, q, lam)
    n = len(logged.action)
    table = probability(np.asarray(policy, np.float64), "policy")
    if table.shape[0] != n or table.ndim > 2 or (table.ndim == 2 and not _inside(logged.action, table.shape[1])):
        raise DataError(f"a policy of shape {table.shape} for {n} decisions", hint="(n, actions) or (n,)")
    if table.ndim == 2 and (np.abs(table.sum(1) - 1.0) > 1e-4).any():
        raise DataError(
            "rows of the policy that do not sum to 1", field="policy", hint="probabilities over all actions"
        )
    chosen = table if table.ndim == 1 else table[np.arange(n), logged.action]
    weight = chosen / logged.propensity
    predicted = None if q is None else _predicted(np.asarray(q, np.float64), table, logged.action)
    at, expected = (np.zeros(n), np.zeros(n)) if predicted is None else predicted
    terms = _Terms(weight, logged.reward, at, expected, 1.0 if lam is None else lam)
    over, under = _columns(method, terms)
    value, low, high = summed(over, under, logged.user, seed=seed, rounds=rounds, level=level)
    residual = float("nan") if predicted is None else float((logged.reward - at).mean())
    said = diagnose(weight, unsupported=_unsupported(table, logged), residual=residual)
    return Estimate(value, low, high, said.ess, method, said)


def _check(method: str, q: Any, lam: float | None) -> None:
    if method not in METHODS:
        raise OptionError(f"no estimator is called {method!r}", hint=f"one of {', '.join(METHODS)}")
    if method in _WITH_Q and q is None:
        raise OptionError(f"{method} needs q, predicted rewards", hint="ips and snips need none")
    if method in _WITH_LAM and (lam is None or not lam >= 0.0 or (method == "sg" and lam > 1.0)):
        raise OptionError(f"lam of {method} is {lam}", hint="0 to 1 for sg, 0 or more for clipped, switch and dros")


def _inside(action: NDArray[np.int64], actions: int) -> bool:
    return bool(((action >= 0) & (action < actions)).all())


def _predicted(q: Floats, policy: Floats, action: NDArray[np.int64]) -> tuple[Floats, Floats]:
    if policy.ndim != 2 or q.shape != policy.shape:
        raise DataError(f"q of shape {q.shape}, policy {policy.shape}", field="q", hint="(n, actions) each")
    if not np.isfinite(q).all():
        raise DataError("predicted rewards that are no numbers", field="q")
    return q[np.arange(len(q)), action], (policy * q).sum(1)


def _columns(method: str, terms: _Terms) -> tuple[Floats, Floats]:
    """What is summed above and below the line, (n, parts) each: the value is the sum of the parts' ratios."""
    one = np.ones(len(terms.w))
    if method == "snips":
        return (terms.w * terms.r)[:, None], terms.w[:, None]
    if method == "sndr":
        return np.stack([terms.v, terms.w * (terms.r - terms.q)], 1), np.stack([one, terms.w], 1)
    return _MEANS[method](terms)[:, None], one[:, None]


def _unsupported(policy: Floats, logged: Logged) -> float:
    if policy.ndim == 1:
        return float("nan")
    if logged.logger is None:
        lacking = np.bincount(logged.action, minlength=policy.shape[1]) == 0
        return float(policy[:, lacking].sum(1).mean())
    if logged.logger.shape != policy.shape:
        raise DataError(f"logger of shape {logged.logger.shape}, policy {policy.shape}", field="logger")
    return float(np.where(logged.logger > 0, 0.0, policy).sum(1).mean())


def logged_of(exposures: Exposures) -> Logged:
    """Each shown item as a decision: `gain` is the reward, `propensity` its propensity, the question's user the user.

    Rows are in the order of `exposures.shown.items`, actions are catalog rows; a list of nobody is a user of its own.
    Raises DataError without propensities, or where a gain is unknown (NaN).
    """
    shown, user = exposures.shown, exposures.queries.user.astype(np.int64)
    if "propensity" not in shown.fields:
        raise DataError(
            "these exposures have no propensities", field="propensity", hint="log them when lists are drawn"
        )
    return Logged(
        shown.items.astype(np.int64),
        shown.fields["gain"].astype(np.float64),
        shown.fields["propensity"].astype(np.float64),
        np.where(user < 0, -1 - np.arange(len(user)), user)[ragged.segments(shown.offsets)],
    )
