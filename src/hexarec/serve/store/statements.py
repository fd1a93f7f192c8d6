"""Statements that several parts of the store share, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Table, bindparam, insert
from sqlalchemy.dialects import postgresql, sqlite

from hexarec.serve.store.schema import counters

T = TypeVar("T")
CHUNK = 1000
"""Ids in one statement at most."""


def chunks(values: Sequence[T], most: int = CHUNK) -> Iterator[Sequence[T]]:
    """The values in pieces that fit one statement."""
    for start in range(0, len(values), most):
        yield values[start : start + most]


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose key is not there yet; the others change nothing."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), list(rows))


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, or replace those whose key is there."""
    if rows:
        statement = _insert(connection, table)
        keys = [column.name for column in table.primary_key]
        rest = {name: statement.excluded[name] for name in table.columns.keys() if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest), list(rows))


def add(connection: Connection, table: Table, row: Mapping[str, Any], amounts: Mapping[str, float]) -> None:
    """Insert a row with these amounts, or add them to the one whose key is there."""
    keys = [column.name for column in table.primary_key]
    grow = {name: table.c[name] + amount for name, amount in amounts.items()}
    statement = _insert(connection, table).values(**row, **amounts)
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=grow))


def grown(connection: Connection, tenant: str, name: str, by: int = 1) -> int:
    """The newest number of a tenant's counter after it grew; numbers are given in the order of the commits."""
    row = {"tenant": tenant, "name": name, "by": by}
    return int(connection.execute(_grow(connection.dialect.name), row).scalar_one())


@cache
def _grow(dialect: str) -> Any:
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(counters)
    statement = statement.values(tenant=bindparam("tenant"), name=bindparam("name"), value=bindparam("by"))
    more = {"value": counters.c.value + statement.excluded.value}
    return statement.on_conflict_do_update(index_elements=["tenant", "name"], set_=more).returning(counters.c.value)


def insert_many(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows that name every column, in values the driver takes as they are; the fastest way to do so."""
    text, names = _plain_insert(table, connection.dialect)
    connection.exec_driver_sql(text, list(map(itemgetter(*names), rows)) if names else list(rows))


@cache
def _plain_insert(table: Table, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The words of the statement, and the order of its values where the driver wants them in order."""
    compiled = insert(table).compile(dialect=dialect)
    return compiled.string, tuple(getattr(compiled, "positiontup", None) or ())


def count_anew(connection: Connection, table: Table) -> None:
    """Let PostgreSQL know what a table that grew holds: until its own daemon does, it reads all for a few ids."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f'ANALYZE "{table.name}"')
