"""What one caller asks, and many of them as one batch of queries."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hexarec.core import Catalog, Filter, IdTable, Queries, strings
from hexarec.core.interactions import KINDS, NOT_LIKED, History
from hexarec.core.ragged import offsets_of
from hexarec.serve.purse import Purse
from hexarec.serve.store.rows import EventRow

_KIND = {name: code for code, name in enumerate(KINDS)}


@dataclass(frozen=True)
class Ask:
    """One question as it came in. `history` is what the caller sent with it, oldest first, after what is stored.

    candidates: items to be ordered instead of found. deadline: `time.monotonic()` seconds. purse: the budget that pays,
    None without one. trace: also tell what models were asked; such an ask shares its batch with nobody. at: when it was
    asked, unix seconds; what comes of it is as old, so that an erasure meanwhile reaches it.
    """

    user: str | None = None
    session: str | None = None
    history: tuple[EventRow, ...] = ()
    exclude: tuple[str, ...] = ()
    seen: bool = False
    where: Filter | None = None
    text: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    lang: str | None = None
    k: int = 10
    explain: bool = False
    seed: int = 0
    candidates: tuple[str, ...] | None = None
    deadline: float = float("inf")
    purse: Purse | None = None
    trace: bool = False
    at: float = field(default_factory=time.time, compare=False)

    @property
    def shared(self) -> tuple[Any, ...]:
        """What two asks must have in common to be answered together."""
        alone = id(self) if self.trace else 0  # prompts of others must not stand in a trace
        return self.k, self.explain, self.candidates is None, id(self.purse), alone

    @property
    def names(self) -> list[str]:
        """How the store names the histories that belong to it: the user, then the session."""
        return [one for one in (self.user, None if self.session is None else self.session_key) if one is not None]

    @property
    def session_key(self) -> str:
        """How the store names the history of this session."""
        return f"session:{self.session}"


def past_of(ask: Ask, stored: Mapping[str, Sequence[EventRow]]) -> list[EventRow]:
    """What is known of the asker, oldest first: the user's stored events, the session's, then what came along."""
    known = [*stored.get(ask.user, ())] if ask.user is not None else []
    if ask.session is not None:
        ids = {event.id for event in known}
        known += [event for event in stored.get(ask.session_key, ()) if event.id not in ids]
        known.sort(key=lambda event: event.time)
    return [*known, *ask.history]


def liked(event: EventRow, like: float | None) -> bool:
    """Whether an event says that the item was liked; `like` is the smallest rating that does."""
    if event.kind in NOT_LIKED:
        return False
    return like is None or event.value is None or event.value >= like


def queries_of(
    catalog: Catalog, asks: Sequence[Ask], pasts: Sequence[Sequence[EventRow]], now: float, like: float | None = None
) -> Queries:
    """The asks as one batch, in their order. Events of items the catalog lacks are left out."""
    every = [event for past in pasts for event in past]
    rows = catalog.rows([event.item for event in every])
    asker = np.repeat(np.arange(len(asks)), [len(past) for past in pasts])
    flat = [event for event, row in zip(every, rows.tolist(), strict=True) if row >= 0]
    history = History(
        offsets_of(np.bincount(asker[rows >= 0], minlength=len(asks))),
        rows[rows >= 0],
        np.array([event.time for event in flat], np.float64),
        np.array([_KIND.get(event.kind, _KIND["click"]) for event in flat], np.int8),
        np.array([np.nan if event.value is None else event.value for event in flat], np.float32),
        np.array([liked(event, like) for event in flat], bool),
    )
    names = [ask.user for ask in asks if ask.user is not None]
    users = IdTable.of(dict.fromkeys(names))
    place = {name: row for row, name in enumerate(users.ids.tolist())}
    user = np.array([-1 if ask.user is None else place[ask.user] for ask in asks], np.int32)
    made = Queries.of(catalog, users, user, history, now=now)
    made = replace(
        made,
        lang=strings(ask.lang or catalog.lang for ask in asks),
        seed=np.array([ask.seed for ask in asks], np.int64),
    )
    return _narrowed(made, asks)


def _narrowed(made: Queries, asks: Sequence[Ask]) -> Queries:
    """The queries with the exclusions, wishes, contexts and filters of the asks."""
    catalog = made.catalog
    banned = []
    for i, ask in enumerate(asks):
        given = catalog.rows(ask.exclude)
        met = made.history.item[slice(*made.history.offsets[i : i + 2])]
        whole = [given[given >= 0]] if ask.seen or ask.candidates is not None else [met, given[given >= 0]]
        banned.append(np.unique(np.concatenate(whole)).astype(np.int32))
    made = made.excluding(np.concatenate(banned), offsets_of(np.array([len(one) for one in banned], np.int64)))
    if any(ask.text is not None for ask in asks):
        made = replace(made, text=strings(ask.text for ask in asks))
    if any(ask.context for ask in asks):
        made = replace(made, context=strings(dict(ask.context) or None for ask in asks))
    filters = tuple(dict.fromkeys(ask.where for ask in asks if ask.where is not None))
    if filters:
        where = [-1 if ask.where is None else filters.index(ask.where) for ask in asks]
        made = replace(made, filters=filters, where=np.array(where, np.int32))
    return made
