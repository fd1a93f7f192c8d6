"""How good lists are for users with short and with long histories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.metrics import bootstrap

BOUNDS = ((0, 0), (1, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, 10**9))
"""Fewest and most events of a history, both included."""


def by_history(values: Mapping[str, NDArray[np.float64]], lengths: NDArray[np.int64], metric: str) -> dict[str, Any]:
    """Means with 95 % intervals over users in bins of history length; {} where no bin holds anybody.

    values: system -> a value per question (n,), NaN where it does not count. lengths: (n,) events before the question.
    """
    bins = [(low, high, (lengths >= low) & (lengths <= high)) for low, high in BOUNDS]
    bins = [one for one in bins if one[2].any()]
    if not bins or not values:
        return {}
    return {
        "metric": metric,
        "bins": [_named(low, high) for low, high, _ in bins],
        "users": [int(inside.sum()) for _, _, inside in bins],
        "values": {name: [_mean(column[inside]) for _, _, inside in bins] for name, column in values.items()},
    }


def _named(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}" if high < BOUNDS[-1][1] else f"{low}+"


def _mean(column: NDArray[np.float64]) -> list[float | None]:
    """Mean, low, high; None for a bin in which nothing counts."""
    known = column[~np.isnan(column)]
    if not len(known):
        return [None, None, None]
    low, high = bootstrap(known)
    return [float(known.mean()), float(np.squeeze(low)), float(np.squeeze(high))]
