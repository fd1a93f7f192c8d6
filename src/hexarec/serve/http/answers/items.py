"""Items."""

from __future__ import annotations

from typing import Any

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


class ItemPage(BaseModel):
    """Items by id; `next` is where to go on, null at the end."""

    items: list[StoredItem]
    next: str | None
