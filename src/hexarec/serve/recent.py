"""The last hour of this process, minute by minute and tenant by tenant: requests, lists, what degraded."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hexarec.serve.live.given import Given

MINUTES = 60
STEPS = 20
"""Bins of seconds in each power of ten: a quantile is right to about 6 %."""
LEAST = -4
"""Power of ten of the smallest bin: 0.1 ms."""
BINS = 6 * STEPS
REASONS = 100
"""Different reasons that a minute keeps at most."""


def _bins() -> list[int]:
    return [0] * BINS


@dataclass
class _Times:
    """Requests of a route: how many, how many were refused (4xx) or failed (5xx), and their seconds in bins."""

    n: int = 0
    refused: int = 0
    failed: int = 0
    bins: list[int] = field(default_factory=_bins)

    def add(self, other: _Times) -> None:
        self.n, self.refused, self.failed = self.n + other.n, self.refused + other.refused, self.failed + other.failed
        self.bins = [a + b for a, b in zip(self.bins, other.bins, strict=True)]


@dataclass
class _Minute:
    number: int
    routes: dict[str, _Times] = field(default_factory=dict)
    sums: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    dollars: float = 0.0


@dataclass(frozen=True)
class RouteLine:
    """One route in the window. p50, p95: seconds. refused: answered 4xx; failed: answered 5xx."""

    route: str
    n: int
    p50: float
    p95: float
    refused: int
    failed: int


@dataclass(frozen=True)
class Window:
    """The window as it is now. Minutes are (unix seconds, requests, lists, degraded lists), oldest first,
    also those in which nothing happened; none where nothing ever did.

    reasons: (stage, why, lists). Tokens are those of language models; cached ones were read from a cache of prompts.
    """

    since: float
    routes: tuple[RouteLine, ...]
    minutes: tuple[tuple[float, int, int, int], ...]
    reasons: tuple[tuple[str, str, int], ...]
    lists: int
    degraded: int
    calls: int
    tokens: int
    tokens_in: int
    tokens_cached: int
    dollars: float

    @property
    def requests(self) -> int:
        """All requests."""
        return sum(one.n for one in self.routes)

    @property
    def failed(self) -> int:
        """Requests that were answered 5xx."""
        return sum(one.failed for one in self.routes)

    @property
    def refused(self) -> int:
        """Requests that were answered 4xx."""
        return sum(one.refused for one in self.routes)


class Recent:
    """What happened lately. `request` and `answered` take microseconds and any thread may call them."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._minutes: dict[str, deque[_Minute]] = {}
        self.started = clock()

    def request(self, tenant: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request of a tenant."""
        with self._lock:
            times = self._now(tenant).routes.setdefault(route, _Times())
            times.n += 1
            times.refused += 400 <= status < 500
            times.failed += status >= 500
            times.bins[_bin(seconds)] += 1

    def answered(self, tenant: str, given: Given) -> None:
        """Count an answered list of a tenant, with its share of what its batch spent."""
        with self._lock:
            minute = self._now(tenant)
            minute.sums["lists"] += 1
            minute.sums["degraded"] += bool(given.degraded)
            minute.sums["calls"] += given.calls
            minute.sums["tokens"] += given.tokens
            for name in ("tokens_in", "tokens_cached"):
                minute.sums[name] += round(sum(step.get(name, 0) for step in given.trace) / given.batch)
            minute.dollars += given.dollars
            for one in given.degraded:
                reason = (one["stage"][:80], one["why"][:200])
                if reason in minute.reasons or len(minute.reasons) < REASONS:
                    minute.reasons[reason] += 1

    def window(self, tenant: str) -> Window:
        """The last hour of a tenant."""
        with self._lock:
            now = int(self._clock() // 60)
            kept = [one for one in self._minutes.get(tenant, ()) if one.number > now - MINUTES]
            since = max(self.started, 60.0 * (now - MINUTES + 1))
            return _window(kept, since, now)

    def _now(self, tenant: str) -> _Minute:
        number = int(self._clock() // 60)
        minutes = self._minutes.setdefault(tenant, deque(maxlen=MINUTES))
        if not minutes or minutes[-1].number < number:
            minutes.append(_Minute(number))
        return minutes[-1]


def _bin(seconds: float) -> int:
    return min(max(int(STEPS * (math.log10(max(seconds, 1e-9)) - LEAST)), 0), BINS - 1)


def _quantile(bins: Iterable[int], share: float) -> float:
    counts = list(bins)
    left = share * sum(counts)
    for place, count in enumerate(counts):
        left -= count
        if left <= 0 and count:
            return float(10 ** (LEAST + (place + 0.5) / STEPS))
    return float("nan")


def _window(minutes: list[_Minute], since: float, now: int) -> Window:
    routes: dict[str, _Times] = {}
    sums: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    for one in minutes:
        sums.update(one.sums)
        reasons.update(one.reasons)
        for name, times in one.routes.items():
            routes.setdefault(name, _Times()).add(times)
    lines = tuple(
        RouteLine(name, one.n, _quantile(one.bins, 0.5), _quantile(one.bins, 0.95), one.refused, one.failed)
        for name, one in sorted(routes.items(), key=lambda pair: (-pair[1].n, pair[0]))
    )
    kept = {one.number: one for one in minutes}
    first = min([int(since // 60), *kept])
    each = (kept.get(number) or _Minute(number) for number in range(first, now + 1)) if kept else ()
    by_minute = tuple(
        (60.0 * one.number, sum(t.n for t in one.routes.values()), one.sums["lists"], one.sums["degraded"])
        for one in each
    )
    told = tuple((stage, why, n) for (stage, why), n in reasons.most_common(12))
    return Window(
        since, lines, by_minute, told, sums["lists"], sums["degraded"], sums["calls"], sums["tokens"],
        sums["tokens_in"], sums["tokens_cached"], sum(one.dollars for one in minutes),
    )  # fmt: skip
