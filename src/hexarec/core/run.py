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

from hexarec.core.aside import Aside
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
    # one lock for all nested runs, so that a budget is compared with amounts of one moment
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

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


@dataclass(frozen=True, eq=False)
class Hold:
    """An amount of a budget set aside for a nested run; what that run spends is no longer set aside."""

    ledger: Ledger
    calls: int
    tokens: int
    cost: float

    def left(self) -> tuple[int, int, float]:
        """Calls, tokens and dollars that are still set aside."""
        spent = self.ledger
        tokens = self.tokens - spent.tokens_in - spent.tokens_out
        return max(self.calls - spent.calls, 0), max(tokens, 0), max(self.cost - spent.cost, 0.0)


Emit = Callable[[dict[str, Any]], None]


def _silent(event: Any) -> None:
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
    complain: Callable[[str], None] = _silent
    holds: list[Hold] = field(default_factory=list)

    @property
    def bound(self) -> bool:
        """Whether anything can end this run early: a deadline, or a cancel that somebody gave."""
        return self.deadline is not None or self.cancel is not _DEFAULT.cancel

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
        """Raise if these further calls, tokens or dollars would overrun the budget of this run or one around it."""
        with self.ledger._lock:
            own = {id(one.ledger) for one in self.around()}
            for one in self.around():
                one._check_own(calls, tokens, cost, [hold.left() for hold in one.holds if id(hold.ledger) not in own])

    def _check_own(self, calls: int, tokens: int, cost: float, held: list[tuple[int, int, float]]) -> None:
        spent, limit = self.ledger, self.budget
        wanted = (
            ("calls", limit.calls, spent.calls + calls + sum(one[0] for one in held)),
            ("tokens", limit.tokens, spent.tokens_in + spent.tokens_out + tokens + sum(one[1] for one in held)),
            ("dollars", limit.cost, spent.cost + cost + sum(one[2] for one in held)),
        )
        for name, most, total in wanted:
            if most is not None and total > most:
                raise BudgetError(f"the budget of {most:g} {name} is used up", hint=f"raise the budget of {name}")

    def around(self) -> Iterator[Run]:
        """This run and those that enclose it, inside out."""
        yield self
        if self.outer is not None:
            yield from self.outer.around()

    @property
    def limited(self) -> bool:
        """Whether this run or one around it has a budget of tokens or money."""
        return any(one.budget.tokens is not None or one.budget.cost is not None for one in self.around())


_CURRENT: contextvars.ContextVar[Run] = contextvars.ContextVar("hexarec_run")
_DEFAULT = Run(emit=Aside())


def current() -> Run:
    """The run this code works for; a run without limits, which tells long work on stderr, when none was opened."""
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
    complain: Callable[[str], None] | None = None,
) -> Iterator[Run]:
    """Open a run for the enclosed code. What is not given is inherited; a nested deadline can only be sooner.

    A nested run keeps a ledger of its own that also counts into the outer ones; every enclosing budget holds.
    `complain` hears the reasons that code inside gives to `degrade`.
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
        ledger=Ledger() if outer is _DEFAULT else Ledger(_outer=outer.ledger, _lock=outer.ledger._lock),
        outer=None if outer is _DEFAULT else outer,
        complain=outer.complain if complain is None else complain,
    )
    token = _CURRENT.set(opened)
    try:
        yield opened
    finally:
        _CURRENT.reset(token)


@contextlib.contextmanager
def held(calls: int = 1, tokens: int = 0, cost: float = 0.0) -> Iterator[Run]:
    """Open a nested run that has this much of every enclosing budget set aside for it, so that others leave it alone.

    Waits while others may give back what they have set aside. Raises BudgetError when that cannot help.
    """
    work = current()
    with run() as inner:
        hold = Hold(inner.ledger, calls, tokens, cost)
        while not _set_aside(work, hold):
            work.check()
            time.sleep(0.005)
        try:
            yield inner
        finally:
            with work.ledger._lock:
                for one in work.around():
                    one.holds[:] = [other for other in one.holds if other is not hold]


def _set_aside(work: Run, hold: Hold) -> bool:
    """Whether the amount could be set aside now. Raises BudgetError when no other hold stands in the way."""
    limited = [one for one in work.around() if one.budget != Budget()]
    with work.ledger._lock:
        try:
            work.check_budget(hold.calls, hold.tokens, hold.cost)
        except BudgetError:
            own = {id(one.ledger) for one in work.around()}
            if not any(any(other.left()) for one in limited for other in one.holds if id(other.ledger) not in own):
                raise
            return False
        for one in limited:
            one.holds.append(hold)
        return True


def degrade(reason: str) -> None:
    """Tell whoever runs this stage that its result is less than it should be, and why; the work goes on."""
    current().complain(reason)


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
