"""Open the store: one SQLite file, or one PostgreSQL database, brought to the newest schema."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from hexarec.core.errors import MissingExtraError

try:
    from sqlalchemy import URL, select

    from hexarec.serve.store.access import read
    from hexarec.serve.store.checks import checked_name
    from hexarec.serve.store.engines import as_url, checkpoint, engines
    from hexarec.serve.store.errors import BusyError
    from hexarec.serve.store.keys import find_key
    from hexarec.serve.store.migrate import migrate
    from hexarec.serve.store.rows import KeyRow
    from hexarec.serve.store.schema import tenants
    from hexarec.serve.store.shelf import Shelf
    from hexarec.serve.store.writer import Writer
except ModuleNotFoundError as _error:
    raise MissingExtraError(_error.name or "sqlalchemy", "serve") from _error


def open_store(url: str | Path, *, clock: Callable[[], float] = time.time) -> Store:
    """The store at a path, `sqlite:///file` or `postgresql+psycopg://...`, made or migrated to the newest schema.

    Raises OptionError for another kind of URL, StateError for a newer schema, a damaged file or a database of something
    else, and MissingExtraError without psycopg. Without SQLAlchemy, importing this module raises MissingExtraError.
    """
    return Store(as_url(url), clock)


class Store:
    """Everything the server keeps, a shelf for each tenant."""

    def __init__(self, url: URL, clock: Callable[[], float]) -> None:
        self.url = url.render_as_string()
        self._clock = clock
        self._writing, self._reader = engines(url)
        try:
            migrate(self._writing)
        except BaseException:
            self._dispose()
            raise
        self._writer = Writer(self._writing)
        self._shelves: dict[str, Shelf] = {}

    @property
    def stopped(self) -> str | None:
        """Why the store takes no more writes, None while it does."""
        return self._writer.stopped

    def of(self, tenant: str) -> Shelf:
        """The shelf of a tenant. Raises OptionError unless its name is [a-z0-9_-]{1,64}."""
        if tenant not in self._shelves:
            fresh = Shelf(checked_name(tenant, "tenant"), self._reader, self._writer, self._clock)
            self._shelves.setdefault(tenant, fresh)
        return self._shelves[tenant]

    def tenants(self) -> list[str]:
        """The tenants that ever wrote something, by name."""
        return [row.tenant for row in read(self._reader, select(tenants.c.tenant).order_by(tenants.c.tenant))]

    def find_key(self, id: str) -> tuple[str, KeyRow] | None:
        """(tenant, key) of an API key's id."""
        return find_key(self._reader, id)

    def close(self) -> None:
        """Write what waits, let go of the connections, and empty SQLite's log into its file unless somebody looks."""
        self._writer.close()
        self._reader.dispose()
        try:
            if self._writing.dialect.name == "sqlite" and self._writer.stopped is None:
                with contextlib.suppress(BusyError):  # somebody still looks: the next opening reads the log
                    checkpoint(self._writing)
        finally:
            self._dispose()

    def _dispose(self) -> None:
        self._reader.dispose()
        self._writing.dispose()
