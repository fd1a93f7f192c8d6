"""Items."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class StoredItem(BaseModel):
    """An item; `version` grows with every change."""

    item_id: str
    title: str
    text: str
    attributes: dict[str, Any]
    titles: dict[str, str]
    texts: dict[str, str]
    since: float | None
    version: int
    deleted: bool


class Stored(BaseModel):
    """How many items were written."""

    stored: int


class Deleted(BaseModel):
    """The item is in no list any more."""

    deleted: Literal[True]


class ItemPage(BaseModel):
    """Items by id; `next` is where to go on, null at the end."""

    items: list[StoredItem]
    next: str | None
