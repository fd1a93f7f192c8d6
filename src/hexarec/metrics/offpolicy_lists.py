"""Off-policy evaluation of whole lists: the reward of a list is the sum over its slots.

What a reward depends on decides the weight of slot k; less dependence, less variance, and bias where it is untrue:

    standard      the whole list: product of the weights of all slots
    interaction   the items down to slot k (a user reads from the top): product of weights 1 to k
    independent   the item in slot k alone: its own weight, of its probability in that slot whatever stands above
    cascade       interaction, doubly robust: sum over k of w(1..k) (r - q) + w(1..k-1) v

q = predicted reward of slot k and all below it, of what was shown; v = its mean over the policy's choices for slot k.
Sources: Li et al. 2018, KDD (independent); McInerney et al. 2020, KDD (interaction); Kiyohara et al. 2022, WSDM
(cascade).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.metrics.weighted import Estimate, diagnose, probability, summed

Floats = NDArray[np.float64]
LIST_METHODS = ("standard", "independent", "interaction", "cascade")


def estimate_lists(
    policy: Any,
    propensity: Any,
    reward: Any,
    method: str = "interaction",
    *,
    q: Any = None,
    v: Any = None,
    user: NDArray[Any] | None = None,
    normalised: bool = False,
    seed: int = 0,
    rounds: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """The mean reward per list under a policy, one of `LIST_METHODS` (see the module), with a bootstrap interval.

    policy, propensity: (n, slots) probability of the item shown there, under the policy judged and the logger: given
    the items above it, for `independent` in that slot at all. reward: (n, slots). A shorter list is filled with
    reward 0 and probability 1. q, v: (n, slots), for cascade. normalised: each slot is divided by its mean weight;
    not for cascade. user: (n,) whose list it was. Diagnostics are those of the slot with the least overlap.
    """
    chance, logger, r = probability(_table(policy), "policy"), _table(propensity), _table(reward)
    probability(logger, "propensity", above=True)
    if not chance.shape == logger.shape == r.shape or not r.size or not np.isfinite(r).all():
        raise DataError(f"lists of shapes {chance.shape}, {logger.shape}, {r.shape}", hint="(n, slots) numbers each")
    if method not in LIST_METHODS:
        raise OptionError(f"no estimator of lists is called {method!r}", hint=f"one of {', '.join(LIST_METHODS)}")
    weight = _weights(chance / logger, method)
    if method == "cascade":
        if q is None or v is None or normalised:
            raise OptionError("cascade needs q and v, and is not normalised")
        at, expected = _table(q), _table(v)
        if not at.shape == expected.shape == r.shape or not np.isfinite(at + expected).all():
            raise DataError(f"q of shape {at.shape}, v {expected.shape}", field="q", hint="(n, slots) numbers each")
        over = (weight * (r - at) + _above(weight) * expected).sum(1, keepdims=True)
        under = np.ones(over.shape)
    else:
        over = weight * r if normalised else (weight * r).sum(1, keepdims=True)
        under = weight if normalised else np.ones(over.shape)
    value, low, high = summed(over, under, user, seed=seed, rounds=rounds, level=level)
    said = min((diagnose(column) for column in weight.T), key=lambda found: found.ess)
    return Estimate(value, low, high, said.ess, method, said)


def _table(values: Any) -> Floats:
    made = np.asarray(values, np.float64)
    if made.ndim != 2:
        raise DataError(f"a table of shape {made.shape}", hint="(n, slots)")
    return made


def _weights(each: Floats, method: str) -> Floats:
    if method == "independent":
        return each
    down = np.asarray(np.cumprod(each, axis=1))
    return down if method != "standard" else np.repeat(down[:, -1:], each.shape[1], axis=1)


def _above(weight: Floats) -> Floats:
    """The weight of what stands above each slot; 1 at the top."""
    return np.concatenate([np.ones((len(weight), 1)), weight[:, :-1]], axis=1)
