"""What long work says on stderr where nobody opened a run that listens: a plain line now and then.

The command line, jobs and tests listen by themselves (`run(emit=...)`), and then nothing is said here.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PATIENCE, LOOKED_AT, PIPED = 5.0, 5.0, 15.0
"""Seconds before work says anything, and between two lines in a terminal and elsewhere."""


def line(event: Mapping[str, Any]) -> str:
    """A progress event as a sentence: how much of what, and how long it will take."""
    unit = f" {event['unit']}" if event.get("unit") else ""
    total, done, seconds = event["total"], event["done"], float(event["seconds"])
    text = f"{event['label']}: {done:g}{f'/{total:g}' if total else ''}{unit}, {seconds:.0f} s"
    if total and 0 < done < total:
        text += f", about {seconds / done * (total - done):.0f} s left"
    return text


def write(text: str) -> None:
    """One line on stderr; nothing where there is none, or where it is closed."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return


@dataclass
class Aside:
    """Hears events as `Run.emit`. Only what the main thread does is told: a server's threads have a log."""

    clock: Callable[[], float] = time.monotonic
    _said: float = field(default=float("-inf"), init=False)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Say a line where it is time for one."""
        if event.get("kind") != "progress" or float(event["seconds"]) < PATIENCE or event["done"] == event["total"]:
            return
        if threading.current_thread() is not threading.main_thread():
            return
        terminal = bool(getattr(sys.stderr, "isatty", bool)())
        if (now := self.clock()) - self._said >= (LOOKED_AT if terminal else PIPED):
            self._said = now
            write(line(event))
