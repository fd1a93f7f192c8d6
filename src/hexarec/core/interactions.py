"""The event log in columns, sorted by user and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError
from hexarec.core.ids import Strings, digest

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KINDS = ("view", "click", "like", "dislike", "purchase", "rate", "skip", "hide", "review", "tag")
NOT_LIKED = frozenset({"dislike", "skip", "hide"})
"""Kinds of events that never say that an item was liked."""


@dataclass(frozen=True)
class Event:
    """One thing a user did. `time` is unix seconds UTC; `value` a rating or amount, NaN when there is none."""

    user: str
    item: str
    time: float
    kind: str = "click"
    value: float = float("nan")
    text: str = ""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events in columns of equal length, sorted by user, then time, then the order they came in (stable).

    user, item: int32 rows of the user table and the catalog. time: float64 unix seconds UTC, or, when `clock` is
    False, only the order inside one user's sequence. kind: int8 index into KINDS. value: float32, NaN without.
    liked: bool, by `like_rule`, decided once at import. weight: float32. source: int16 index into `sources`.
    text: (n,) str or None (reviews, tags). offsets: (n_users + 1,) into the columns.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.float64]
    kind: NDArray[np.int8]
    value: NDArray[np.float32]
    liked: NDArray[np.bool_]
    weight: NDArray[np.float32]
    source: NDArray[np.int16]
    text: Strings | None
    offsets: NDArray[np.int64]
    sources: tuple[str, ...] = ("log",)
    clock: bool = True
    like_rule: str = "every event"

    @classmethod
    def of(
        cls, columns: Mapping[str, Any], n_users: int, *, clock: bool = True, like_rule: str = "every event"
    ) -> Interactions:
        """Sort columns into the log. Needs user, item, time; the others have defaults. Raises DataError."""
        user = np.asarray(columns["user"], np.int32)
        item = np.asarray(columns["item"], np.int32)
        time = np.asarray(columns["time"], np.float64)
        n = len(user)
        if len(item) != n or len(time) != n:
            raise DataError(f"columns of unequal length: user {n}, item {len(item)}, time {len(time)}")
        if n and (user.min() < 0 or user.max() >= n_users or item.min() < 0):
            raise DataError("an event refers to a row that does not exist", field="user/item")
        if not np.isfinite(time).all():
            raise DataError("a time is not a finite number", field="time")
        order = np.lexsort((time, user))
        filled: dict[str, NDArray[Any]] = {
            "kind": np.full(n, KINDS.index("click"), np.int8),
            "value": np.full(n, np.nan, np.float32),
            "liked": np.ones(n, bool),
            "weight": np.ones(n, np.float32),
            "source": np.zeros(n, np.int16),
        }
        rest = {name: np.asarray(columns.get(name, default), default.dtype)[order] for name, default in filled.items()}
        text = columns.get("text")
        return cls(
            user=user[order],
            item=item[order],
            time=time[order],
            text=None if text is None else text[order],
            offsets=ragged.offsets_of(np.bincount(user, minlength=n_users)),
            sources=tuple(columns.get("sources", ("log",))),
            clock=clock,
            like_rule=like_rule,
            **rest,
        )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        """Users the log has room for, with or without events."""
        return len(self.offsets) - 1

    @property
    def smallest_liked(self) -> float | None:
        """The smallest rating that counts as liked, where `like_rule` names one."""
        words = self.like_rule.split()
        return float(words[2]) if len(words) == 3 and words[:2] == ["value", ">="] else None

    def where(self, keep: NDArray[np.bool_]) -> Interactions:
        """The events marked in `keep`, for the same users and items."""
        columns = ("user", "item", "time", "kind", "value", "liked", "weight", "source")
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in columns},
            text=None if self.text is None else self.text[keep],
            offsets=ragged.kept(self.offsets, keep),
        )

    def before(self, time: float) -> Interactions:
        """The events strictly before `time`."""
        return self.where(self.time < time)

    def of_source(self, source: str) -> Interactions:
        """The events that came from one source; "log" is what really happened."""
        code = self.sources.index(source) if source in self.sources else -1
        return self.where(self.source == code)

    def matrix(self, n_items: int, *, liked: bool = True) -> csr_array:
        """Users x items, float32 (n_users, n_items): summed weights of liked events (or of all)."""
        from scipy.sparse import csr_array

        keep = self.liked if liked else np.ones(len(self), bool)
        made = csr_array(
            (self.weight[keep], self.item[keep].astype(np.int32), ragged.kept(self.offsets, keep)),
            shape=(self.n_users, n_items),
            dtype=np.float32,
        )
        made.sum_duplicates()
        return made

    def counts(self, n_items: int, *, liked: bool = False) -> NDArray[np.int64]:
        """Events per item, (n_items,) int64."""
        rows = self.item[self.liked] if liked else self.item
        return np.bincount(rows, minlength=n_items)

    @cached_property
    def digest(self) -> str:
        """A hash of all columns."""
        return digest(
            self.clock,
            self.like_rule,
            self.sources,
            self.source,
            () if self.text is None else self.text,
            self.user,
            self.item,
            self.time,
            self.kind,
            self.value,
            self.liked,
            self.weight,
            self.offsets,
        )


@dataclass(frozen=True, eq=False)
class History:
    """What is known of the users of a batch: for query i the events flat[offsets[i]:offsets[i + 1]], oldest first."""

    offsets: NDArray[np.int64]
    item: NDArray[np.int32]
    time: NDArray[np.float64]
    kind: NDArray[np.int8]
    value: NDArray[np.float32]
    liked: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @classmethod
    def empty(cls, n: int) -> History:
        """No events for n queries."""
        return cls(
            np.zeros(n + 1, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0),
            np.zeros(0, np.int8),
            np.zeros(0, np.float32),
            np.zeros(0, bool),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Events per query, (n,) int64."""
        return np.diff(self.offsets)

    def at(self, flat: NDArray[np.int64], offsets: NDArray[np.int64]) -> History:
        """The events at flat positions `flat`, cut into segments by `offsets`."""
        return History(
            offsets,
            self.item[flat],
            self.time[flat],
            self.kind[flat],
            self.value[flat],
            self.liked[flat],
        )

    def take(self, rows: NDArray[np.int64]) -> History:
        """The histories of the queries in `rows`."""
        offsets, flat = ragged.gather(self.offsets, rows)
        return self.at(flat, offsets)

    def where(self, keep: NDArray[np.bool_]) -> History:
        """Only the events marked in `keep`."""
        return self.at(np.flatnonzero(keep), ragged.kept(self.offsets, keep))

    def last(self, n: int) -> History:
        """The newest n events of each history, still oldest first."""
        n = min(n, len(self.item))  # a Python number may be too large for an array's
        offsets, flat = ragged.spans(np.maximum(self.offsets[1:] - n, self.offsets[:-1]), self.offsets[1:])
        return self.at(flat, offsets)

    def matrix(self, n_items: int, *, liked: bool = True) -> csr_array:
        """Queries x items, float32 (n, n_items): 1 for each (liked) item of the history; newer items are dropped."""
        from scipy.sparse import csr_array

        keep = (self.item < n_items) & (self.liked if liked else True)
        items = self.item[keep]
        made = csr_array(
            (np.ones(len(items), np.float32), items, ragged.kept(self.offsets, keep)),
            shape=(len(self), n_items),
        )
        made.sum_duplicates()
        made.data[:] = 1.0
        return made
