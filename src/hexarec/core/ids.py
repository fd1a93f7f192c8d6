"""Append-only id tables: strings at the border, dense int32 rows inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, LineageError

Rows = NDArray[np.int32]
Strings = NDArray[np.object_]


def strings(values: Iterable[Any]) -> Strings:
    """A one-dimensional object array of the values, never nested, never fixed-width."""
    values = list(values)
    out = np.empty(len(values), object)
    out[:] = values
    return out


def digest(*parts: Any) -> str:
    """A 128-bit hexadecimal hash of strings, numbers, arrays and nested sequences of them."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            data = np.ascontiguousarray(part)
            hasher.update(f"{data.dtype}{data.shape}".encode())
            hasher.update(data.data if data.size else b"")
        elif isinstance(part, np.ndarray | list | tuple):
            values = part.tolist() if isinstance(part, np.ndarray) else part
            hasher.update(json.dumps(values, default=str).encode("ascii"))  # quoted, so no two lists read the same
        else:
            hasher.update(repr(part).encode("utf-8", "surrogatepass"))
        hasher.update(b"\x1e")
    return hasher.hexdigest()


@dataclass(frozen=True, eq=False)
class IdTable:
    """Ids of one lineage: a row number, once given, is never reused or renumbered.

    `ids` is (n,) object of str; `key` names the lineage and survives `extend`.
    """

    ids: Strings
    key: str

    @classmethod
    def of(cls, ids: Iterable[str], key: str = "") -> IdTable:
        """A new lineage; its key is the hash of its first ids unless given. Raises DataError on a repeated id."""
        table = cls(strings(ids), key)
        if len(table._index) != len(table.ids):
            seen: set[str] = set()
            twice = next(i for i in table.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise DataError(f"id {str(twice)[:80]!r} occurs twice", field="id", hint="make ids unique")
        return table if key else cls(table.ids, digest(table.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, one: object) -> bool:
        return one in self._index

    @cached_property
    def _index(self) -> dict[str, int]:
        return dict(zip(self.ids.tolist(), range(len(self.ids)), strict=True))

    def rows(self, ids: Sequence[str] | Strings) -> Rows:
        """Row numbers (m,) int32 of the ids, -1 where unknown."""
        index = self._index
        return np.fromiter((index.get(i, -1) for i in ids), np.int32, count=len(ids))

    def extend(self, ids: Iterable[str]) -> IdTable:
        """The same lineage with new ids appended; ids already there keep their rows."""
        fresh = list(dict.fromkeys(i for i in ids if i not in self._index))
        return IdTable(np.concatenate([self.ids, strings(fresh)]), self.key) if fresh else self

    def translate(self, other: IdTable) -> Rows:
        """Our row for every row of `other`, -1 where we do not know the id; free within one lineage."""
        if other.key == self.key:
            rows = np.arange(len(other), dtype=np.int32)
            rows[len(self) :] = -1
            return rows
        return self.rows(other.ids)


def same_lineage(ours: str, theirs: str, what: str = "catalog") -> None:
    """Raise LineageError unless both keys name the same lineage."""
    if ours != theirs:
        raise LineageError(
            f"row numbers of {what} {theirs[:8]} used with {what} {ours[:8]}",
            hint="fit on this data set, or load with hexarec.load(path, data), which maps rows by id",
        )
