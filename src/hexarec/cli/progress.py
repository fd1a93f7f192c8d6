"""Progress of long work on stderr: bars with a time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hexarec.cli.shared import aside, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hexarec.core import Run

PATIENCE = 2.0  # seconds before anything is shown
SHOWN_EVERY = 0.1  # seconds between two updates of a bar
SAID_EVERY = 10.0  # seconds between two plain lines about one piece of work


@contextlib.contextmanager
def working(
    *,
    deadline: float | None = None,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    budget_tokens: int | None = None,
    console: Console | None = None,
) -> Iterator[Run]:
    """Open a run whose progress is shown; deadline in seconds from now, budgets for all models together.

    What a stage says it does badly while it is fitted (`core.degrade`) is shown as a note; while it answers, the answer
    holds it.
    """
    from hexarec.core import Budget, run

    shown = console or aside()
    view = _Bars(shown) if shown.is_terminal else _Lines(shown)
    budget = Budget(budget_calls, budget_tokens, budget_usd)

    def complained(reason: str) -> None:
        view.hear({"kind": "note", "text": reason})

    with view, run(seconds=deadline, budget=budget, emit=view.hear, complain=complained) as work:
        view.spent = work.ledger.snapshot
        yield work


@dataclass
class _Lines:
    """Plain lines: nothing for short work, then at most one line per piece of work every few seconds."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    spent: Callable[[], dict[str, float]] = dict
    _said: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def hear(self, event: dict[str, Any]) -> None:
        """Take one event of `core.run`."""
        if event.get("kind") == "note":
            note(self.console, event)
        if event.get("kind") != "progress" or event["seconds"] < PATIENCE:
            return
        label, finished = str(event["label"]), event["done"] == event["total"]
        with self._lock:
            now = self.clock()
            if now - self._said.get(label, -SAID_EVERY) < SAID_EVERY and not (finished and label in self._said):
                return
            self._said[label] = now
            if finished:
                del self._said[label]
        from hexarec.core.aside import line

        self.console.print(line(event), markup=False)


def note(console: Console, event: dict[str, Any]) -> None:
    """Something that happened on the way and that who waits should know."""
    console.print(f"! {printable(str(event['text']))}", style="yellow", markup=False)


class _Bars:
    """Bars of a terminal: one for each piece of work that takes long, outer ones first; gone when done."""

    def __init__(self, console: Console) -> None:
        import sys

        from rich.live import Live

        self.console = console
        self.spent: Callable[[], dict[str, float]] = dict
        self._tasks: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()
        self._live = Live(
            get_renderable=self.render, console=console, transient=True, refresh_per_second=4,
            redirect_stdout=sys.stdout.isatty(), redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> _Bars:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def hear(self, event: dict[str, Any]) -> None:
        """Take one event of `core.run`; the drawing thread shows it."""
        if event.get("kind") == "note":
            note(self.console, event)
        if event.get("kind") != "progress":
            return
        with self._lock:
            label, now = str(event["label"]), time.monotonic()
            known = self._tasks.get(label)
            if event["total"] and event["done"] >= event["total"]:
                self._tasks.pop(label, None)
            elif known is None or event["done"] == 0:
                self._tasks[label] = {**event, "began": now - float(event["seconds"]), "heard": now}
            elif now - known["heard"] >= SHOWN_EVERY:
                known |= {**event, "heard": now}

    def render(self) -> RenderableType:
        """What is drawn now."""
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        with self._lock:
            running = [task for task in self._tasks.values() if now - task["began"] >= PATIENCE]
        if not running:
            return Group()
        spent = self.spent()
        parts: list[RenderableType] = [_bar(task, now) for task in running]
        if spent.get("calls"):
            tokens = spent["tokens_in"] + spent["tokens_out"]
            parts.append(Text(f"{spent['calls']:,.0f} calls, {tokens:,.0f} tokens, ${spent['cost']:.4f}", style="dim"))
        return Group(*parts)


def _bar(task: dict[str, Any], now: float) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1))
    done, total, seconds = float(task["done"]), task["total"], now - task["began"]
    unit = f" {task['unit']}" if task.get("unit") else ""
    left = "" if not total or not done else f"ETA {clock_text(max(task['seconds'] / done * total - seconds, 0.0))}"
    bar = ProgressBar(total=float(total) if total else None, completed=done, width=24, pulse=not total)
    count = f"{done:g}{f'/{total:g}' if total else ''}{unit}"
    row.add_row(Text(str(task["label"])), bar, Text(count), Text(clock_text(seconds)), Text(left, style="cyan"))
    return row


def clock_text(seconds: float) -> str:
    """Minutes and seconds, hours where there are some."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"
