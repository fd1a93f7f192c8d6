"""The answers of language models that a tenant's store keeps: whose they are, and how often they were of use."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hexarec.core.errors import HexarecError
from hexarec.eval.standins import is_lm, swapped
from hexarec.lm.cassette import Cassette

if TYPE_CHECKING:
    from hexarec.serve.live.asks import Ask
    from hexarec.serve.store.shelf import Shelf

log = logging.getLogger("hexarec.serve")
PARTS = 16
"""An answer may take this part of the memory; after each such part that was written, the oldest ones go."""
T = TypeVar("T")


@dataclass
class Asking:
    """The people whose data is in the questions of a piece of work, since when, and how many answers were kept ones."""

    owners: frozenset[str] = frozenset()
    since: float = field(default_factory=time.time)
    hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def hit(self) -> None:
        """Count an answer that was there; safe from several threads."""
        with self._lock:
            self.hits += 1


_ASKING: ContextVar[Asking] = ContextVar("hexarec_asking")


@contextlib.contextmanager
def asking(owners: Iterable[str], since: float) -> Iterator[Asking]:
    """Within, what models answer belongs to these people: ids of users, or "session:" and the id of a session.

    since: when they asked, unix seconds, before their data was read: what comes of it is as old.
    """
    made = Asking(frozenset(owners), since)
    token = _ASKING.set(made)
    try:
        yield made
    finally:
        _ASKING.reset(token)


def owners_of(asks: Iterable[Ask]) -> set[str]:
    """The people that asks are about."""
    made: set[str] = set()
    for ask in asks:
        made |= set(ask.names)
    return made


class Memory:
    """A tape of a cassette (see `lm.tape`) in the store of one tenant; at most about `most` bytes are kept.

    A store that is busy or down costs what would have been kept, never the answer.
    """

    def __init__(self, shelf: Shelf, most: int) -> None:
        self._shelf, self._most = shelf, most
        self._written = most  # so that the first write also looks at what is there already
        self._lock = threading.Lock()
        self.damaged = self.lost = 0

    def get(self, key: str) -> Any:
        """The value, or None."""
        try:
            raw = self._shelf.cached(key)
            value = None if raw is None else json.loads(raw)
        except (HexarecError, ValueError) as error:
            self.damaged += 1
            log.warning("a kept answer could not be read: %s", type(error).__name__)
            return None
        if value is not None:
            now = _ASKING.get(None) or Asking()
            now.hit()
            self._soon(lambda: self._shelf.cache_met_soon(key, now.owners, now.since))
        return value

    def put(self, key: str, value: Any) -> None:
        """Keep a value, soon."""
        raw = json.dumps(value, separators=(",", ":")).encode()
        if len(raw) > self._most // PARTS:
            return
        now = _ASKING.get(None) or Asking()
        self._soon(lambda: self._shelf.cache_soon(key, raw, now.owners, now.since))
        if self._is_due(len(raw) + len(key)):
            self._soon(lambda: self._shelf.trim_cache_soon(self._most - self._most // PARTS))

    def _is_due(self, size: int) -> bool:
        with self._lock:
            self._written += size
            due = self._written >= self._most // PARTS
            self._written = 0 if due else self._written
            return due

    def _soon(self, write: Any) -> None:
        try:
            future: Future[Any] = write()
        except HexarecError:
            self.lost += 1
        else:
            future.add_done_callback(self._noted)

    def _noted(self, done: Future[Any]) -> None:
        if not done.cancelled() and done.exception() is not None:
            self.lost += 1


def remembering(system: T, memory: Memory | None) -> T:
    """The system with language models that look into the memory before they answer, and keep what they answered."""
    if memory is None:
        return system
    return swapped(system, lambda model: Cassette(model, memory) if is_lm(model) else model)
