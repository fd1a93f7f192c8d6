"""Which items other users liked as well: a small table that may miss a pair and never makes one up.

Of each user the newest likes are read, of many users a sample, and of each item the pairs that most users have are
kept: the table has at most KEPT entries an item, whatever the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, rng

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEWEST, USERS, KEPT = 20, 10_000, 50
"""Newest likes of a user and most users that are read, and pairs that are kept of an item."""
ENOUGH = 2
"""Counts of users are told apart up to here: one may be the user who asks."""


def liked_together(data: Dataset, seed: int = 0) -> csr_array:
    """(n_items, n_items) int8: how many users liked both, 1 or ENOUGH for more; a pair may stand in one row only."""
    from scipy.sparse import csr_array

    rows = np.sort(rng(seed, "together").permutation(data.n_users)[:USERS])
    past = data.queries(rows).history
    recent = past.where(past.liked).last(NEWEST).matrix(data.n_items)
    pairs = (recent.T @ recent).tocoo()
    row, column, count = (one[pairs.row != pairs.col] for one in (pairs.row, pairs.col, pairs.data.astype(np.int64)))
    order = np.argsort(row.astype(np.int64) * (USERS + 1) - count, kind="stable")  # of an item the most users first
    row, column, count = row[order], column[order], count[order]
    keep = np.arange(len(row)) - np.searchsorted(row, row) < KEPT
    few = np.minimum(count[keep], ENOUGH).astype(np.int8)
    made: csr_array = csr_array((few, (row[keep], column[keep])), shape=pairs.shape)
    return made


@dataclass
class Together:
    """The table beside the history of one question. newest: liked rows, newest first; what is read of a row is kept."""

    pairs: Any
    newest: Sequence[int]
    _read: dict[tuple[int, int], set[int]] = field(default_factory=dict)

    def first(self, item: int, least: int) -> int:
        """The newest row that at least so many users liked as well as the item; -1 for none."""
        mine = self._with(item, least)
        return next((row for row in self.newest if row in mine or item in self._with(row, least)), -1)

    def _with(self, row: int, least: int) -> set[int]:
        known = self._read.get((row, least))
        if known is None:
            known = self._read[row, least] = self._row(row, least)
        return known

    def _row(self, row: int, least: int) -> set[int]:
        if self.pairs is None or row + 1 >= len(self.pairs.indptr):
            return set()
        low, high = self.pairs.indptr[row], self.pairs.indptr[row + 1]
        columns = self.pairs.indices[low:high]
        return set((columns if least == 1 else columns[self.pairs.data[low:high] >= least]).tolist())


def liked_by_many(data: Dataset) -> NDArray[np.bool_]:
    """(n_items,) whether two users or more, and no fewer than the mean of the items that anybody liked, liked it."""
    counts = np.bincount(data.interactions.matrix(data.n_items).indices, minlength=data.n_items)
    mean = counts[counts > 0].mean() if counts.any() else 0.0
    return np.asarray(counts >= max(ENOUGH, mean))
