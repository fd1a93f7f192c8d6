"""Statements that several parts of the store share, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
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
    statement = _insert(connection, counters).values(tenant=tenant, name=name, value=by)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "name"], set_={"value": counters.c.value + statement.excluded.value}
    )
    return int(connection.execute(statement.returning(counters.c.value)).scalar_one())
