"""What belongs to one user lives only here, so that erasure and export are generic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.ids import IdTable
from hexarec.core.queries import Queries

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class PerUser:
    """One row per user: values (n, ...) array or csr (n, m); known (n,) bool marks rows that hold something."""

    users: IdTable
    values: NDArray[Any] | csr_array
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, users: IdTable, values: NDArray[Any] | csr_array, known: NDArray[np.bool_] | None = None) -> PerUser:
        """A table in which every row is known unless said otherwise."""
        return cls(users, values, np.ones(len(users), bool) if known is None else known)

    def rows(self, queries: Queries) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For each question the row of its user (0 where there is none) and whether the table knows that user."""
        rows = queries.user_rows(self.users).astype(np.int64)
        known = rows >= 0
        known[known] = self.known[rows[known]]
        return np.where(known, rows, 0), known

    def dense(self, queries: Queries) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The values of each question's user, zeros where unknown, and the mask of the known ones."""
        rows, known = self.rows(queries)
        values: Any = self.values
        if not isinstance(values, np.ndarray):
            values = values[rows].toarray()
        else:
            values = values[rows] if len(values) else np.zeros((len(rows), *values.shape[1:]), values.dtype)
        values[~known] = 0
        return values, known

    def with_users(self, users: Sequence[str]) -> PerUser:
        """The table with room for these users too, unknown so far. Values have to be an array."""
        new = [name for name in dict.fromkeys(users) if name not in self.users]
        if not new:
            return self
        old: Any = self.values
        # a new key: the rows after the old ones line up with no other table of the lineage
        table = IdTable.of([*self.users.ids.tolist(), *new])
        values = np.concatenate([old, np.zeros((len(new), *old.shape[1:]), old.dtype)])
        return replace(self, users=table, values=values, known=np.append(self.known, np.zeros(len(new), bool)))

    def reset(self, users: Sequence[str]) -> PerUser:
        """The table with these users' rows emptied and marked unknown; their ids stay."""
        rows = self.users.rows(list(users))
        rows = rows[rows >= 0]
        if not len(rows):
            return self
        known = self.known.copy()
        known[rows] = False
        values: Any = self.values
        if isinstance(values, np.ndarray):
            values = values.copy()
            values[rows] = 0
        else:
            from scipy.sparse import csr_array, diags_array

            values = csr_array(diags_array(known.astype(values.dtype)) @ values)
            values.eliminate_zeros()
        return replace(self, values=values, known=known)

    def forget(self, users: Sequence[str]) -> PerUser:
        """The table with these users' rows emptied, their ids replaced, and marked unknown."""
        rows = self.users.rows(list(users))
        rows = rows[rows >= 0]
        if not len(rows):
            return self
        ids = self.users.ids.copy()
        for row in rows.tolist():
            ids[row] = f"\x00erased:{row}"
        # a new key: the erased ids are gone, so the table no longer lines up with the old user lineage
        return replace(self.reset(users), users=IdTable.of(ids.tolist()))
