"""How much a key may do: a token bucket a second, and budgets of calls, tokens and dollars a UTC day."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hexarec.core.errors import BudgetError
from hexarec.serve.errors import LimitError
from hexarec.serve.purse import Purse
from hexarec.serve.store.rows import KeyRow

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf

EPSILON = 1e-6
"""What sums of parts of a second may be short of a whole call."""


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
        if self.level >= 1.0 - EPSILON:
            self.level = max(self.level - 1.0, 0.0)
            return 0.0
        return (1.0 - self.level) / self.rate


@dataclass
class _Account:
    """What a key spent on a day: all of it, and the part of it that the store has."""

    purse: Purse
    calls: int
    saved: dict[str, float]
    works: int = 0  # pieces of long work that pay from it

    @property
    def spent(self) -> dict[str, float]:
        ledger = self.purse.ledger.snapshot()
        tokens = ledger["tokens_in"] + ledger["tokens_out"]
        return {"calls": self.calls, "tokens": tokens, "dollars": ledger["cost"]}


def day_of(now: float) -> str:
    """The UTC day of a moment, as 2026-01-31."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


class Limits:
    """Rates and budgets of the keys of one tenant; `save`, called every second, keeps what was spent in the store.

    Several servers share budgets through the store and see each other's spending a second late at most. rate: calls a
    second of a key that has none of its own, 0 for no limit.
    """

    def __init__(self, shelf: Shelf, clock: Callable[[], float] = time.time, *, rate: float = 0.0) -> None:
        self._shelf, self._clock, self._rate = shelf, clock, rate
        self._buckets: dict[str, Bucket] = {}
        self._saved: dict[str, tuple[str, float, float]] = {}  # levels as the store has them
        self._accounts: dict[tuple[str, str], _Account] = {}
        self._lock, self._saving = threading.RLock(), threading.Lock()

    def admit(self, key: KeyRow) -> None:
        """Count one call. Raises LimitError when the rate is used up, BudgetError when a budget is."""
        now, rate = self._clock(), key.rate or self._rate
        with self._lock:
            if rate:
                wait = self._bucket(key, rate, now).take(now)
                if wait > 0.0:
                    raise LimitError(f"the key may call {rate:g} times a second", wait, hint=f"wait {wait:.2f} s")
            account = self._account(key)
            for name, most in (("calls", key.calls), ("tokens", key.tokens), ("dollars", key.dollars)):
                if most is not None and account.spent[name] >= most:
                    raise BudgetError(
                        f"the key's budget of {most:g} {name} a day is used up", hint="it is full again at 00:00 UTC"
                    )
            account.calls += 1

    def purse(self, key: KeyRow) -> Purse:
        """What the key may spend today."""
        with self._lock:
            return self._account(key).purse

    @contextlib.contextmanager
    def opened(self, key: KeyRow) -> Iterator[Purse]:
        """What the key may spend today, for work that may last into tomorrow: what it spends then is saved too."""
        with self._lock:
            account = self._account(key)
            account.works += 1
        try:
            yield account.purse
        finally:
            with self._lock:
                account.works -= 1

    def save(self) -> None:
        """Write what was spent and the levels of the buckets, and take up what other servers spent.

        What cannot be written is written by a later call. Raises StateError when the store fails.
        """
        with self._saving:
            with self._lock:
                accounts = list(self._accounts.items())
                buckets = [(key, bucket.level, bucket.time) for key, bucket in self._buckets.items()]
            levels = [one for one in buckets if self._saved.get(one[0]) != one]
            for (key, day), account in accounts:
                self._settle(key, day, account)
            for one in levels:
                self._shelf.put_bucket(*one)
                self._saved[one[0]] = one

    def _settle(self, key: str, day: str, account: _Account) -> None:
        owed = {name: total - account.saved[name] for name, total in account.spent.items()}
        if any(owed.values()):
            self._shelf.spend(
                key, day, calls=int(owed["calls"]), tokens=int(owed["tokens"]), dollars=max(owed["dollars"], 0.0)
            )
            account.saved = {name: account.saved[name] + owed[name] for name in owed}
        elif day != day_of(self._clock()) and not account.works:
            with self._lock:
                self._accounts.pop((key, day), None)
        there = self._shelf.spent(key, day)
        with self._lock:
            others = {name: max(there[name] - account.saved[name], 0) for name in there}
            account.calls += int(others["calls"])
            account.purse.add(others["tokens"], others["dollars"])
            account.saved = {name: account.saved[name] + others[name] for name in others}

    def _bucket(self, key: KeyRow, rate: float, now: float) -> Bucket:
        burst = float(key.burst or max(1, round(rate)))
        found = self._buckets.get(key.id)
        if found is None or (found.rate, found.burst) != (rate, burst):
            kept = self._shelf.bucket(key.id) if found is None else (found.level, found.time)
            level, when = (burst, now) if kept is None else kept
            found = self._buckets[key.id] = Bucket(rate, burst, min(level, burst), min(when, now))
        return found

    def _account(self, key: KeyRow) -> _Account:
        day = day_of(self._clock())
        found = self._accounts.get((key.id, day))
        if found is None:
            there = self._shelf.spent(key.id, day)
            purse = Purse(key.tokens, key.dollars)
            purse.add(there["tokens"], there["dollars"])
            found = self._accounts[key.id, day] = _Account(purse, int(there["calls"]), dict(there))
        elif (found.purse.tokens, found.purse.dollars) != (key.tokens, key.dollars):
            found.purse = Purse(key.tokens, key.dollars, found.purse.ledger)
        return found
