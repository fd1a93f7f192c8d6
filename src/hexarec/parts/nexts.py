"""What users liked next: questions about the past, and the item that followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import DataError, Dataset, Lists, Queries, ragged


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


def liked_next(data: Dataset) -> Nexts:
    """All liked events with something liked before them, oldest first; what the user had met before is no next item.

    The history of each is what came strictly before it. Raises DataError where there is none.
    """
    log = data.interactions
    rows = np.flatnonzero(log.liked)
    rows = rows[np.argsort(log.time[rows], kind="stable")]
    made = Nexts(data.queries(log.user[rows], now=log.time[rows]), log.item[rows])
    past = made.queries.history
    liked = np.bincount(ragged.segments(past.offsets), past.liked, minlength=len(rows)) > 0
    itself = Lists.of(data.catalog.key, made.item[:, None].tolist())
    fresh = itself.without(past.item, past.offsets).lengths > 0
    if not (liked & fresh).any():
        raise DataError(
            f"{data.name} has no user who liked one item after another", hint="import more events, or a like rule"
        )
    return made.take(np.flatnonzero(liked & fresh))
