"""Three small valves of `Guarded`: a rate bucket, a circuit breaker and a retry allowance. All are thread-safe."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable

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

    def give(self, amount: float) -> None:
        """Put back what was taken and not used."""
        with self._lock:
            self._level = min(self.capacity, self._level + amount)


class Breaker:
    """Opens after `most` failures in a row; after `cooldown` seconds lets one probe through, which may close it.

    Requests whose outcome is not known yet count as failures to come, unless the last answer was good: so in an outage
    no more than `most` requests are sent beyond those that were under way when it began.
    """

    def __init__(self, most: int, cooldown: float, clock: Clock) -> None:
        self._most, self._cooldown, self._clock = most, cooldown, clock
        self._failures, self._opened, self._probing = 0, -math.inf, False
        self._flying, self._proven = 0, False
        self._changed = threading.Condition()

    def ask(self, wanted: int = 1) -> int:
        """How many of `wanted` requests may be sent now; each of them must be followed by one `note`."""
        with self._changed:
            allowed = self._allowed(wanted)
            self._flying += allowed
            return allowed

    def _allowed(self, wanted: int) -> int:
        if self._failures < self._most:
            room = wanted if self._proven else self._most - self._failures - self._flying
            return max(0, min(wanted, room))
        if not wanted or self._probing or self._clock() - self._opened < self._cooldown:
            return 0
        self._probing = True
        return 1

    def note(self, well: bool | None, *, sent: bool = True) -> None:
        """Count a request that went well or failed; None for one that says nothing about the server.

        `sent` is False for a request that never left: then the next caller may probe at once.
        """
        with self._changed:
            self._flying = max(self._flying - 1, 0)
            if well:
                self._failures, self._probing, self._proven = 0, False, True
            elif well is None:
                if self._probing and sent:
                    self._opened = self._clock()
                self._probing = False
            else:
                self._failures, self._proven = self._failures + 1, False
                if self._failures >= self._most:
                    self._opened, self._probing = self._clock(), False
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait until an outcome is noted, at most `seconds`."""
        with self._changed:
            self._changed.wait(seconds)

    @property
    def open(self) -> bool:
        """Whether requests are held back until a probe goes well."""
        with self._changed:
            return self._failures >= self._most

    @property
    def shut(self) -> bool:
        """Whether nothing may be sent now, not even a probe."""
        with self._changed:
            waits = self._probing or self._clock() - self._opened < self._cooldown
            return self._failures >= self._most and waits


class Allowance:
    """Lets at most `share` retries pass per first attempt, counted over the last `window` first attempts."""

    def __init__(self, share: float, window: int = 100) -> None:
        self._share, self._window, self._first = share, window, 0
        self._again: deque[int] = deque()
        self._lock = threading.Lock()

    def first(self, n: int) -> None:
        """Count n first attempts."""
        with self._lock:
            self._first += n
            while self._again and self._again[0] <= self._first - self._window:
                self._again.popleft()

    def again(self, n: int, *, whole: bool = False) -> int:
        """How many of n retries may be sent, with `whole` all or none; they are counted as sent."""
        with self._lock:
            most = math.ceil(self._share * min(self._first, self._window))
            allowed = max(0, min(n, most - len(self._again)))
            allowed = 0 if whole and allowed < n else allowed
            self._again.extend([self._first] * allowed)
            return allowed
