"""Connections: one that writes and several that read, to a SQLite file or a PostgreSQL database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hexarec.core.errors import MissingExtraError, OptionError
from hexarec.serve.store import errors

BUSY_MS = 30_000
READERS = 8
_WRITERS_TAKE_TURNS = 7_246_311_923  # the advisory lock of PostgreSQL under which every process writes
_FORMS = "give a path, sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"


def as_url(where: str | Path) -> URL:
    """The URL of a path or of a URL in words. Raises OptionError for other databases and for one in memory."""
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise OptionError("the URL of the store cannot be read", hint=_FORMS) from error
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise OptionError(f"no store for {url.drivername!r}", hint=_FORMS)
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise OptionError("a store in memory would keep nothing", hint=_FORMS)
    return url


def engines(url: URL) -> tuple[Engine, Engine]:
    """The engine that writes (one connection) and the one that reads. Raises MissingExtraError without psycopg."""
    return _of_sqlite(url) if url.get_backend_name() == "sqlite" else _of_postgresql(url)


def _of_sqlite(url: URL) -> tuple[Engine, Engine]:
    file = Path(str(url.database))
    file.parent.mkdir(parents=True, exist_ok=True)
    _create(file)
    arguments = {"check_same_thread": False, "timeout": BUSY_MS / 1000}
    writer = create_engine(url, connect_args=arguments, pool_size=1, max_overflow=0)
    reader = create_engine(url, connect_args=arguments, pool_size=READERS, max_overflow=2 * READERS)
    for engine, pragmas in ((writer, _WRITING), (reader, _READING)):
        event.listen(engine, "connect", _pragmas(pragmas))
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return writer, reader


def _create(file: Path) -> None:
    """An empty file that only its owner reads; the log and its index get the same mode.

    A file that is there is not opened: closing it would end the locks that other connections of this process hold.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


_WRITING = (
    "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "wal_autocheckpoint=4000",
    "cache_size=-65536",
)  # fmt: skip
_READING = ("query_only=ON", "cache_size=-16384")


def _pragmas(pragmas: tuple[str, ...]) -> Any:
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, schema changes included
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    return connect


def checkpoint(engine: Engine) -> None:
    """Bring SQLite's log into its file, and empty it unless somebody reads it. Raises StateError."""
    try:
        raw: Any = engine.raw_connection()
        try:
            raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            raw.close()
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise errors.typed(error) from error


def _of_postgresql(url: URL) -> tuple[Engine, Engine]:
    arguments = {"options": "-c synchronous_commit=on -c timezone=UTC", "connect_timeout": 10}
    try:
        writer = create_engine(url, connect_args=arguments, pool_size=1, max_overflow=0, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise MissingExtraError("psycopg", "scale") from error
    reader = create_engine(
        url, connect_args=arguments, pool_size=READERS, max_overflow=2 * READERS, pool_pre_ping=True,
        isolation_level="AUTOCOMMIT",
    )  # fmt: skip
    event.listen(writer, "begin", _take_turn)
    return writer, reader


def _take_turn(connection: Connection) -> None:
    """Wait until no other process writes: numbers then follow the order of the commits, with no gap that fills."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_TAKE_TURNS})")
