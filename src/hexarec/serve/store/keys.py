"""API keys, what they spent, and the level of their rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Engine, delete, or_, select, update

from hexarec.core.errors import DataError
from hexarec.serve.store.access import Access, read
from hexarec.serve.store.checks import checked_count, checked_id, checked_number, checked_text
from hexarec.serve.store.rows import KeyRow
from hexarec.serve.store.schema import buckets, keys, spending
from hexarec.serve.store.statements import add, upsert

_K, _S, _B = keys.c, spending.c, buckets.c
_NAMES = tuple(field.name for field in fields(KeyRow))
_COLUMNS = tuple(_K[name] for name in _NAMES)


class Keys(Access):
    """The keys of a tenant."""

    def put_key(self, key: KeyRow) -> None:
        """Write a key, whole. Raises DataError for an id that another tenant's key has."""
        row = {"tenant": self.tenant, **_checked(key)}
        self._write(lambda connection: self._put_key(connection, row))

    def key(self, id: str) -> KeyRow | None:
        """One key."""
        row = self._row(select(*_COLUMNS).where(_K.tenant == self.tenant, _K.id == id))
        return _key(row) if row else None

    def keys(self) -> list[KeyRow]:
        """All keys, oldest first."""
        query = select(*_COLUMNS).where(_K.tenant == self.tenant).order_by(_K.created, _K.id)
        return [_key(row) for row in self._rows(query)]

    def use_key(self, id: str) -> bool:
        """Revoke a key that holds once; whether it stood until now, of all who try at a time true for one."""
        now = self._clock()
        query = update(keys).where(_K.tenant == self.tenant, _K.id == id, _K.revoked.is_(None))
        query = query.where(or_(_K.expires.is_(None), _K.expires > now)).values(revoked=now)
        return self._write(lambda connection: bool(connection.execute(query).rowcount))

    def drop_ended_keys(self, scope: str) -> int:
        """Delete the keys with exactly this scope that are revoked or at their end; how many they were."""
        query = delete(keys).where(_K.tenant == self.tenant, _K.scopes == scope)
        query = query.where(or_(_K.revoked.is_not(None), _K.expires <= self._clock()))
        return self._write(lambda connection: int(connection.execute(query).rowcount))

    def spend(self, key: str, day: str, *, calls: int = 0, tokens: int = 0, dollars: float = 0.0) -> None:
        """Add to what a key spent on a day (UTC, as 2026-11-26)."""
        row = {"tenant": self.tenant, "key": checked_id(key, "key"), "day": checked_id(day, "day")}
        amounts = {
            "calls": checked_count(calls, "calls"), "tokens": checked_count(tokens, "tokens"),
            "dollars": checked_number(dollars, "dollars"),
        }  # fmt: skip
        self._write(lambda connection: add(connection, spending, row, amounts))

    def spent(self, key: str, day: str) -> dict[str, Any]:
        """What a key spent on a day: calls, tokens, dollars."""
        query = select(_S.calls, _S.tokens, _S.dollars).where(_S.tenant == self.tenant, _S.key == key, _S.day == day)
        row = self._row(query)
        return dict(zip(("calls", "tokens", "dollars"), row or (0, 0, 0.0), strict=True))

    def bucket(self, key: str) -> tuple[float, float] | None:
        """(level, time) of a rate limit as it was last put."""
        row = self._row(select(_B.level, _B.time).where(_B.tenant == self.tenant, _B.key == key))
        return (row.level, row.time) if row else None

    def put_bucket(self, key: str, level: float, time: float) -> None:
        """Keep the level of a rate limit, so that a restart does not fill it."""
        row = {
            "tenant": self.tenant, "key": checked_id(key, "key"), "level": checked_number(level, "level"),
            "time": checked_number(time, "time"),
        }  # fmt: skip
        self._write(lambda connection: upsert(connection, buckets, [row]))

    def _put_key(self, connection: Connection, row: Mapping[str, Any]) -> None:
        other = connection.execute(select(_K.id).where(_K.id == row["id"], _K.tenant != self.tenant)).first()
        if other is not None:
            raise DataError("this id of a key is taken", field="id", hint="make another one")
        upsert(connection, keys, [row])


def find_key(reader: Engine, id: str) -> tuple[str, KeyRow] | None:
    """(tenant, key) of an id, which no two tenants share."""
    rows = read(reader, select(*_COLUMNS, _K.tenant).where(_K.id == id))
    return (rows[0].tenant, _key(rows[0])) if rows else None


def _checked(key: KeyRow) -> dict[str, Any]:
    limits = {name: getattr(key, name) for name in ("expires", "revoked", "rate", "dollars")}
    counts = {name: getattr(key, name) for name in ("burst", "calls", "tokens")}
    return {
        "id": checked_id(key.id, "id"),
        "name": checked_text(key.name, "name"),
        "digest": checked_id(key.digest, "digest"),
        "scopes": " ".join(sorted(checked_id(scope, "scopes") for scope in key.scopes)),
        "created": checked_number(key.created, "created"),
        **{name: None if value is None else checked_number(value, name) for name, value in limits.items()},
        **{name: None if value is None else checked_count(value, name) for name, value in counts.items()},
    }


def _key(row: Any) -> KeyRow:
    values = {name: getattr(row, name) for name in _NAMES}
    return KeyRow(**{**values, "scopes": frozenset(row.scopes.split())})
