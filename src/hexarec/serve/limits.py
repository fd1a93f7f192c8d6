"""How much a key may do: a token bucket a second, and budgets of calls, tokens and dollars a UTC day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hexarec.core.errors import BudgetError
from hexarec.serve.errors import LimitError
from hexarec.serve.store.rows import KeyRow

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf


@dataclass
class Bucket:
    """A token bucket: `rate` a second, `burst` at once; level and time are its state."""

    rate: float
    burst: float
    level: float
    time: float

    def take(self, now: float) -> float:
        """Take one; 0 when there was one, else the seconds until there is. A clock that went back adds nothing."""
        self.level = min(self.burst, self.level + max(now - self.time, 0.0) * self.rate)
        self.time = now
        if self.level >= 1.0:
            self.level -= 1.0
            return 0.0
        return (1.0 - self.level) / self.rate


@dataclass
class _Account:
    day: str
    spent: dict[str, float]
    unsaved: dict[str, float] = field(default_factory=lambda: {"calls": 0, "tokens": 0, "dollars": 0.0})
    read: float = 0.0


def day_of(now: float) -> str:
    """The UTC day of a moment, as 2026-01-31."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


class Limits:
    """Rates and budgets of the keys of one tenant; `save`, called every second, keeps what was spent in the store.

    Several servers share budgets through the store and see each other's spending a second late at most.
    """

    def __init__(self, shelf: Shelf, clock: Callable[[], float] = time.time) -> None:
        self._shelf, self._clock = shelf, clock
        self._buckets: dict[str, Bucket] = {}
        self._accounts: dict[str, _Account] = {}
        self._lock = threading.Lock()

    def admit(self, key: KeyRow) -> None:
        """Count one call. Raises LimitError when the rate is used up, BudgetError when a budget is."""
        now = self._clock()
        with self._lock:
            if key.rate:
                wait = self._bucket(key, now).take(now)
                if wait > 0.0:
                    raise LimitError(f"the key may call {key.rate:g} times a second", wait, hint=f"wait {wait:.2f} s")
            account = self._account(key.id, now)
            self._check(key, account)
            account.unsaved["calls"] += 1

    def left(self, key: KeyRow) -> tuple[int | None, float | None]:
        """Tokens and dollars left today; None where there is no budget."""
        with self._lock:
            account = self._account(key.id, self._clock())
            tokens = None if key.tokens is None else max(int(key.tokens - _total(account, "tokens")), 0)
            dollars = None if key.dollars is None else max(key.dollars - _total(account, "dollars"), 0.0)
            return tokens, dollars

    def spend(self, key: str, tokens: int, dollars: float) -> None:
        """Count what a call cost."""
        with self._lock:
            account = self._account(key, self._clock())
            account.unsaved["tokens"] += tokens
            account.unsaved["dollars"] += dollars

    def save(self) -> None:
        """Write what was spent and the levels of the buckets to the store."""
        with self._lock:
            due = [(key, one) for key, one in self._accounts.items() if any(one.unsaved.values())]
            owed = [(key, one.day, dict(one.unsaved)) for key, one in due]
            for _, one in due:
                one.spent = {name: one.spent[name] + one.unsaved[name] for name in one.spent}
                one.unsaved = dict.fromkeys(one.unsaved, 0)
            levels = [(key, bucket.level, bucket.time) for key, bucket in self._buckets.items()]
        for key, day, amounts in owed:
            self._shelf.spend(
                key, day, calls=int(amounts["calls"]), tokens=int(amounts["tokens"]), dollars=float(amounts["dollars"])
            )
        for key, level, when in levels:
            self._shelf.put_bucket(key, level, when)

    def _bucket(self, key: KeyRow, now: float) -> Bucket:
        rate, burst = float(key.rate or 0.0), float(key.burst or max(1, round(key.rate or 0.0)))
        found = self._buckets.get(key.id)
        if found is None or (found.rate, found.burst) != (rate, burst):
            kept = self._shelf.bucket(key.id)
            level, when = (burst, now) if kept is None else kept
            found = self._buckets[key.id] = Bucket(rate, burst, min(level, burst), min(when, now))
        return found

    def _account(self, key: str, now: float) -> _Account:
        day = day_of(now)
        found = self._accounts.get(key)
        if found is None or found.day != day or now - found.read > 1.0:
            unsaved = found.unsaved if found is not None and found.day == day else None
            spent = {"calls": 0, "tokens": 0, "dollars": 0.0, **self._shelf.spent(key, day)}
            found = self._accounts[key] = _Account(day, spent, read=now)
            if unsaved is not None:
                found.unsaved = unsaved
        return found

    def _check(self, key: KeyRow, account: _Account) -> None:
        for name, most in (("calls", key.calls), ("tokens", key.tokens), ("dollars", key.dollars)):
            if most is not None and _total(account, name) >= most:
                raise BudgetError(
                    f"the key's budget of {most:g} {name} a day is used up", hint="it is full again at 00:00 UTC"
                )


def _total(account: _Account, name: str) -> float:
    return account.spent[name] + account.unsaved[name]
