"""What opens the page, and nothing else: a session in a cookie, and the one-time link that makes the first one.

Both are rows among the keys with a scope of their own, which no route of the API asks for. A session made from a key
ends with that key and has its scopes and its budgets; one made from a link may do everything.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hexarec.serve.keys import SCOPES, Caller, Doorkeeper, living, minted
from hexarec.serve.store.rows import KeyRow

if TYPE_CHECKING:
    from hexarec.serve.backend import Backend
    from hexarec.serve.store.shelf import Shelf

SESSION, LINK = "page", "link"
PASSES = frozenset({SESSION, LINK})
SESSION_SECONDS = 12 * 3_600.0
LINK_SECONDS = 15 * 60.0


def is_pass(key: KeyRow) -> bool:
    """Whether this row is a session or a link, not a key that somebody made."""
    return bool(key.scopes & PASSES)


def new_link(shelf: Shelf) -> str:
    """The secret of a link that opens the page once, within a quarter of an hour, with every scope."""
    row, secret = minted("", frozenset({LINK}), LINK_SECONDS)
    shelf.put_key(row)
    shelf.audit("local", "make link", row.id)
    return secret


def opened_by(backend: Backend, token: str, address: str, request_id: str = "") -> tuple[str, float] | None:
    """(secret, seconds) of a new session for who shows a key or a link; None for a wrong or used one.

    Raises LimitError after many wrong ones from an address.
    """
    found = backend.doorkeeper.tried(token, address)
    if found is None or SESSION in found[1].scopes:
        return None
    tenant, key = found
    shelf = backend.service.store.of(tenant)
    if LINK in key.scopes:
        return new_session(shelf, None, f"link:{key.id}", request_id) if shelf.use_key(key.id) else None
    return new_session(shelf, key, f"key:{key.id}", request_id)


def new_session(shelf: Shelf, key: KeyRow | None, who: str, request_id: str = "") -> tuple[str, float]:
    """(secret, seconds) of a new session: of a key, or of the operator, who may do everything."""
    for scope in sorted(PASSES):
        shelf.drop_ended_keys(scope)
    left = SESSION_SECONDS if key is None or key.expires is None else min(SESSION_SECONDS, key.expires - time.time())
    row, secret = minted("" if key is None else key.id, frozenset({SESSION}), left)
    shelf.put_key(row)
    shelf.audit(who, "open page", row.id, request_id)
    return secret, left


def viewer(doorkeeper: Doorkeeper, cookie: str) -> Caller | None:
    """Who looks, by the session in the cookie; None when it is wrong, or has ended, or its key has."""
    found = doorkeeper.found(cookie)
    if found is None or SESSION not in found[1].scopes:
        return None
    tenant, session = found
    if not session.name:
        return Caller(tenant, session, frozenset(SCOPES))
    parent = doorkeeper.by_id(session.name)
    if parent is None or parent[0] != tenant or not living(parent[1]):
        return None
    return Caller(tenant, parent[1], parent[1].scopes)


def closed(backend: Backend, cookie: str) -> None:
    """End a session; a wrong one changes nothing."""
    found = backend.doorkeeper.found(cookie)
    if found is not None and SESSION in found[1].scopes:
        backend.service.store.of(found[0]).use_key(found[1].id)
        backend.doorkeeper.forget(found[1].id)
