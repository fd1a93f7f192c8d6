"""Items found by words, over the catalog a tenant serves now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hexarec.core import Catalog
from hexarec.core.errors import OptionError
from hexarec.parts.named_items import Grounder
from hexarec.parts.text_search import TextSearch

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

_GROUNDED: WeakKeyDictionary[Tenant, Grounder] = WeakKeyDictionary()
_BUILT: WeakKeyDictionary[Tenant, tuple[Catalog, TextSearch]] = WeakKeyDictionary()  # goes when its tenant goes


def searched(tenant: Tenant, words: str, n: int) -> list[dict[str, Any]]:
    """The n best items for these words, BM25 over title and text; nothing when no item has any of them."""
    catalog = tenant.catalog
    kept = _BUILT.get(tenant)
    if kept is None or kept[0] is not catalog:
        try:
            kept = (catalog, TextSearch(("title", "text")).build(catalog))
        except OptionError:
            return []
        _BUILT[tenant] = kept
    rows = kept[1].found([words], ~catalog.alive, n)[0]
    return [{"item_id": catalog.items.ids[row], "title": catalog.titles[row]} for row in rows]


def grounder_of(tenant: Tenant) -> Grounder:
    """Finds items of the catalog a tenant serves now by id and by title."""
    kept = _GROUNDED.get(tenant)
    if kept is None or kept.catalog is not tenant.catalog:
        kept = _GROUNDED[tenant] = Grounder(tenant.catalog)
    return kept
