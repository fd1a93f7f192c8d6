"""The answers of language models that are kept, whose they are, and how many of them stay."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, update

from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import checked_id
from hexarec.serve.store.schema import cache, cache_owners
from hexarec.serve.store.statements import insert_new, upsert

_C, _O = cache.c, cache_owners.c


class Cache(Access):
    """Bytes under keys. A row belongs to everybody whose data may stand in the question or the answer.

    Owners are ids of users, or "session:" and the id of a session.
    """

    def cached(self, key: str) -> bytes | None:
        """The cached bytes under a key."""
        row = self._row(select(_C.value).where(_C.tenant == self.tenant, _C.key == key))
        return bytes(row.value) if row else None

    def cache_soon(
        self, key: str, value: bytes, owners: Collection[str] = (), since: float | None = None
    ) -> Future[None]:
        """Cache bytes of these owners; not when one of them was erased at `since` (now without it) or later."""
        now = self._clock()
        row = {"tenant": self.tenant, "key": checked_id(key, "key"), "value": bytes(value), "used": now}
        asked = now if since is None else since

        def written(connection: Connection) -> None:
            if self._alive(connection, owners, asked) == set(owners):
                upsert(connection, cache, [row])
                self._own(connection, key, owners)

        return self._soon(written)

    def cache_met_soon(self, key: str, owners: Collection[str], since: float) -> Future[None]:
        """Note that a cached row was used now, also for these owners: it belongs to them too."""
        now, here = self._clock(), (_C.tenant == self.tenant, _C.key == key)

        def noted(connection: Connection) -> None:
            if connection.execute(update(cache).where(*here).values(used=now)).rowcount:
                self._own(connection, key, self._alive(connection, owners, since))

        return self._soon(noted)

    def trim_cache_soon(self, most: int) -> Future[int]:
        """Remove rows, those that were not used for longest first, until at most so many bytes are kept; how many."""
        size = func.length(_C.value) + func.length(_C.key)
        newer = func.sum(size).over(order_by=(_C.used.desc(), _C.key)).label("newer")
        ranked = select(_C.key, newer).where(_C.tenant == self.tenant).subquery()
        old = select(ranked.c.key).where(ranked.c.newer > most)

        def trimmed(connection: Connection) -> int:
            gone = connection.execute(delete(cache).where(_C.tenant == self.tenant, _C.key.in_(old))).rowcount
            connection.execute(delete(cache_owners).where(unused(self.tenant)))
            return gone

        return self._soon(trimmed)

    def _alive(self, connection: Connection, owners: Collection[str], since: float) -> set[str]:
        """Those of the owners who were not erased at that moment or later."""
        marks = {one: self._mark_of(one) for one in owners}
        buried = self._buried(connection, set(marks.values()))
        return {one for one, mark in marks.items() if mark not in buried or buried[mark] < since}

    def _mark_of(self, owner: str) -> str:
        kind, _, id = owner.partition(":") if owner.startswith("session:") else ("user", "", owner)
        return self._mark(kind, id)

    def _own(self, connection: Connection, key: str, owners: Collection[str]) -> None:
        rows: list[dict[str, Any]] = [{"tenant": self.tenant, "key": key, "owner": one} for one in sorted(owners)]
        insert_new(connection, cache_owners, rows)


def unused(tenant: str) -> ColumnElement[bool]:
    """Owners of rows that are gone."""
    there = exists().where(_C.tenant == _O.tenant, _C.key == _O.key)
    return (_O.tenant == tenant) & ~there
