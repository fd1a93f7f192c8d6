"""What users liked next: questions about the past, and the item that followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import DataError, Dataset, Queries, ragged


@dataclass(frozen=True, eq=False)
class Nexts:
    """n questions, and the item (n,) int32 that the user of each liked next."""

    queries: Queries
    item: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: NDArray[Any]) -> Nexts:
        """Those at these positions."""
        return Nexts(self.queries.take(rows), self.item[rows])


def next_rows(data: Dataset) -> NDArray[np.int64]:
    """Rows of the liked events of a log that follow a like of their user, in the order of the log.

    An item that its user met before, liked or not, is no next one. Events of one moment do not precede each other.
    """
    log = data.interactions
    liked = log.where(log.liked)
    likes = ragged.count_before(liked.offsets, liked.time, log.user.astype(np.int64), log.time)
    pair = log.user.astype(np.int64) * (data.n_items + 1) + log.item
    _, place = np.unique(pair, return_inverse=True)
    met = np.full(len(pair), np.inf)
    np.minimum.at(met, place, log.time)
    return np.flatnonzero(log.liked & (likes > 0) & (log.time <= met[place]))


def liked_next(data: Dataset) -> Nexts:
    """What `next_rows` says as questions and items, oldest first.

    The history of each is what came strictly before it. Raises DataError where there is none.
    """
    log, rows = data.interactions, next_rows(data)
    if not len(rows):
        raise DataError(
            f"{data.name} has no user who liked one item after another", hint="import more events, or a like rule"
        )
    rows = rows[np.argsort(log.time[rows], kind="stable")]
    return Nexts(data.queries(log.user[rows], now=log.time[rows]), log.item[rows])
