"""The ambient run: deadline, budget, tenant, cancel, progress and the ledger, without a parameter in any verb."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from hexarec.core.errors import BudgetError, CancelledError, DeadlineError

T = TypeVar("T")


@dataclass
class Ledger:
    """What a run spent on language models. Tokens are counts, cost is in US dollars, seconds are wall time of calls."""

    calls: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    forwards: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    _outer: Ledger | None = field(default=None, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **amounts: float) -> None:
        """Add the given amounts, here and in the ledgers of the enclosing runs; safe from several threads."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)
        if self._outer is not None:
            self._outer.add(**amounts)

    def snapshot(self) -> dict[str, float]:
        """The counters as a plain dictionary."""
        with self._lock:
            return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}


@dataclass(frozen=True)
class Budget:
    """Hard limits of one run; None means no limit. `cost` is in US dollars."""

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None


class Cancel:
    """A flag that another thread may set; work checks it between steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the run to stop at its next check."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


Emit = Callable[[dict[str, Any]], None]


def _silent(event: dict[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Run:
    """One piece of work and its limits. `deadline` is in `time.monotonic()` seconds."""

    deadline: float | None = None
    budget: Budget = Budget()
    tenant: str = ""
    cancel: Cancel = field(default_factory=Cancel)
    emit: Emit = _silent
    scratch: Path | None = None
    ledger: Ledger = field(default_factory=Ledger)
    outer: Run | None = None

    def remaining(self) -> float:
        """Seconds until the deadline; infinity without one, negative when it has passed."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()

    def check(self, seconds: float = 0.0) -> None:
        """Raise if the run is cancelled or cannot spend `seconds` more before its deadline."""
        if self.cancel:
            raise CancelledError("the run was cancelled")
        if self.remaining() <= seconds:
            raise DeadlineError(
                f"the deadline leaves {max(self.remaining(), 0.0):.2f} s, the next step needs {seconds:.2f} s",
                hint="allow more time, or use a cheaper stage",
            )

    def check_budget(self, calls: int = 1, tokens: int = 0, cost: float = 0.0) -> None:
        """Raise if these further calls, tokens or dollars would overrun the budget."""
        spent, limit = self.ledger, self.budget
        wanted = (
            ("calls", limit.calls, spent.calls + calls),
            ("tokens", limit.tokens, spent.tokens_in + spent.tokens_out + tokens),
            ("dollars", limit.cost, spent.cost + cost),
        )
        for name, most, total in wanted:
            if most is not None and total > most:
                raise BudgetError(f"the budget of {most:g} {name} is used up", hint=f"raise the budget of {name}")
        if self.outer is not None:
            self.outer.check_budget(calls, tokens, cost)


_CURRENT: contextvars.ContextVar[Run] = contextvars.ContextVar("hexarec_run")
_DEFAULT = Run()


def current() -> Run:
    """The run this code works for; a run without limits when none was opened."""
    return _CURRENT.get(_DEFAULT)


@contextlib.contextmanager
def run(
    *,
    seconds: float | None = None,
    budget: Budget | None = None,
    tenant: str | None = None,
    cancel: Cancel | None = None,
    emit: Emit | None = None,
    scratch: Path | None = None,
) -> Iterator[Run]:
    """Open a run for the enclosed code. What is not given is inherited; a nested deadline can only be sooner.

    A nested run keeps a ledger of its own that also counts into the outer ones; every enclosing budget holds.
    """
    outer = current()
    deadline = outer.deadline
    if seconds is not None:
        own = time.monotonic() + seconds
        deadline = own if deadline is None else min(own, deadline)
    opened = Run(
        deadline=deadline,
        budget=budget or Budget(),
        tenant=outer.tenant if tenant is None else tenant,
        cancel=outer.cancel if cancel is None else cancel,
        emit=outer.emit if emit is None else emit,
        scratch=outer.scratch if scratch is None else scratch,
        ledger=Ledger(_outer=None if outer is _DEFAULT else outer.ledger),
        outer=None if outer is _DEFAULT else outer,
    )
    token = _CURRENT.set(opened)
    try:
        yield opened
    finally:
        _CURRENT.reset(token)


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items`, emitting progress events and stopping between steps on cancel or deadline."""
    work = current()
    if total is None and isinstance(items, Sequence):
        total = len(items)
    started = time.monotonic()
    done = 0
    work.emit({"kind": "progress", "label": label, "done": 0, "total": total, "seconds": 0.0})
    for item in items:
        work.check()
        yield item
        done += 1
        passed = time.monotonic() - started
        work.emit({"kind": "progress", "label": label, "done": done, "total": total, "seconds": passed})


def pool(function: Callable[..., T], items: Sequence[Any], workers: int = 8) -> list[T]:
    """Apply `function` to each item in threads that see the current run; results keep the order of `items`.

    The first error is raised after the running calls have ended; waiting ones are dropped.
    """
    if workers <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(workers, len(items))) as executor:
        futures: list[Future[T]] = [executor.submit(contextvars.copy_context().run, function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
