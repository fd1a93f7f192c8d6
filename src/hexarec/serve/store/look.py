"""A look at a store that changes nothing: its schema, its file, its audit logs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from hexarec.core.errors import StateError
from hexarec.serve.store import errors
from hexarec.serve.store.engines import as_url, engines
from hexarec.serve.store.migrate import revision
from hexarec.serve.store.schema import REVISIONS, tenants
from hexarec.serve.store.shelf import Shelf


@dataclass(frozen=True)
class Look:
    """What was found: revision (None for an empty database), tenants, and every fault as a sentence."""

    revision: str | None
    newest: str
    tenants: tuple[str, ...]
    faults: tuple[str, ...]


def looked_at(where: str | Path) -> Look:
    """Look at the store of a path or URL; a SQLite file that is not there is not made."""
    url = as_url(where)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return Look(None, REVISIONS[-1], (), (f"there is no database at {url.database}",))
    writer, reader = engines(url)
    writer.dispose()
    try:
        with reader.connect() as connection:
            return _looked(connection, reader)
    except SQLAlchemyError as error:
        return Look(None, REVISIONS[-1], (), (str(errors.typed(error)),))
    except StateError as error:
        return Look(None, REVISIONS[-1], (), (error.message,))
    finally:
        reader.dispose()


def _looked(connection: Connection, reader: Engine) -> Look:
    found, faults = revision(connection), []
    if found != REVISIONS[-1]:
        faults.append(f"the schema is {found or 'missing'}, the newest is {REVISIONS[-1]}: hexarec db upgrade")
    if connection.dialect.name == "sqlite":
        said = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check(5)"))]
        faults += [f"the database file is damaged: {one}" for one in said if one != "ok"]
    names = tuple(connection.execute(select(tenants.c.tenant).order_by(tenants.c.tenant)).scalars()) if found else ()
    if found == REVISIONS[-1]:
        faults += [f"the audit log of {name} is broken at link {at}" for name in names if (at := _broken(name, reader))]
    return Look(found, REVISIONS[-1], names, tuple(faults))


def _broken(tenant: str, reader: Engine) -> int | None:
    """The first broken link of a tenant's audit log."""
    nobody: Any = None  # a shelf that only reads needs no writer
    return Shelf(tenant, reader, nobody, time.time).audit_check()
