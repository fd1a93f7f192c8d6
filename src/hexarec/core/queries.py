"""Questions in columns: everything that may be known when a list is asked for, and nothing later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.catalog import Catalog
from hexarec.core.errors import DataError
from hexarec.core.filters import Filter
from hexarec.core.ids import IdTable, Rows, Strings, strings
from hexarec.core.interactions import KINDS, NOT_LIKED, Event, History


@dataclass(frozen=True, eq=False)
class Query:
    """One question as Python values: a view for a person, a prompt or a log line. Items are catalog rows."""

    user: str | None
    items: tuple[int, ...]
    times: tuple[float, ...]
    kinds: tuple[str, ...]
    values: tuple[float, ...]
    liked: tuple[bool, ...]
    exclude: frozenset[int]
    now: float
    text: str | None
    where: Filter | None
    context: Mapping[str, Any]
    lang: str
    seed: int


@dataclass(frozen=True, eq=False)
class Queries:
    """A batch of n questions.

    user: int32 (n,) rows of `users`, -1 for nobody. history: see `History`. exclude: flat int32 items with
    exclude_offsets (n + 1,); complete: no stage hides anything else by itself. now: float64 (n,) unix seconds.
    text: (n,) str or None. where: int32 (n,) index into `filters`, -1 for none. context: (n,) mapping or None.
    lang: (n,) str. seed: int64 (n,).
    """

    catalog: Catalog
    users: IdTable
    user: Rows
    history: History
    exclude: Rows
    exclude_offsets: NDArray[np.int64]
    now: NDArray[np.float64]
    text: Strings | None
    filters: tuple[Filter, ...]
    where: Rows | None
    context: Strings | None
    lang: Strings
    seed: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        users: IdTable,
        user: Rows,
        history: History,
        *,
        now: NDArray[np.float64] | float = np.inf,
        lang: str = "en",
        seed: int = 0,
    ) -> Queries:
        """Questions that exclude exactly what their history holds."""
        n = len(user)
        return cls(
            catalog=catalog,
            users=users,
            user=user,
            history=history,
            exclude=history.item,
            exclude_offsets=history.offsets,
            now=np.broadcast_to(np.asarray(now, np.float64), (n,)).copy(),
            text=None,
            filters=(),
            where=None,
            context=None,
            lang=np.full(n, lang, object),
            seed=np.full(n, seed, np.int64),
        )

    @classmethod
    def one(
        cls,
        catalog: Catalog,
        *,
        user: str | None = None,
        history: Sequence[Event | str] = (),
        exclude: Sequence[str] | None = None,
        now: float = np.inf,
        text: str | None = None,
        where: Mapping[str, Any] | Filter | None = None,
        context: Mapping[str, Any] | None = None,
        lang: str | None = None,
        seed: int = 0,
        like: float | None = None,
    ) -> Queries:
        """A single question, also for a user never seen. Raises DataError for an item the catalog lacks.

        `history` holds events or, oldest first, item ids. `exclude` defaults to the items of the history.
        `like`: events with a smaller value are not liked;
        dislike, skip and hide never are.
        """
        events = [e if isinstance(e, Event) else Event(user or "", e, float(i)) for i, e in enumerate(history)]
        past = sorted((e for e in events if e.time < now or now == np.inf), key=lambda e: e.time)
        rows = catalog.rows([event.item for event in past])
        if (rows < 0).any():
            lost = past[int(np.flatnonzero(rows < 0)[0])].item
            raise DataError(f"history names item {lost!r}, which the catalog lacks", field="history")
        kinds = [event.kind if event.kind in KINDS else "click" for event in past]
        value = np.array([event.value for event in past], np.float32)
        liked = np.array([kind not in NOT_LIKED for kind in kinds], bool)
        if like is not None:
            liked &= ~(value < like)
        made = History(
            np.array([0, len(past)], np.int64),
            rows,
            np.array([event.time for event in past], np.float64),
            np.array([KINDS.index(kind) for kind in kinds], np.int8),
            value,
            liked,
        )
        table = IdTable.of([] if user is None else [user])
        out = cls.of(
            catalog,
            table,
            np.array([-1 if user is None else 0], np.int32),
            made,
            now=now,
            lang=lang or catalog.lang,
            seed=seed,
        )
        return out._with_one(exclude, text, where, context)

    def _with_one(
        self,
        exclude: Sequence[str] | None,
        text: str | None,
        where: Mapping[str, Any] | Filter | None,
        context: Mapping[str, Any] | None,
    ) -> Queries:
        made = self
        if exclude is not None:
            rows = self.catalog.rows(list(exclude))
            made = made.excluding(rows[rows >= 0], np.array([0, int((rows >= 0).sum())], np.int64))
        if text is not None:
            made = replace(made, text=strings([text]))
        if where is not None:
            made = made.filtered(where)
        return made if context is None else replace(made, context=strings([context]))

    def __len__(self) -> int:
        return len(self.user)

    def __iter__(self) -> Iterator[Query]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Query:
        """A view of one question."""
        low, high = self.history.offsets[i : i + 2]
        row = int(self.user[i])
        where = -1 if self.where is None else int(self.where[i])
        return Query(
            user=None if row < 0 else self.users.ids[row],
            items=tuple(self.history.item[low:high].tolist()),
            times=tuple(self.history.time[low:high].tolist()),
            kinds=tuple(KINDS[code] for code in self.history.kind[low:high]),
            values=tuple(self.history.value[low:high].tolist()),
            liked=tuple(self.history.liked[low:high].tolist()),
            exclude=frozenset(self.exclude[slice(*self.exclude_offsets[i : i + 2])].tolist()),
            now=float(self.now[i]),
            text=None if self.text is None else self.text[i],
            where=None if where < 0 else self.filters[where],
            context={} if self.context is None else (self.context[i] or {}),
            lang=self.lang[i],
            seed=int(self.seed[i]),
        )

    def take(self, rows: NDArray[Any] | slice) -> Queries:
        """The questions at these positions (indices, a boolean mask or a slice), in that order."""
        index = np.arange(len(self))[rows]
        offsets, flat = ragged.gather(self.exclude_offsets, index)
        return replace(
            self,
            user=self.user[index],
            history=self.history.take(index),
            exclude=self.exclude[flat],
            exclude_offsets=offsets,
            now=self.now[index],
            text=None if self.text is None else self.text[index],
            where=None if self.where is None else self.where[index],
            context=None if self.context is None else self.context[index],
            lang=self.lang[index],
            seed=self.seed[index],
        )

    def blocks(self, size: int) -> Iterator[tuple[slice, Queries]]:
        """The batch cut into pieces of at most `size`, with the place of each."""
        for start in range(0, len(self), size):
            part = slice(start, min(start + size, len(self)))
            yield part, self.take(part)

    def with_history(self, history: History) -> Queries:
        """The same questions with another history; exclusions stay."""
        return replace(self, history=history)

    def excluding(self, items: Rows, offsets: NDArray[np.int64]) -> Queries:
        """The same questions with exactly these exclusions."""
        return replace(self, exclude=items, exclude_offsets=offsets)

    def filtered(self, where: Mapping[str, Any] | Filter) -> Queries:
        """The same questions, all under one typed filter. Raises OptionError when it does not fit the catalog."""
        made = where if isinstance(where, Filter) else Filter.parse(where)
        self.catalog.mask(made)
        return replace(self, filters=(made,), where=np.zeros(len(self), np.int32))

    def user_rows(self, users: IdTable) -> Rows:
        """Rows (n,) of these users in a stage's own user table, -1 for those it never met."""
        if users.key == self.users.key:
            return np.where(self.user < len(users), self.user, -1).astype(np.int32)
        lookup = np.append(users.translate(self.users), np.int32(-1))
        return lookup[self.user]

    def user_ids(self) -> list[str]:
        """One name per question for seeds and logs; "" for nobody."""
        return ["" if row < 0 else self.users.ids[row] for row in self.user.tolist()]

    def forbidden(self, n_items: int) -> NDArray[np.bool_]:
        """Dense (n, n_items) mask of rows not to be answered: excluded, tombstones, filtered out, not yet out."""
        mask = np.zeros((len(self), n_items), bool)
        mask |= ~self.catalog.alive[:n_items]
        since = self.catalog.since[:n_items]
        if (since > -np.inf).any():
            mask |= since[None, :] > self.now[:, None]
        mask[~self._allowed_by_filter(n_items)] = True
        inside = self.exclude < n_items
        mask[ragged.segments(self.exclude_offsets)[inside], self.exclude[inside]] = True
        return mask

    def _allowed_by_filter(self, n_items: int) -> NDArray[np.bool_]:
        allowed = np.ones((len(self), n_items), bool)
        if self.where is not None:
            for code, where in enumerate(self.filters):
                allowed[self.where == code] = self.catalog.mask(where)[:n_items]
        return allowed

    def permits(self, offsets: NDArray[np.int64], items: Rows) -> NDArray[np.bool_]:
        """Which flat items of ragged lists (one per question) may be answered; (len(items),) bool."""
        row = ragged.segments(offsets)
        good = self.catalog.alive[items] & (self.catalog.since[items] <= self.now[row])
        if self.where is not None:
            for code, where in enumerate(self.filters):
                good &= (self.where[row] != code) | self.catalog.mask(where)[items]
        wide = len(self.catalog) + 1
        banned = ragged.segments(self.exclude_offsets) * wide + self.exclude
        return good & ~ragged.member(row * wide + items, banned)
