"""Held-out likes, each beside an item its user never met: what a yes or a curve of taste is set by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Lists, Queries, holdout, rng


@dataclass(frozen=True, eq=False)
class HeldPairs:
    """train: what came before the cut. queries: (n) asked at the cut. liked, other: (n,) catalog rows."""

    train: Dataset
    queries: Queries
    liked: NDArray[np.int64]
    other: NDArray[np.int64]


def held_pairs(data: Dataset, most: int, seed: int = 0) -> HeldPairs:
    """At most one pair a user, of at most `most` users drawn by the seed. Raises DataError for an empty log."""
    cut = holdout(data)
    some = np.flatnonzero(cut.truth.lengths > 0)
    some = np.sort(rng(seed, "held pairs").permutation(some)[:most])
    queries, truth = cut.queries.take(some), cut.truth.take(some).top_k(1)
    return HeldPairs(cut.train, queries, truth.items.astype(np.int64), _not_met(queries, truth, seed))


def _not_met(queries: Queries, truth: Lists, seed: int) -> NDArray[np.int64]:
    """An item of each question that it does not exclude and that is not the held-out one, drawn by its user."""
    wide, made = len(queries.catalog), []
    for i, name in enumerate(queries.user_ids()):
        met = {*queries.exclude[slice(*queries.exclude_offsets[i : i + 2])].tolist(), *truth[i].items.tolist()}
        drawn = rng(seed, "held pairs", name).integers(0, wide, 50).tolist()
        made.append(next((row for row in drawn if row not in met), drawn[0]))
    return np.array(made, np.int64)
