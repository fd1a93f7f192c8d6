"""Items: every change has a version from one growing number, deletions leave a tombstone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import as_json, checked_id, checked_number, checked_text, from_json
from hexarec.serve.store.rows import ItemRow
from hexarec.serve.store.schema import counters, items
from hexarec.serve.store.statements import chunks, grown, upsert

_I = items.c
_CONTENT = ("id", "title", "text", "attributes", "titles", "texts", "since")
_COLUMNS = (*(_I[name] for name in _CONTENT), _I.version, _I.deleted)


class Items(Access):
    """The catalog of a tenant."""

    def put_items(self, items: Sequence[ItemRow]) -> int:
        """Write items, whole; the newest version of the catalog. What is equal to what stands keeps its version.

        Of equal ids the last one holds. Versions that are given are not read. Raises DataError before anything.
        """
        rows = self._item_rows(items)
        return self._write(lambda connection: self._put_items(connection, rows))

    def change_item(self, id: str, change: Callable[[ItemRow], ItemRow]) -> ItemRow | None:
        """The item as `change` made it of what stands, None when none stands; two at once both count.

        change: a function of the row alone; it may be called more than once.
        """
        query = select(*_COLUMNS).where(_I.tenant == self.tenant, _I.id == id, _I.deleted.is_(False))

        def changed(connection: Connection) -> ItemRow | None:
            grown(connection, self.tenant, "items", 0)  # the lock that every writer of items takes first
            row = connection.execute(query).first()
            if row is None:
                return None
            self._put_items(connection, self._item_rows([change(_item(row))]))
            return _item(connection.execute(query).one())

        return self._write(changed)

    def item(self, id: str) -> ItemRow | None:
        """One item, None when there is none or it was deleted."""
        row = self._row(select(*_COLUMNS).where(_I.tenant == self.tenant, _I.id == id, _I.deleted.is_(False)))
        return _item(row) if row else None

    def items(self, after_version: int = 0, most: int = 1000) -> list[ItemRow]:
        """Items that changed after a version, deleted ones too, in the order of their versions."""
        query = select(*_COLUMNS).where(_I.tenant == self.tenant, _I.version > after_version)
        return [_item(row) for row in self._rows(query.order_by(_I.version).limit(most))]

    def find_items(self, after_id: str = "", most: int = 100) -> list[ItemRow]:
        """Items by id, those that stand; go on after the last id."""
        query = select(*_COLUMNS).where(_I.tenant == self.tenant, _I.id > after_id, _I.deleted.is_(False))
        return [_item(row) for row in self._rows(query.order_by(_I.id).limit(most))]

    def delete_item(self, id: str) -> bool:
        """Whether the item stood until now. Its row stays as a tombstone with a version of its own."""
        return self._write(lambda connection: self._delete_item(connection, id))

    def _item_rows(self, items: Sequence[ItemRow]) -> list[dict[str, Any]]:
        return list({item.id: {"tenant": self.tenant, **_checked(item)} for item in items}.values())

    def _put_items(self, connection: Connection, rows: list[dict[str, Any]]) -> int:
        standing = self._standing(connection, [row["id"] for row in rows])
        changed = [row for row in rows if standing.get(row["id"]) != tuple(row[name] for name in _CONTENT)]
        if not changed:
            query = select(counters.c.value).where(counters.c.tenant == self.tenant, counters.c.name == "items")
            return connection.execute(query).scalar() or 0
        newest = grown(connection, self.tenant, "items", len(changed))
        first = newest - len(changed) + 1
        upsert(connection, items, [{**row, "version": version} for version, row in enumerate(changed, first)])
        return newest

    def _standing(self, connection: Connection, ids: list[str]) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for some in chunks(ids):
            query = select(*(_I[name] for name in _CONTENT))
            query = query.where(_I.tenant == self.tenant, _I.id.in_(some), _I.deleted.is_(False))
            found.update((row.id, tuple(row)) for row in connection.execute(query))
        return found

    def _delete_item(self, connection: Connection, id: str) -> bool:
        here = (_I.tenant == self.tenant, _I.id == id, _I.deleted.is_(False))
        if connection.execute(select(_I.id).where(*here)).first() is None:
            return False
        version = grown(connection, self.tenant, "items")
        connection.execute(update(items).where(*here).values(deleted=True, version=version))
        return True


def _checked(item: ItemRow) -> Mapping[str, Any]:
    return {
        "id": checked_id(item.id, "id"),
        "title": checked_text(item.title, "title"),
        "text": checked_text(item.text, "text"),
        "attributes": as_json(item.attributes, "attributes"),
        "titles": as_json(item.titles, "titles"),
        "texts": as_json(item.texts, "texts"),
        "since": None if item.since is None else checked_number(item.since, "since"),
        "deleted": False,
    }


def _item(row: Any) -> ItemRow:
    return ItemRow(
        row.id, row.title, row.text, from_json(row.attributes), from_json(row.titles), from_json(row.texts),
        row.since, row.version, bool(row.deleted),
    )  # fmt: skip
