"""Documents with versions: pipelines, prompts, models, experiments. Of each name at most one version is active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from hexarec.core.errors import StateError
from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import as_json, checked_id, checked_name, from_json
from hexarec.serve.store.crash import point
from hexarec.serve.store.errors import ChangedError
from hexarec.serve.store.rows import Versioned
from hexarec.serve.store.schema import documents
from hexarec.serve.store.statements import grown

_D = documents.c
_COLUMNS = (_D.kind, _D.name, _D.version, _D.created, _D.body, _D.active)


class Documents(Access):
    """The documents of a tenant. Once written, a version changes in being active or not, and after an erasure.

    Writers take turns, also those of other processes: what a write looks at holds when it is committed.
    """

    def put(
        self, kind: str, name: str, body: Mapping[str, Any], *, activate: bool = False, first: bool = False,
        after: Versioned | None = None, sole: str | None = None,
    ) -> Versioned:  # fmt: skip
        """Write the next version of a document, and let it be the active one when asked, both or nothing.

        Raises ChangedError where it should be the `first` one and is not; where `get` would no longer give `after`; and
        where the active document of another name says the same under `sole`, a field of the body.
        """
        row = {
            "tenant": self.tenant, "kind": checked_name(kind, "kind"), "name": checked_id(name, "name"),
            "created": self._clock(), "active": False, "body": as_json(body, "body"),
        }  # fmt: skip

        def written(connection: Connection) -> Versioned:
            self._take_turn(connection)
            if first or after is not None:
                self._check_unchanged(connection, kind, name, after)
            if sole is not None:
                self._check_sole(connection, kind, name, sole, body.get(sole))
            return self._put(connection, row, activate)

        return self._write(written)

    def get(self, kind: str, name: str, version: int | None = None) -> Versioned | None:
        """One version; without a number the active one, else the newest."""
        row = self._row(self._best(kind, name, version))
        return _versioned(row) if row else None

    def versions(self, kind: str, name: str) -> list[Versioned]:
        """All versions of a name, oldest first."""
        return [_versioned(row) for row in self._rows(self._of(kind).where(_D.name == name).order_by(_D.version))]

    def names(self, kind: str) -> list[Versioned]:
        """The active version of every name, or its newest, by name."""
        place = func.row_number().over(partition_by=_D.name, order_by=(_D.active.desc(), _D.version.desc()))
        placed = self._of(kind).add_columns(place.label("place")).subquery()
        query = select(*(placed.c[column.name] for column in _COLUMNS)).where(placed.c.place == 1)
        return [_versioned(row) for row in self._rows(query.order_by(placed.c.name))]

    def activate(self, kind: str, name: str, version: int) -> Versioned:
        """Let a version be the active one, in one step for every reader. Raises StateError when there is none."""

        def activated(connection: Connection) -> Versioned:
            self._take_turn(connection)
            return self._activate(connection, kind, name, version)

        return self._write(activated)

    def rewrite(self, old: Versioned, body: Mapping[str, Any]) -> bool:
        """Write a version anew, after an erasure took somebody out of what it names; whether it still said `old`.

        False, and nothing is written, where another process wrote it anew meanwhile: what was made from `old` knows
        again whom that one took out.
        """
        here = (_D.tenant == self.tenant, _D.kind == old.kind, _D.name == old.name, _D.version == old.version)
        text = as_json(body, "body")

        def rewritten(connection: Connection) -> bool:
            self._take_turn(connection)
            there = connection.execute(select(_D.body).where(*here)).scalar()
            if there is None or from_json(there) != old.body:
                return False
            connection.execute(update(documents).where(*here).values(body=text))
            return True

        return self._write(rewritten)

    def _take_turn(self, connection: Connection) -> None:
        """Wait until no other transaction writes documents of this tenant: its row of the counters is a lock."""
        grown(connection, self.tenant, "documents")

    def _check_unchanged(self, connection: Connection, kind: str, name: str, after: Versioned | None) -> None:
        row = connection.execute(self._best(kind, name, None)).first()
        there = None if row is None else (row.version, from_json(row.body))
        if there != (None if after is None else (after.version, after.body)):
            raise ChangedError(f"{kind} {name[:80]!r} was changed meanwhile", hint="look at it, then try again")

    def _check_sole(self, connection: Connection, kind: str, name: str, field: str, value: Any) -> None:
        rows = connection.execute(self._of(kind).where(_D.active, _D.name != name).order_by(_D.name))
        if other := next((row.name for row in rows if from_json(row.body).get(field) == value), None):
            raise ChangedError(f"{kind} {other[:80]!r} is {value} too", hint="one at a time")

    def _best(self, kind: str, name: str, version: int | None) -> Any:
        query = self._of(kind).where(_D.name == name)
        query = query if version is None else query.where(_D.version == version)
        return query.order_by(_D.active.desc(), _D.version.desc()).limit(1)

    def _of(self, kind: str) -> Any:
        return select(*_COLUMNS).where(_D.tenant == self.tenant, _D.kind == kind)

    def _put(self, connection: Connection, row: dict[str, Any], activate: bool) -> Versioned:
        kind, name = row["kind"], row["name"]
        query = select(func.max(_D.version)).where(_D.tenant == self.tenant, _D.kind == kind, _D.name == name)
        version = (connection.execute(query).scalar() or 0) + 1
        connection.execute(insert(documents), {**row, "version": version})
        point("put.written")
        if activate:
            return self._activate(connection, kind, name, version)
        return Versioned(kind, name, version, row["created"], from_json(row["body"]))

    def _activate(self, connection: Connection, kind: str, name: str, version: int) -> Versioned:
        here = (_D.tenant == self.tenant, _D.kind == kind, _D.name == name)
        connection.execute(update(documents).where(*here, _D.active).values(active=False))
        point("activate.cleared")
        connection.execute(update(documents).where(*here, _D.version == version).values(active=True))
        point("activate.set")
        row = connection.execute(select(*_COLUMNS).where(*here, _D.active)).first()
        if row is None:
            raise StateError(f"{kind} {name[:80]!r} has no version {version}", hint="see its versions")
        return _versioned(row)


def _versioned(row: Any) -> Versioned:
    return Versioned(row.kind, row.name, row.version, row.created, from_json(row.body), bool(row.active))
