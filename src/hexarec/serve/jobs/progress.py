"""How far a job is: the events of its run, taken together into one phase with its steps and its beginning."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hexarec.serve.store.rows import JobRow

STAGES = frozenset(
    "answers check download embed encode enrich epoch experiment fit import k1 pages read reading recommend round seed "
    "shards sweep tune users visits write".split()
)
"""What pieces of work may be called where names that somebody gave must not stand."""


@dataclass(frozen=True)
class Phase:
    """A piece of work under way: `done` of `total` steps since the moment `since` (unix seconds)."""

    label: str
    done: int
    total: int | None
    since: float


class Progress:
    """Hears the events of a run from any thread.

    Pieces of work lie inside each other, as epochs do inside a fit. `now` is the outermost piece that has moved, so
    that its time left is that of the whole; before anything moved it is the innermost.
    """

    def __init__(self, begun: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        """begun: told the label of every piece of work when it is first heard of."""
        self._begun, self._clock = begun, clock
        self._open: dict[str, Phase] = {}
        self._met: set[str] = set()
        self._lock = threading.Lock()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take up one event of `core.run`."""
        if event.get("kind") != "progress":
            return
        label, done, total = str(event["label"]), int(event["done"]), event.get("total")
        total = None if total is None else int(total)
        with self._lock:
            fresh = label not in self._met
            self._met.add(label)
            if total is not None and done >= total:
                self._open.pop(label, None)
            else:
                self._open[label] = Phase(label, done, total, self._clock() - float(event.get("seconds", 0.0)))
        if fresh:
            self._begun(label)

    @property
    def now(self) -> Phase | None:
        """What is under way; None between two pieces of work."""
        with self._lock:
            pieces = list(self._open.values())
        moved = [one for one in pieces if one.done and one.total]
        return moved[0] if moved else pieces[-1] if pieces else None


def eta(job: JobRow, now: float | None = None) -> float | None:
    """Seconds left of the phase a job is in, at its pace so far; None while nothing is known."""
    if job.state != "running" or not job.done or not job.total or job.since is None:
        return None
    passed = (time.time() if now is None else now) - job.since
    return max(passed * (job.total - job.done) / job.done, 0.0)


def stage_of(label: str) -> str:
    """The first word of a label that is ours; "other" for a label with none. The rest may be anybody's name."""
    return next((word for word in label.split() if word in STAGES), "other")
