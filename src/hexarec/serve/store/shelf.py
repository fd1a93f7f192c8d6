"""All that a tenant's shelf can do, in one class."""

from __future__ import annotations

from sqlalchemy import func, select

from hexarec.core.errors import OptionError
from hexarec.serve.store import schema
from hexarec.serve.store.audit import Audit
from hexarec.serve.store.cache import Cache
from hexarec.serve.store.erase import Erasing
from hexarec.serve.store.imports import Imports
from hexarec.serve.store.jobs import Jobs
from hexarec.serve.store.keys import Keys
from hexarec.serve.store.shown import Shown

_COUNTED = (
    "events", "items", "users", "shown", "answers", "dialogues", "documents", "jobs", "keys", "audit", "cache",
    "cache_owners", "assignments", "erased",
)  # fmt: skip


class Shelf(Imports, Shown, Cache, Jobs, Keys, Audit, Erasing):
    """One tenant's part of the store. Methods are synchronous and safe from any thread.

    A method that writes returns when its rows are on disk; one that ends in `_soon` returns a future of that.
    """

    def count(self, what: str) -> int:
        """The rows of a table: events, items (that stand), users, ... Raises OptionError for an unknown one."""
        if what not in _COUNTED:
            raise OptionError(f"nothing is called {what!r}", hint=f"one of {', '.join(_COUNTED)}")
        table = schema.metadata.tables[what]
        query = select(func.count()).select_from(table).where(table.c.tenant == self.tenant)
        query = query.where(table.c.deleted.is_(False)) if what == "items" else query
        row = self._row(query)
        return int(row[0]) if row else 0
