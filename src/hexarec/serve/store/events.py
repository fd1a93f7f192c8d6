"""Events: each counts once for ever, in the order of the commits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, Text, bindparam, func, select, union_all

from hexarec.core.errors import DataError
from hexarec.core.interactions import KINDS
from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import checked_count, checked_id, checked_number, checked_text, checked_user
from hexarec.serve.store.rows import EventRow, Verdict
from hexarec.serve.store.schema import events
from hexarec.serve.store.statements import chunks, count_anew, grown, insert_many

_E = events.c
_COLUMNS = (
    _E.id, _E.item, _E.time, _E.kind, _E.user, _E.session, _E.value, _E.text, _E.request, _E.position, _E.source,
)  # fmt: skip
_SIZES = tuple(10**n for n in range(3, 12))
_AT_ONCE = 128  # users in one statement
_WHEN = itemgetter(2, len(_COLUMNS))  # by time, then by number
_TENANT = _E.tenant == bindparam("tenant")
_OLDER = _E.time < bindparam("before")
_KNOWN = select(_E.id, _E.digest).where(_TENANT, _E.id.in_(bindparam("ids", expanding=True, type_=Text)))


class Events(Access):
    """The log of a tenant."""

    def add_events_soon(self, events: Sequence[EventRow]) -> Future[list[Verdict]]:
        """A verdict for each event, in order, once those that are new are on disk. Raises DataError before anything.

        Of equal ids inside one batch the first is written. Events of an erased user from before the erasure are not.
        """
        rows = [self._checked(event) for event in events]
        self._salt()
        return self._writer.soon_together(self._add_all, rows)

    def add_events(self, events: Sequence[EventRow]) -> list[Verdict]:
        """As `add_events_soon`, when it is done."""
        return self.add_events_soon(events).result()

    def histories(
        self, users: Sequence[str], sessions: Sequence[str] = (), most: int = 500, source: str | None = "log",
        *, before: float = float("inf"),
    ) -> dict[str, list[EventRow]]:  # fmt: skip
        """The newest `most` events of each user and, under "session:" + id, of each session; oldest first.

        Ordered by time, then by arrival. Who has none is not in the answer. `source` None means events of any source.
        before: only events older than this moment.
        """
        found = self._newest("user", users, most, source, before)
        if sessions:
            of_sessions = self._newest("session", sessions, most, source, before)
            found.update((f"session:{session}", rows) for session, rows in of_sessions.items())
        return found

    def events(self, after: int = 0, most: int = 1000, source: str | None = "log") -> list[tuple[int, EventRow]]:
        """Events in the order they were committed, each with its number; go on `after` the last one."""
        values = {"tenant": self.tenant, "after": after, "most": most, "source": source}
        return [(row[0], EventRow(*row[1:])) for row in self._rows(_feed(source is None), values)]

    def event_columns(self) -> dict[str, list[Any]]:
        """All events of the log in columns user, item, time, kind, value; the user of an event without is its session,
        as "session:" + id."""
        rows = self._rows(_BULK, {"tenant": self.tenant})
        names = ("user", "item", "time", "kind", "value")
        return {
            name: list(column)
            for name, column in zip(names, zip(*rows, strict=True) if rows else [()] * 5, strict=True)
        }

    def item_counts(self, after: int = 0) -> tuple[dict[str, int], int]:
        """Events of the log per item among those behind `after`, and the number of the newest."""
        rows = self._rows(_COUNTS, {"tenant": self.tenant, "after": after})
        return {row[0]: row[1] for row in rows}, max((row[2] for row in rows), default=after)

    def outcomes(self, requests: Sequence[str]) -> list[EventRow]:
        """The events that carry these request ids, in the order they were committed."""
        found: list[tuple[int, EventRow]] = []
        for some in chunks(list(dict.fromkeys(requests))):
            rows = self._rows(_OUTCOMES, {"tenant": self.tenant, "requests": some})
            found += [(row[0], EventRow(*row[1:])) for row in rows]
        return [event for _, event in sorted(found, key=lambda pair: pair[0])]

    def _newest(
        self, who: str, ids: Sequence[str], most: int, source: str | None, before: float
    ) -> dict[str, list[EventRow]]:
        found: dict[str, list[Any]] = defaultdict(list)
        place = EventRow._fields.index(who)
        for some in chunks(list(dict.fromkeys(ids)), _AT_ONCE):
            size = 1 << (len(some) - 1).bit_length()  # few sizes, so that every statement is compiled once
            asked = {f"who{n}": some[n] if n < len(some) else None for n in range(size)}
            values = {"tenant": self.tenant, "most": most, "source": source, "before": before, **asked}
            for row in self._rows(_newest(who, source is None, size), values):
                found[row[place]].append(row)
        return {one: [EventRow(*row[:-1]) for row in sorted(rows, key=_WHEN)] for one, rows in found.items()}

    def _checked(self, event: EventRow) -> dict[str, Any]:
        row = checked(event)
        said = row if event.timed else {name: value for name, value in row.items() if name != "time"}
        return {"tenant": self.tenant, **row, "digest": digest_of(said)}

    def _add_all(self, connection: Connection, batches: list[list[dict[str, Any]]]) -> list[list[Verdict]]:
        verdicts = iter(self._add(connection, [row for batch in batches for row in batch]))
        return [list(islice(verdicts, len(batch))) for batch in batches]

    def _add(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        known = self._known(connection, [row["id"] for row in rows])
        verdicts: list[Verdict] = []
        fresh: list[Mapping[str, Any]] = []
        for row, lives in zip(rows, self._living(connection, rows), strict=True):
            there = known.get(row["id"])
            if there is not None:
                verdicts.append("same" if there == row["digest"] else "conflict")
            elif not lives:
                verdicts.append("erased")
            else:
                known[row["id"]] = row["digest"]
                fresh.append(row)
                verdicts.append("new")
        if fresh:
            first = grown(connection, self.tenant, "events", len(fresh)) - len(fresh) + 1
            insert_many(connection, events, [{**row, "seq": seq} for seq, row in enumerate(fresh, first)])
            if any(first <= size < first + len(fresh) for size in _SIZES):
                count_anew(connection, events)
        return verdicts

    def _known(self, connection: Connection, ids: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for some in chunks(ids):
            rows = connection.execute(_KNOWN, {"tenant": self.tenant, "ids": some})
            found.update((row[0], bytes(row[1])) for row in rows)
        return found


def checked(event: EventRow) -> dict[str, Any]:
    """The event as a row to write. Raises DataError for one that cannot be kept."""
    if event.kind not in KINDS:
        raise DataError(
            f"{str(event.kind)[:80]!r} is no kind of event", field="kind", hint=f"one of {', '.join(KINDS)}"
        )
    if event.user is None and event.session is None:
        raise DataError("neither user nor session is given", field="user", hint="send one of the two")
    value = event.value
    return {
        "id": checked_id(event.id, "id"),
        "item": checked_id(event.item, "item"),
        "time": checked_number(event.time, "time"),
        "kind": event.kind,
        "user": None if event.user is None else checked_user(event.user),
        "session": None if event.session is None else checked_id(event.session, "session"),
        "value": None if value is None or value != value else checked_number(value, "value"),
        "text": checked_text(event.text, "text"),
        "request": None if event.request is None else checked_id(event.request, "request"),
        "position": None if event.position is None else checked_count(event.position, "position"),
        "source": checked_id(event.source, "source"),
    }


def digest_of(row: Mapping[str, Any]) -> bytes:
    """A hash of all that was said about an event."""
    return hashlib.blake2b(repr(tuple(row.values())).encode(), digest_size=16).digest()


@cache
def _newest(who: str, any_source: bool, size: int) -> Any:
    """One statement that goes to the end of the index once for each of `size` users, however long their histories."""
    newest = [
        _of_source(select(*_COLUMNS, _E.seq).where(_TENANT, _E[who] == bindparam(f"who{n}"), _OLDER), any_source)
        .order_by(_E.time.desc(), _E.seq.desc())
        .limit(bindparam("most", type_=BigInteger))
        for n in range(size)
    ]
    return newest[0] if size == 1 else union_all(*(select(one.subquery()) for one in newest))


@cache
def _feed(any_source: bool) -> Select[Any]:
    query = select(_E.seq, *_COLUMNS).where(_TENANT, _E.seq > bindparam("after"))
    return _of_source(query, any_source).order_by(_E.seq).limit(bindparam("most", type_=BigInteger))


def _of_source(query: Select[Any], any_source: bool) -> Select[Any]:
    return query if any_source else query.where(_E.source == bindparam("source"))


_BULK = (
    select(func.coalesce(_E.user, "session:" + _E.session), _E.item, _E.time, _E.kind, _E.value)
    .where(_TENANT, _E.source == "log")
    .order_by(_E.seq)
)
_COUNTS = (
    select(_E.item, func.count(), func.max(_E.seq))
    .where(_TENANT, _E.source == "log", _E.seq > bindparam("after"))
    .group_by(_E.item)
)
_OUTCOMES = select(_E.seq, *_COLUMNS).where(_TENANT, _E.request.in_(bindparam("requests", expanding=True)))
