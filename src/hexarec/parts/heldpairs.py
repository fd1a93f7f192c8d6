"""Held-out likes, each beside an item its user never met: what a yes or a curve of taste is set by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Queries, holdout, rng


@dataclass(frozen=True, eq=False)
class HeldPairs:
    """train: what came before the cut. queries: (n) asked at the cut. liked, other: (n,) catalog rows."""

    train: Dataset
    queries: Queries
    liked: NDArray[np.int64]
    other: NDArray[np.int64]


def held_pairs(data: Dataset, most: int, seed: int = 0) -> HeldPairs:
    """At most one pair a user, of at most `most` users drawn by the seed; none of who has met everything.

    Raises DataError for an empty log.
    """
    cut = holdout(data)
    some = np.flatnonzero(cut.truth.lengths > 0)
    some = np.sort(rng(seed, "held pairs").permutation(some)[:most])
    queries, liked = cut.queries.take(some), cut.truth.take(some).top_k(1).items.astype(np.int64)
    other = _not_met(data, queries, seed)
    there = np.flatnonzero(other >= 0)
    return HeldPairs(cut.train, queries.take(there), liked[there], other[there])


def _not_met(data: Dataset, queries: Queries, seed: int) -> NDArray[np.int64]:
    """A living item for each question that its user met neither before nor after it, drawn by the user; -1 = none."""
    log, alive, made = data.interactions, data.catalog.alive, []
    for row, name in zip(queries.user.tolist(), queries.user_ids(), strict=True):
        met = set(log.item[slice(*log.offsets[row : row + 2])].tolist())
        drawn = rng(seed, "held pairs", name).integers(0, len(alive), 50).tolist()
        made.append(next((one for one in drawn if one not in met and alive[one]), -1))
        if made[-1] < 0 and len(free := np.setdiff1d(np.flatnonzero(alive), list(met))):
            made[-1] = int(free[drawn[0] % len(free)])
    return np.array(made, np.int64)
