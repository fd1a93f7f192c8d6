"""A data set beside what a tenant has already: all of it or nothing, and nothing that is known better is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hexarec.core import Dataset, current, track
from hexarec.serve.live.catalogs import CHUNK, event_rows, item_rows, user_rows

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def taken_in(tenant: Tenant, data: Dataset, key: str, since: float) -> dict[str, int]:
    """Store a data set in one transaction; how many items, users, and events by verdict.

    key: of the files, so that the same ones are not counted twice. since: when they were read: who was erased after
    that stays away. Items that only events name leave known items as
    they are, users who state nothing leave known users so. Name, language and like rule of earlier data stay.
    """
    told = tenant.settings
    tenant.refresh()
    known = () if tenant.empty else tenant.catalog.items
    items = [row for row in item_rows(data.catalog) if row.title or row.text or row.attributes or row.id not in known]
    users, n = user_rows(data), len(data.interactions)
    for batch in track(event_rows(data, key), "check", total=-(-n // CHUNK)):
        tenant.shelf.check_events(batch)
    work = current()
    settings: dict[str, Any] = {
        "lang": told.get("lang", data.catalog.lang), "name": told.get("name", data.name),
        "like": told.get("like") or data.interactions.smallest_liked,
        "simulated": told.get("simulated", False) or data.simulated,
    }  # fmt: skip
    for _ in track([0], "write"):
        verdicts = tenant.shelf.take_in(items, users, lambda: event_rows(data, key), settings, work.check, since)
    tenant.refresh()
    return {"items": len(items), "users": len(users), "events": verdicts["new"], "known_before": verdicts["same"]}
