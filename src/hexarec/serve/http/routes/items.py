"""Items: new ones can be recommended within a second, deleted ones never again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field

from hexarec.serve.errors import MissingError
from hexarec.serve.http.answers import items as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRead, MayWrite, needs
from hexarec.serve.http.listings import After, Most, next_of
from hexarec.serve.http.shapes import MOST_ITEMS, Id, ItemBody, ItemPatch, Strict
from hexarec.serve.keys import Caller
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.request import request_id_of, tenant_of
from hexarec.serve.store.rows import ItemRow

router = APIRouter(route_class=StrictRoute, tags=["items"])


class NamedItem(ItemBody):
    """An item with its id."""

    item_id: Id


class Items(Strict):
    """Some items."""

    items: Annotated[list[NamedItem], Field(min_length=1, max_length=MOST_ITEMS)]


def told(row: ItemRow) -> dict[str, Any]:
    """An item as it goes out."""
    made = asdict(row)
    made["item_id"] = made.pop("id")
    return made


def _row(item_id: str, body: ItemBody) -> ItemRow:
    return ItemRow(
        item_id, body.title, body.text, dict(body.attributes), dict(body.titles), dict(body.texts), body.since
    )


def found(tenant: Tenant, item_id: str) -> ItemRow:
    """The item that stands under an id. Raises MissingError."""
    row = tenant.shelf.item(item_id)
    if row is None or row.deleted:
        raise MissingError(f"no item {item_id!r}")
    return row


def stored(request: Request, caller: Caller, rows: list[ItemRow]) -> None:
    """Write items and take them up at once, so that the caller's next question can find them."""
    tenant = tenant_of(request, caller)
    tenant.shelf.put_items(rows)
    tenant.shelf.audit(caller.name, "put items", f"{len(rows)} items", request_id_of(request))
    tenant.refresh()


def changed(request: Request, caller: Caller, item_id: str, change: Callable[[ItemRow], ItemRow]) -> ItemRow:
    """Change an item as it stands, and take it up at once. Raises MissingError."""
    tenant = tenant_of(request, caller)
    made = tenant.shelf.change_item(item_id, change)
    if made is None:
        raise MissingError(f"no item {item_id!r}")
    tenant.shelf.audit(caller.name, "change item", item_id, request_id_of(request))
    tenant.refresh()
    return made


@router.get("/v1/items", openapi_extra=needs("read"), response_model=answers.ItemPage)
def listed(request: Request, caller: MayRead, after: After = "", limit: Most = 100) -> dict[str, Any]:
    """Items by id, from behind `after`."""
    rows = tenant_of(request, caller).shelf.find_items(after, limit)
    return {"items": [told(row) for row in rows], "next": next_of(rows, limit)}


@router.post("/v1/items:batch", openapi_extra=needs("write"), response_model=answers.Stored)
def put_many(request: Request, caller: MayWrite, body: Items) -> dict[str, int]:
    """Store items, new or changed."""
    stored(request, caller, [_row(one.item_id, one) for one in body.items])
    return {"stored": len(body.items)}


@router.get("/v1/items/{item_id}", openapi_extra=needs("read"), response_model=answers.StoredItem)
def read(request: Request, caller: MayRead, item_id: Annotated[Id, Path()]) -> dict[str, Any]:
    """One item."""
    return told(found(tenant_of(request, caller), item_id))


@router.put("/v1/items/{item_id}", openapi_extra=needs("write"), response_model=answers.StoredItem)
def put(request: Request, caller: MayWrite, item_id: Annotated[Id, Path()], body: ItemBody) -> dict[str, Any]:
    """Store an item, new or changed."""
    stored(request, caller, [_row(item_id, body)])
    return told(found(tenant_of(request, caller), item_id))


@router.patch("/v1/items/{item_id}", openapi_extra=needs("write"), response_model=answers.StoredItem)
def patch(request: Request, caller: MayWrite, item_id: Annotated[Id, Path()], body: ItemPatch) -> dict[str, Any]:
    """Change some fields of an item."""
    given = body.model_dump(exclude_unset=True)

    def merged(old: ItemRow) -> ItemRow:
        return replace(old, **{name: _merged(getattr(old, name), value) for name, value in given.items()})

    return told(changed(request, caller, item_id, merged))


def _merged(old: Any, new: Any) -> Any:
    """A field after a patch: mappings are merged, null removes an entry; null leaves a text as it was."""
    if isinstance(old, Mapping):
        return {key: value for key, value in {**old, **(new or {})}.items() if value is not None}
    return old if new is None else new


@router.delete("/v1/items/{item_id}", openapi_extra=needs("write"), response_model=answers.Deleted)
def delete(request: Request, caller: MayWrite, item_id: Annotated[Id, Path()]) -> dict[str, bool]:
    """Delete an item: no list holds it any more, its events stay."""
    tenant = tenant_of(request, caller)
    if not tenant.shelf.delete_item(item_id):
        raise MissingError(f"no item {item_id!r}")
    tenant.shelf.audit(caller.name, "delete item", item_id, request_id_of(request))
    tenant.refresh()
    return {"deleted": True}
