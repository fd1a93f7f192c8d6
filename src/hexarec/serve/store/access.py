"""What every part of a shelf has: its tenant, reading, writing, and the marks of who was erased."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from hexarec.serve.store import errors
from hexarec.serve.store.schema import erased, tenants
from hexarec.serve.store.statements import chunks, insert_new
from hexarec.serve.store.writer import Writer

T = TypeVar("T")


class Access:
    """One tenant's reads and writes. Every statement is bound to `tenant`."""

    def __init__(self, tenant: str, reader: Engine, writer: Writer, clock: Callable[[], float]) -> None:
        self.tenant = tenant
        self._reader, self._writer, self._clock = reader, writer, clock
        self._salt_kept: bytes | None = None
        self._salting = threading.Lock()

    def _rows(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        return read(self._reader, statement, values)

    def _row(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Any:
        return next(iter(self._rows(statement, values)), None)

    def _soon(self, act: Callable[[Connection], T]) -> Future[T]:
        self._salt()  # the first write of a tenant also writes the tenant down
        return self._writer.soon(act)

    def _write(self, act: Callable[[Connection], T]) -> T:
        return self._soon(act).result()

    def _salt(self) -> bytes:
        if self._salt_kept is None:
            with self._salting:
                found = self._row(_SALT, {"tenant": self.tenant})
                self._salt_kept = bytes(found.salt) if found else self._writer.soon(self._first).result()
        return self._salt_kept

    def _first(self, connection: Connection) -> bytes:
        row = {"tenant": self.tenant, "created": self._clock(), "salt": secrets.token_bytes(32)}
        insert_new(connection, tenants, [row])
        return bytes(connection.execute(_SALT, {"tenant": self.tenant}).scalar_one())

    def _mark(self, kind: str, one: str) -> str:
        """A salted hash under which an erased user, session or dialogue is remembered without its id."""
        return hashlib.blake2b(f"{kind}:{one}".encode(), key=self._salt(), digest_size=20).hexdigest()

    def _whose(self, row: Mapping[str, Any]) -> str | None:
        """The mark of the user of a row, of its session when it has no user, None for neither."""
        if row["user"] is not None:
            return self._mark("user", row["user"])
        return None if row["session"] is None else self._mark("session", row["session"])

    def _living(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Whether each row is younger than the erasure of whose it is."""
        marks = [self._whose(row) for row in rows]
        buried = self._buried(connection, {mark for mark in marks if mark is not None})
        return [
            mark is None or mark not in buried or row["time"] > buried[mark]
            for row, mark in zip(rows, marks, strict=True)
        ]

    def _buried(self, connection: Connection, marks: Iterable[str]) -> dict[str, float]:
        """Those of the marks that are tombstones, with the time of the erasure."""
        found: dict[str, float] = {}
        for some in chunks(sorted(marks)):
            rows = connection.execute(_TOMBSTONES, {"tenant": self.tenant, "marks": some})
            found.update((row.mark, row.time) for row in rows)
        return found


def read(engine: Engine, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
    """All rows of a statement. Raises StateError when the database fails."""
    with reading(engine) as connection:
        return connection.execute(statement, values).fetchall()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read with, whose failures are hexarec's."""
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise errors.typed(error) from error


_SALT = select(tenants.c.salt).where(tenants.c.tenant == bindparam("tenant"))
_TOMBSTONES = select(erased.c.mark, erased.c.time).where(
    erased.c.tenant == bindparam("tenant"), erased.c.mark.in_(bindparam("marks", expanding=True))
)
