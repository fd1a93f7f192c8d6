"""A whole data set into the store, in one transaction: all of it, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from hexarec.serve.store.checks import as_json
from hexarec.serve.store.documents import Documents
from hexarec.serve.store.events import Events
from hexarec.serve.store.items import Items
from hexarec.serve.store.rows import EventRow, ItemRow, UserRow
from hexarec.serve.store.schema import erased
from hexarec.serve.store.schema import users as users_table
from hexarec.serve.store.statements import insert_new
from hexarec.serve.store.users import Users

Batches = Callable[[], Iterable[Sequence[EventRow]]]


class Imports(Events, Items, Users, Documents):
    """Imports of a tenant."""

    def check_events(self, events: Sequence[EventRow]) -> None:
        """Raise DataError for an event that cannot be kept."""
        for event in events:
            self._checked(event)

    def take_in(
        self, items: Sequence[ItemRow], users: Sequence[UserRow], events: Batches, settings: Mapping[str, Any],
        check: Callable[[], None], since: float,
    ) -> Counter[str]:  # fmt: skip
        """Write items, users, events and the settings of the data; events by verdict. Other writes wait meanwhile.

        events: called for each try, gives the batches. A user who states nothing replaces nobody; one who was erased
        at `since`, when the files were read, or later stays away. check: called between batches; what it raises undoes
        all of it.
        """
        item_rows, user_rows = self._item_rows(items), self._user_rows(users)
        body = {"tenant": self.tenant, "kind": "settings", "name": "data", "created": self._clock(), "active": False,
                "body": as_json(settings, "settings")}  # fmt: skip

        def act(connection: Connection) -> Counter[str]:
            self._put(connection, body, True)
            self._put_items(connection, item_rows)
            living = self._without_buried(connection, user_rows, since)
            self._put_user_rows(connection, [row for row in living if row["attributes"] != "{}"])
            insert_new(connection, users_table, living)
            verdicts: Counter[str] = Counter()
            for batch in events():
                check()
                verdicts.update(self._add(connection, [self._checked(event) for event in batch]))
            return verdicts

        return self._write(act)

    def _without_buried(
        self, connection: Connection, rows: list[dict[str, Any]], since: float
    ) -> list[dict[str, Any]]:  # fmt: skip
        fresh = select(erased.c.mark).where(erased.c.tenant == self.tenant, erased.c.time >= since)
        marks = set(connection.execute(fresh).scalars())
        return [row for row in rows if self._mark("user", row["id"]) not in marks] if marks else rows
