"""Export and erasure of all that is kept on a user, and the tombstones that keep it from coming back."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, select, union

from hexarec.core.errors import StateError
from hexarec.serve.store.access import Access, reading
from hexarec.serve.store.cache import unused
from hexarec.serve.store.checks import checked_id
from hexarec.serve.store.crash import point
from hexarec.serve.store.schema import (
    answers,
    assignments,
    cache,
    cache_owners,
    dialogues,
    erased,
    events,
    metadata,
    shown,
    users,
)
from hexarec.serve.store.statements import chunks, upsert

_HIDDEN = {"tenant", "digest"}
_UNITS = ((assignments, "unit"), (cache_owners, "owner"))
"""Columns of users, and of sessions as "session:" and their id."""


class Erasing(Access):
    """What a user may ask of a tenant: everything that is held on them, and that it goes."""

    def erase_user(self, id: str) -> dict[str, int]:
        """Remove all that is kept on a user; the rows removed of each table. `scrub` then removes the bytes.

        Anonymous rows of the user's sessions and of lists that were shown to them go too. What stays is a salted hash
        of the user, of those sessions and of their dialogues, with the time: older events are refused from now on.
        """
        checked_id(id, "user")
        return self._write(lambda connection: self._erase(connection, id, self._clock()))

    def erased(self, id: str) -> bool:
        """Whether a user was ever erased."""
        mark, query = self.pseudonym(id), select(erased.c.time).where(erased.c.tenant == self.tenant)
        return self._row(query.where(erased.c.mark == mark)) is not None

    def pseudonym(self, id: str) -> str:
        """The salted hash of a user, under which an audit log may name them; it survives their erasure.

        Of "session:" and an id that of the session.
        """
        if id.startswith("session:"):
            return self._mark("session", id.removeprefix("session:"))
        return self._mark("user", checked_id(id, "user"))

    def tombstones(self) -> list[tuple[str, float]]:
        """(hash, time) of all that was erased, to be buried again after a restore from an older backup."""
        query = select(erased.c.mark, erased.c.time).where(erased.c.tenant == self.tenant).order_by(erased.c.time)
        return [(row.mark, row.time) for row in self._rows(query)]

    def bury(self, tombstones: Iterable[tuple[str, float]]) -> dict[str, int]:
        """Erase again whom tombstones name that a restored backup does not know; the rows removed of each table.

        Users with all that is theirs; of sessions what has no user; dialogues, whosever they are.
        """
        wanted = dict(tombstones)
        return self._write(lambda connection: self._bury(connection, wanted))

    def export_user(self, id: str) -> Iterator[dict[str, Any]]:
        """Everything held on a user, a JSON-able dict for each row, with its `table`; bytes in base64."""
        with reading(self._reader) as connection:
            found, told = _Traces.of(connection, self.tenant, id), set()
            for table, condition in found.everywhere():
                keys = [column.name for column in table.primary_key]
                for row in connection.execute(select(table).where(condition)).mappings():
                    key = (table.name, *(row[name] for name in keys))
                    if key not in told:  # a row may be theirs for two reasons
                        told.add(key)
                        values = {name: _plain(value) for name, value in row.items() if name not in _HIDDEN}
                        yield {"table": table.name, **values}

    def scrub(self) -> None:
        """Leave no byte of erased rows in the files: the database is written anew, the log emptied. Takes a while.

        On PostgreSQL the tables are written anew; its own log (WAL) keeps old bytes until it is recycled. Raises
        StateError when readers hold the old state too long.
        """
        point("scrub.before")
        act = _scrub_sqlite if self._reader.dialect.name == "sqlite" else _scrub_postgresql
        self._writer.soon(act, alone=True).result()
        point("scrub.after")

    def _erase(self, connection: Connection, user: str, now: float) -> dict[str, int]:
        found = _Traces.of(connection, self.tenant, user)
        marks = [self._mark("user", user), *(self._mark("session", one) for one in found.sessions)]
        marks += [self._mark("dialogue", one) for one in found.dialogues]
        upsert(connection, erased, [{"tenant": self.tenant, "mark": mark, "time": now} for mark in marks])
        point("erase.tombstones")
        removed = _removed(connection, found)
        point("erase.done")
        return dict(removed)

    def _bury(self, connection: Connection, wanted: dict[str, float]) -> dict[str, int]:
        known = self._buried(connection, wanted)
        missing = {mark: time for mark, time in wanted.items() if time > known.get(mark, -math.inf)}
        removed: Counter[str] = Counter()
        for user in _everybody(connection, self.tenant) if missing else ():
            time = missing.get(self._mark("user", user))
            if time is not None:
                removed.update(self._erase(connection, user, time))
        if missing:
            visits = [one for one in _visits(connection, self.tenant) if self._mark("session", one) in missing]
            talks = _ids(connection, self.tenant, (dialogues, "id"))
            talks = [one for one in talks if self._mark("dialogue", one) in missing]
            removed.update(_removed(connection, _Traces.of_nobody(connection, self.tenant, visits, talks)))
        upsert(connection, erased, [{"tenant": self.tenant, "mark": mark, "time": at} for mark, at in missing.items()])
        return dict(removed)


@dataclass(frozen=True)
class _Traces:
    """Where a user occurs: by their id, by their sessions, by the requests that were answered to them.

    Or, without a user, what sessions left that nobody owns, and some dialogues.
    """

    tenant: str
    user: str | None
    sessions: list[str]
    requests: list[str]
    dialogues: list[str]

    @classmethod
    def of(cls, connection: Connection, tenant: str, user: str) -> _Traces:
        """Look them up."""

        def all_of(*queries: Select[Any]) -> list[str]:
            return sorted(value for (value,) in connection.execute(union(*queries)) if value is not None)

        def own(table: Table, name: str) -> Select[Any]:
            return select(table.c[name]).where(table.c.tenant == tenant, table.c.user == user)

        sessions = all_of(*(own(table, "session") for table in (events, shown, answers)))
        requests = {*all_of(own(events, "request"), own(shown, "request")), *_asked(connection, tenant, sessions)}
        return cls(tenant, user, sessions, sorted(requests), all_of(own(dialogues, "id")))

    @classmethod
    def of_nobody(
        cls, connection: Connection, tenant: str, sessions: Sequence[str], dialogues: Sequence[str]
    ) -> _Traces:
        """What these sessions left that no user owns, and these dialogues, whosever they are."""
        return cls(tenant, None, list(sessions), sorted(_asked(connection, tenant, sessions)), list(dialogues))

    def everywhere(self) -> Iterator[tuple[Table, ColumnElement[bool]]]:
        """Every table with the condition of the rows that are theirs; a table may come several times."""
        if self.user is not None:
            yield users, self._at(users, users.c.id == self.user)
            for table in (events, shown, answers, dialogues):
                yield table, self._at(table, table.c.user == self.user)
        for some in chunks(self.dialogues):
            yield dialogues, self._at(dialogues, dialogues.c.id.in_(some))
        for table in (events, shown, answers):
            yield from self._nobodys(table, "session", self.sessions)
        for table in (shown, answers):
            yield from self._nobodys(table, "request", self.requests)
        named = [] if self.user is None else [self.user]
        for some in chunks([*named, *(f"session:{one}" for one in self.sessions)]):
            yield assignments, self._at(assignments, assignments.c.unit.in_(some))
            theirs = self._at(cache_owners, cache_owners.c.owner.in_(some))
            yield cache, self._at(cache, cache.c.key.in_(select(cache_owners.c.key).where(theirs)))
            yield cache_owners, theirs | unused(self.tenant)

    def _nobodys(self, table: Table, name: str, values: Sequence[str]) -> Iterator[tuple[Table, ColumnElement[bool]]]:
        for some in chunks(values):
            yield table, self._at(table, table.c.user.is_(None) & table.c[name].in_(some))

    def _at(self, table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return (table.c.tenant == self.tenant) & condition


def _removed(connection: Connection, found: _Traces) -> Counter[str]:
    """Delete all of it; the rows of each table."""
    removed: Counter[str] = Counter()
    for table, condition in found.everywhere():
        removed[table.name] += connection.execute(delete(table).where(condition)).rowcount
        point("erase.rows")
    return removed


def _asked(connection: Connection, tenant: str, sessions: Sequence[str]) -> set[str]:
    """The requests that were answered to these sessions, or that their events name, where no user is said."""
    requests: set[str | None] = set()
    for some in chunks(sessions):
        for table in (events, shown):
            here = (table.c.tenant == tenant, table.c.user.is_(None), table.c.session.in_(some))
            requests |= set(connection.execute(select(table.c.request).where(*here)).scalars())
    return {one for one in requests if one is not None}


def _everybody(connection: Connection, tenant: str) -> list[str]:
    """Every user who occurs anywhere, by id."""
    named = [(users, "id"), *((table, "user") for table in (events, shown, answers, dialogues))]
    return _ids(connection, tenant, *named, *_UNITS)


def _visits(connection: Connection, tenant: str) -> list[str]:
    """Every session that occurs anywhere, by id."""
    own = _ids(connection, tenant, *((table, "session") for table in (events, shown, answers)))
    units = (one for one in _ids(connection, tenant, *_UNITS) if one.startswith("session:"))
    return sorted({*own, *(one.removeprefix("session:") for one in units)})


def _ids(connection: Connection, tenant: str, *places: tuple[Table, str]) -> list[str]:
    """What stands in these columns, each once, in order."""
    queries = [select(table.c[name].label("id")).where(table.c.tenant == tenant) for table, name in places]
    return sorted(id for id in connection.execute(union(*queries)).scalars() if id is not None)


def _plain(value: Any) -> Any:
    return base64.b64encode(bytes(value)).decode() if isinstance(value, bytes | memoryview) else value


def _scrub_sqlite(connection: Any) -> None:
    connection.execute("VACUUM")
    point("scrub.vacuumed")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StateError("somebody reads the old state, so that the log cannot be emptied", hint="scrub again later")


def _scrub_postgresql(connection: Any) -> None:
    connection.autocommit = True
    try:
        for table in metadata.sorted_tables:
            connection.execute(f'VACUUM (FULL, ANALYZE) "{table.name}"')  # statistics hold frequent values, ids too
        connection.execute("VACUUM FULL pg_catalog.pg_statistic")
        point("scrub.vacuumed")
    finally:
        connection.autocommit = False
