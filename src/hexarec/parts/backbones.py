"""What is known of pairs: a vector of the user and one of the item for each listed item.

A `Backbone` has one vector for a user. A model whose user depends on the candidate offers `pairs` instead (DIN,
arXiv:1706.06978).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Backbone, Dataset, IdTable, Lists, PerUser, Queries, ragged, rng, same_lineage

Vectors = NDArray[np.float32]


@runtime_checkable
class Paired(Protocol):
    """Vectors of users that depend on the item."""

    def pairs(self, queries: Queries, lists: Lists) -> tuple[Vectors, Vectors]:
        """Vectors of user and item, both (len(lists.items), d), zeros where nothing is known."""


def pair_vectors(stage: Backbone | Paired, queries: Queries, lists: Lists) -> Vectors:
    """(len(lists.items), 2, d): the user's vector and the item's for each listed item.

    Zeros for items that the stage does not know. Raises as the stage does before `fit` and for another lineage.
    """
    if isinstance(stage, Paired):
        return np.stack(stage.pairs(queries, lists), 1)
    same_lineage(queries.catalog.key, lists.key)
    users, table = stage.users(queries), stage.items()
    made = np.zeros((len(lists.items), 2, table.shape[1]), np.float32)
    known = lists.items < len(table)
    made[:, 0] = users[ragged.segments(lists.offsets)]
    made[known, 1] = table[lists.items[known]]
    return made


def drawn_vectors(queries: Queries, lists: Lists, width: int) -> Vectors:
    """(len(lists.items), 2, width) of standard normal numbers that only the ids decide; zeros for nobody.

    The control of `pair_vectors`: as many numbers, as different from each other, that know nothing.
    """
    names, ids = queries.user_ids(), queries.catalog.items.ids
    users = {name: _drawn("user", name, width) if name else np.zeros(width, np.float32) for name in set(names)}
    items = {row: _drawn("item", ids[row], width) for row in set(lists.items.tolist())}
    row = ragged.segments(lists.offsets).tolist()
    made = [[users[names[i]], items[item]] for i, item in zip(row, lists.items.tolist(), strict=True)]
    return np.array(made, np.float32).reshape(len(lists.items), 2, width)


def _drawn(kind: str, name: str, width: int) -> Vectors:
    return rng(0, "drawn vectors", kind, name).standard_normal(width, np.float32)


@dataclass(frozen=True, eq=False)
class OwnVectors:
    """Learned vectors of users and items, zeros for all that nothing was learned of. items: (n_items, d)."""

    users: PerUser
    items: Vectors

    @classmethod
    def of(cls, data: Dataset, rows: NDArray[np.int64], table: Vectors) -> OwnVectors:
        """From a table whose rows were learned for pairs; `rows` (n, 2) are those of `pair_rows`."""
        seen = np.zeros(len(table), bool)
        seen[rows] = True
        kept, n = np.where(seen[:, None], table, np.float32(0.0)), 1 + data.n_users
        # without the lineage's key, so that a table that grows does not line up with these rows by number
        return cls(PerUser.of(IdTable.of(data.users.ids.ids.tolist()), kept[1:n], seen[1:n]), kept[n:])

    def of_pairs(self, queries: Queries, lists: Lists) -> Vectors:
        """(len(lists.items), 2, d) as `pair_vectors` gives them."""
        made = np.zeros((len(lists.items), 2, self.items.shape[1]), np.float32)
        known = lists.items < len(self.items)
        made[:, 0] = self.users.dense(queries)[0][ragged.segments(lists.offsets)]
        made[known, 1] = self.items[lists.items[known]]
        return made


def pair_rows(data: Dataset, queries: Queries, lists: Lists) -> NDArray[np.int64]:
    """(len(lists.items), 2) numbers of user and item in one table: 0 for nobody, then all users, then all items."""
    user = 1 + queries.user_rows(data.users.ids).astype(np.int64)
    return np.stack([user[ragged.segments(lists.offsets)], 1 + data.n_users + lists.items.astype(np.int64)], 1)
