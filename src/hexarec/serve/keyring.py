"""Keys made, replaced and ended, each with its line in the audit log."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hexarec.serve.errors import MissingError
from hexarec.serve.keys import made_key, rotated
from hexarec.serve.store.rows import KeyRow

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf


def issued(
    shelf: Shelf, who: str, request: str, name: str, scopes: Iterable[str], *, days: float | None = None, **limits: Any
) -> tuple[KeyRow, str]:
    """A new key and its secret. Raises OptionError for a scope that is none."""
    row, secret = made_key(name, scopes, days=days, **limits)
    shelf.put_key(row)
    shelf.audit(who, "create key", row.id, request)
    return row, secret


def replaced(shelf: Shelf, who: str, request: str, key_id: str, overlap: float) -> tuple[KeyRow, str]:
    """A new key with the rights of an old one, which ends in `overlap` seconds. Raises MissingError, ConflictError."""
    row, secret, ending = rotated(known(shelf, key_id), overlap)
    shelf.put_key(row)
    shelf.put_key(ending)
    shelf.audit(who, "rotate key", f"{key_id} to {row.id}", request)
    return row, secret


def revoked(shelf: Shelf, who: str, request: str, key_id: str) -> None:
    """End a key now. Raises MissingError."""
    shelf.put_key(replace(known(shelf, key_id), revoked=time.time()))
    shelf.audit(who, "revoke key", key_id, request)


def known(shelf: Shelf, key_id: str) -> KeyRow:
    """The key of an id. Raises MissingError."""
    found = shelf.key(key_id)
    if found is None:
        raise MissingError(f"no key {key_id[:80]!r}", hint="hexarec keys list")
    return found
