"""Keys and the audit log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Key(BaseModel):
    """A key without its secret; calls, tokens and dollars are limits of a UTC day."""

    id: str
    name: str
    scopes: list[str]
    created: float
    expires: float | None
    revoked: float | None
    rate: float | None
    burst: int | None
    calls: int | None
    tokens: int | None
    dollars: float | None
    spent_today: dict[str, float]


class MadeKey(Key):
    """A new key with its secret."""

    key: str


class Revoked(BaseModel):
    """The key is refused from now on."""

    revoked: Literal[True]


class Keys(BaseModel):
    """All keys."""

    keys: list[Key]


class AuditEntry(BaseModel):
    """Who did what to what."""

    seq: int
    time: float
    who: str
    what: str
    target: str
    request: str
    digest: str


class Audit(BaseModel):
    """Links of the audit log, and the first broken one."""

    rows: list[AuditEntry]
    broken_at: int | None
