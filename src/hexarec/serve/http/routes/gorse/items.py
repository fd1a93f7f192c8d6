"""Items in gorse's shape: stored, changed, read, deleted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from hexarec.serve.http.callers import MayRead, MayWrite, needs
from hexarec.serve.http.listings import After, Most, next_of
from hexarec.serve.http.routes.gorse.door import router
from hexarec.serve.http.routes.gorse.shapes import (
    Item,
    ItemChange,
    ItemInPath,
    ItemsFrom,
    Success,
    attributes_of,
    labels_of,
    moment_of,
    seconds_of,
)
from hexarec.serve.http.routes.items import changed, found, stored
from hexarec.serve.http.shapes import MOST_ITEMS
from hexarec.serve.request import request_id_of, tenant_of
from hexarec.serve.store.rows import ItemRow

NEVER = 9e10
"""What is added to the time of a hidden item: nobody lives to see it, and it can be taken away again."""


@router.post("/item", openapi_extra=needs("write"))
def insert_item(request: Request, caller: MayWrite, body: Item) -> Success:
    """Store an item, new or changed."""
    return insert_items(request, caller, [body])


@router.post("/items", openapi_extra=needs("write"))
def insert_items(
    request: Request, caller: MayWrite, body: Annotated[list[Item], Field(min_length=1, max_length=MOST_ITEMS)]
) -> Success:
    """Store items, new or changed."""
    stored(request, caller, [_row(one) for one in body])
    return Success(RowAffected=len(body))


@router.get("/items", openapi_extra=needs("read"))
def items(request: Request, caller: MayRead, cursor: After = "", n: Most = 10) -> ItemsFrom:
    """Items by id."""
    rows = tenant_of(request, caller).shelf.find_items(cursor, n)
    return ItemsFrom(Cursor=next_of(rows, n) or "", Items=[_item(row) for row in rows])


@router.get("/item/{item_id}", openapi_extra=needs("read"))
def item(request: Request, caller: MayRead, item_id: ItemInPath) -> Item:
    """One item."""
    return _item(found(tenant_of(request, caller), item_id))


@router.patch("/item/{item_id}", openapi_extra=needs("write"))
def patch_item(request: Request, caller: MayWrite, item_id: ItemInPath, body: ItemChange) -> Success:
    """Change some fields of an item; labels and categories as a whole."""
    changed(request, caller, item_id, partial(_patched, patch=body))
    return Success(RowAffected=1)


@router.delete("/item/{item_id}", openapi_extra=needs("write"))
def delete_item(request: Request, caller: MayWrite, item_id: ItemInPath) -> Success:
    """Delete an item: no list holds it any more."""
    tenant = tenant_of(request, caller)
    gone = tenant.shelf.delete_item(item_id)
    tenant.shelf.audit(caller.name, "delete item", item_id, request_id_of(request))
    tenant.refresh()
    return Success(RowAffected=int(gone))


def _row(one: Item) -> ItemRow:
    attributes = _joined(attributes_of(one.Labels), one.Categories)
    return ItemRow(
        one.ItemId, one.Comment or one.ItemId, "", attributes, since=_since(one.IsHidden, seconds_of(one.Timestamp))
    )


def _patched(old: ItemRow, patch: ItemChange) -> ItemRow:
    labels = dict(old.attributes)
    categories = labels.pop("categories", None)
    if patch.Labels is not None:
        labels = attributes_of(patch.Labels)
    if patch.Categories is not None:
        categories = patch.Categories
    hidden, at = _hidden(old)
    at = at if patch.Timestamp is None else seconds_of(patch.Timestamp)
    return replace(
        old,
        title=old.title if patch.Comment is None else patch.Comment or old.id,
        attributes=_joined(labels, categories),
        since=_since(hidden if patch.IsHidden is None else patch.IsHidden, at),
    )


def _item(row: ItemRow) -> Item:
    attributes = dict(row.attributes)
    categories = attributes.pop("categories", None)
    hidden, at = _hidden(row)
    return Item.model_construct(
        ItemId=row.id, IsHidden=hidden, Categories=categories if isinstance(categories, list) else [],
        Timestamp=moment_of(at), Labels=labels_of(attributes), Comment="" if row.title == row.id else row.title,
    )  # fmt: skip


def _joined(labels: dict[str, Any], categories: Any) -> dict[str, Any]:
    return labels | ({"categories": categories} if categories else {})


def _since(hidden: bool, at: float | None) -> float | None:
    return NEVER + (at or 0.0) if hidden else at


def _hidden(row: ItemRow) -> tuple[bool, float | None]:
    """Whether an item is hidden, and its time."""
    if row.since is None or row.since < NEVER:
        return False, row.since
    return True, row.since - NEVER or None
