"""Prefixes kept warm between calls: keys and values by model, adapter, tenant and tokens, vectors by their numbers."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hexarec.lm.hf.attention import Prefix

STEP = 16  # a beginning is found at multiples of this and then followed token by token
Scope = tuple[str, ...]


@dataclass(eq=False)
class _Kept:
    tokens: tuple[int, ...]
    prefix: Prefix
    marks: list[bytes]


class Prefixes:
    """Least recently used prefixes within `megabytes`. A scope (model, adapter, tenant) never sees another's.

    Thread-safe.
    """

    def __init__(self, megabytes: float) -> None:
        self._limit, self._used = megabytes * 1e6, 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._index: dict[bytes, list[bytes]] = {}
        """The names of the kept prefixes that begin with what a mark stands for."""
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes held by the kept prefixes."""
        return self._used

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._limit > 0

    def find(self, scope: Scope, tokens: Sequence[int]) -> Prefix | None:
        """The longest kept beginning of `tokens`, short of its last token, with what stands in front; or None."""
        with self._lock:
            for mark in reversed(_marks(scope, tokens)):
                names = self._index.get(mark)
                if names:
                    best = max(names, key=lambda name: _common(self._kept[name].tokens, tokens))
                    self._kept.move_to_end(best)
                    kept = self._kept[best]
                    front = kept.prefix.length - len(kept.tokens)
                    return kept.prefix.head(front + min(_common(kept.tokens, tokens), len(tokens) - 1))
        return None

    def keep(self, scope: Scope, tokens: Sequence[int], prefix: Prefix) -> None:
        """Keep the keys and values of `tokens`, in place of a kept beginning; copied only out of a shared block.

        What an adapter puts in front of the tokens stays with them. What is added behind them later goes to memory of
        its own.
        """
        marks = _marks(scope, tokens)
        if not marks or prefix.bytes > self._limit:
            return
        own = prefix.own()
        with self._lock:
            for name in {name for mark in marks for name in self._index.get(mark, ())}:
                if _common(self._kept[name].tokens, tokens) == len(self._kept[name].tokens):
                    self._drop(name)
            name = _name(scope, tokens)
            if name in self._kept:
                return
            self._kept[name] = _Kept(tuple(tokens), own, marks)
            self._used += own.bytes
            for mark in marks:
                self._index.setdefault(mark, []).append(name)
            while self._used > self._limit:
                self._drop(next(iter(self._kept)))

    def forget(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()
            self._index.clear()
            self._used = 0

    def _drop(self, name: bytes) -> None:
        kept = self._kept.pop(name)
        self._used -= kept.prefix.bytes
        for mark in kept.marks:
            self._index[mark].remove(name)
            if not self._index[mark]:
                del self._index[mark]


def _marks(scope: Scope, tokens: Sequence[int]) -> list[bytes]:
    """The running hash of a scope and the first 16, 32, ... tokens."""
    running = hashlib.blake2b("\x00".join(scope).encode(), digest_size=16)
    values, found = np.asarray(tokens, np.int32), []
    for start in range(0, len(values) - STEP + 1, STEP):
        running.update(values[start : start + STEP].tobytes())
        found.append(running.copy().digest())
    return found


def _name(scope: Scope, tokens: Sequence[int]) -> bytes:
    text = "\x00".join(scope).encode() + b"\x01" + np.asarray(tokens, np.int32).tobytes()
    return hashlib.blake2b(text, digest_size=16).digest()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    n = min(len(one), len(other))
    differ = np.flatnonzero(np.asarray(one[:n]) != np.asarray(other[:n]))
    return int(differ[0]) if len(differ) else n
