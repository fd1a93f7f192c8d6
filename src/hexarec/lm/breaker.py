"""Three small valves of `Guarded`: a rate bucket, a circuit breaker and a retry allowance. All are thread-safe."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Literal

Clock = Callable[[], float]


class Bucket:
    """Lets `per_minute` units pass per minute, at most one second's worth at once; a larger amount leaves a debt."""

    def __init__(self, per_minute: float, clock: Clock) -> None:
        self._rate, self._clock = per_minute / 60.0, clock
        self.capacity = max(1.0, self._rate)
        self._level, self._then = self.capacity, clock()
        self._lock = threading.Lock()

    def take(self, amount: float) -> float:
        """Take `amount` units and return the seconds to wait before using them."""
        with self._lock:
            now = self._clock()
            self._level = min(self.capacity, self._level + (now - self._then) * self._rate)
            self._then = now
            wait = max(0.0, (min(amount, self.capacity) - self._level) / self._rate)
            self._level -= amount
            return wait


class Breaker:
    """Opens after `most` failures in a row; after `cooldown` seconds lets one probe through, which may close it."""

    def __init__(self, most: int, cooldown: float, clock: Clock) -> None:
        self._most, self._cooldown, self._clock = most, cooldown, clock
        self._failures, self._opened, self._probing = 0, -math.inf, False
        self._lock = threading.Lock()

    def ask(self) -> Literal["go", "probe", "stop"]:
        """Whether to go on, to send one request as a probe, or to send nothing. A probe must be followed by `note`."""
        with self._lock:
            if self._failures < self._most:
                return "go"
            if self._probing or self._clock() - self._opened < self._cooldown:
                return "stop"
            self._probing = True
            return "probe"

    def note(self, well: bool | None) -> None:
        """Count a request that went well or failed; None for one that says nothing about the server."""
        with self._lock:
            if well is None:
                # the next caller may probe at once: this one never reached the server
                self._probing = False
            elif well:
                self._failures, self._probing = 0, False
            else:
                self._failures += 1
                if self._failures >= self._most:
                    self._opened, self._probing = self._clock(), False

    @property
    def open(self) -> bool:
        """Whether requests are held back now."""
        with self._lock:
            return self._failures >= self._most


class Allowance:
    """Lets at most `share` retries pass per first attempt, over the life of the object."""

    def __init__(self, share: float) -> None:
        self._share, self._first, self._again = share, 0, 0
        self._lock = threading.Lock()

    def first(self, n: int) -> None:
        """Count n first attempts."""
        with self._lock:
            self._first += n

    def again(self, n: int) -> int:
        """How many of n retries may be sent; they are counted as sent."""
        with self._lock:
            allowed = max(0, min(n, math.ceil(self._share * self._first) - self._again))
            self._again += allowed
            return allowed
