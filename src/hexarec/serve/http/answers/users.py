"""Users, and what an erasure removed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class StoredUser(BaseModel):
    """A user and what they stated."""

    user_id: str
    attributes: dict[str, Any]
    lang: str | None


class UserPage(BaseModel):
    """Users by id; `next` is where to go on, null at the end."""

    users: list[StoredUser]
    next: str | None


class Erased(BaseModel):
    """What an erasure removed: rows by table, saved pipelines and files that were written anew."""

    erased: dict[str, int]
