"""API keys: made once, kept as a hash, with scopes, an end, and limits."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.serve.errors import ConflictError, ForbiddenError, LimitError
from hexarec.serve.store.rows import KeyRow

if TYPE_CHECKING:
    from hexarec.serve.store.open import Store

PREFIX = "hx_"
FAILURES = 20
"""Wrong keys within a minute after which an address has to wait."""
NETWORKS = 10_000
"""Addresses whose failures are remembered."""
SCOPES: dict[str, str] = {
    "recommend": "ask for lists, reasons, replies and vectors",
    "events": "send events",
    "read": "read items, users, pipelines, prompts, models, experiments and jobs",
    "write": "change items, users, pipelines, prompts and models",
    "experiments": "start, stop and ship experiments",
    "jobs": "start and cancel jobs",
    "admin": "keys, audit log, export and erasure of a user",
}
ROLES: dict[str, frozenset[str]] = {
    "reader": frozenset({"recommend", "read"}),
    "writer": frozenset({"recommend", "read", "events", "write", "experiments", "jobs"}),
    "admin": frozenset(SCOPES),
}


@dataclass(frozen=True)
class Caller:
    """Who calls: the tenant, and the key; without a key nobody but this machine."""

    tenant: str
    key: KeyRow | None
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        """How logs and the audit name the caller: never the secret."""
        return "local" if self.key is None else f"key:{self.key.id}"

    def needs(self, scope: str) -> None:
        """Raise ForbiddenError unless the caller has the scope."""
        if scope not in self.scopes:
            raise ForbiddenError(f"this key lacks the scope {scope!r}", hint=f"it has {', '.join(sorted(self.scopes))}")


def scopes_of(words: Iterable[str]) -> frozenset[str]:
    """Scopes by name; a role stands for its scopes. Raises OptionError for an unknown word."""
    made: set[str] = set()
    for word in words:
        if word not in SCOPES and word not in ROLES:
            raise OptionError(f"no scope {word!r}", hint=f"scopes: {', '.join(SCOPES)}; roles: {', '.join(ROLES)}")
        made |= ROLES.get(word, frozenset({word}))
    return frozenset(made)


def made_key(name: str, scopes: Iterable[str], *, days: float | None = None, **limits: Any) -> tuple[KeyRow, str]:
    """A new key and its secret, which is shown once and kept nowhere. limits: rate, burst, calls, tokens, dollars."""
    return minted(name, scopes_of(scopes), None if days is None else 86_400 * days, **limits)


def minted(name: str, scopes: frozenset[str], seconds: float | None, **limits: Any) -> tuple[KeyRow, str]:
    """A row and its secret, with scopes as they are given, for so many seconds."""
    key_id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), time.time()
    row = KeyRow(key_id, name, _digest(secret), scopes, now, None if seconds is None else now + seconds, **limits)
    return row, f"{PREFIX}{key_id}.{secret}"


def rotated(old: KeyRow, overlap: float) -> tuple[KeyRow, str, KeyRow]:
    """A new key with the scopes and limits of an old one, its secret, and the old one, ending in `overlap` seconds.

    Raises ConflictError when the old one has ended.
    """
    if not living(old):
        raise ConflictError("this key has ended: it cannot pass its rights on", hint="make a new one")
    days = None if old.expires is None else max((old.expires - old.created) / 86_400, 1e-6)
    limits = {name: getattr(old, name) for name in ("rate", "burst", "calls", "tokens", "dollars")}
    row, secret = made_key(old.name, old.scopes, days=days, **limits)
    end = time.time() + overlap
    return row, secret, replace(old, expires=end if old.expires is None else min(old.expires, end))


def living(key: KeyRow) -> bool:
    """Whether a key is neither revoked nor at its end."""
    now = time.time()
    return not (key.expires is not None and key.expires <= now) and not (key.revoked is not None and key.revoked <= now)


def _digest(secret: str) -> str:
    """SHA-256 is enough: the secret has 256 random bits, so nobody can try all."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Doorkeeper:
    """Tells who calls. Keys are read again every second, so a revoked one stops working within that time."""

    def __init__(self, store: Store, *, open_to: str | None = None) -> None:
        """open_to: the tenant of callers without a key while no key exists; None lets nobody in without one."""
        self._store, self._open_to = store, open_to
        self._known: dict[str, tuple[float, tuple[str, KeyRow] | None]] = {}
        self._keyless: tuple[float, bool] = (-10.0, False)
        self._failures: dict[str, deque[float]] = {}

    def caller(self, headers: Mapping[str, str], address: str) -> Caller | None:
        """The caller; None when there is no valid key and one is needed. Raises LimitError after many failures.

        From an address that failed too often not even a right key is taken: who guesses must not learn that it is one.
        """
        given = headers.get("authorization", "")
        if not given:
            return self.anybody()
        scheme, _, token = given.partition(" ")
        found = self.tried(token.strip() if scheme.lower() == "bearer" else "", address)
        if found is None or not found[1].scopes & SCOPES.keys():  # a pass of the page opens nothing here
            return None
        return Caller(found[0], found[1], found[1].scopes)

    def anybody(self) -> Caller | None:
        """Who calls without a key: the owner of this machine while no key exists, else nobody."""
        return Caller(self._open_to, None, frozenset(SCOPES)) if self._open_to and self.keyless() else None

    def tried(self, token: str, address: str) -> tuple[str, KeyRow] | None:
        """(tenant, key) of what somebody shows; a wrong one counts as a failure. Raises LimitError after many."""
        network = network_of(address)
        if (wait := self._locked(network)) > 0.0:
            raise LimitError("too many wrong keys from this address", wait, hint=f"wait {wait:.0f} s")
        found = self.found(token)
        if found is None:
            self._failed(network)
        return found

    def keyless(self) -> bool:
        """Whether no key exists at all."""
        read, answer = self._keyless
        if time.monotonic() - read > 1.0:
            answer = not any(self._store.of(name).keys() for name in self._store.tenants())
            self._keyless = (time.monotonic(), answer)
        return answer

    def found(self, token: str) -> tuple[str, KeyRow] | None:
        """(tenant, key) of a token whose key is valid now."""
        key_id, _, secret = token.removeprefix(PREFIX).partition(".")
        if (
            not token.startswith(PREFIX)
            or not secret
            or not key_id.isascii()
            or not key_id.isalnum()
            or len(key_id) > 64
        ):
            return None
        found = self._looked_up(key_id)
        if found is None or not hmac.compare_digest(_digest(secret), found[1].digest):
            return None
        return found if living(found[1]) else None

    def by_id(self, key_id: str) -> tuple[str, KeyRow] | None:
        """(tenant, key) of a key's id, valid or not; at most a second old."""
        return self._looked_up(key_id)

    def forget(self, key_id: str) -> None:
        """Look anew: this key has changed, or is the first one."""
        self._known.pop(key_id, None)
        self._keyless = (-10.0, False)

    def _looked_up(self, key_id: str) -> tuple[str, KeyRow] | None:
        now = time.monotonic()
        read, found = self._known.get(key_id, (-10.0, None))
        if now - read > 1.0:
            found = self._store.find_key(key_id)
            if len(self._known) > 10_000:  # somebody tries ids: forget them all rather than grow
                self._known.clear()
            self._known[key_id] = (now, found)
        return found

    def _locked(self, network: str) -> float:
        """The seconds for which this network may not try again, after FAILURES within the last minute."""
        times = self._failures.get(network, ())
        return max(60.0 - (time.monotonic() - times[-FAILURES]), 0.0) if len(times) >= FAILURES else 0.0

    def _failed(self, network: str) -> None:
        if network not in self._failures and len(self._failures) >= NETWORKS:
            del self._failures[next(iter(self._failures))]  # the oldest one, rather than grow
        times = self._failures.setdefault(network, deque(maxlen=FAILURES))
        times.append(time.monotonic())


def network_of(address: str) -> str:
    """What stands for an address when failures are counted: of IPv6 the /64, which one subscriber has whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
