"""The gate between a wrapper and an engine that sends many requests at once: each is let in, and its outcome heard.

`Guarded` puts up the gate; an engine whose class says `gated = True` passes every single request through `admitted`.
`stoppable` is the other half: it waits for any engine only as long as the run lasts.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, TypeVar

from hexarec.core.errors import CancelledError, DeadlineError, ModelError, RetryableModelError
from hexarec.core.run import Run, current
from hexarec.lm.base import Prompt

T = TypeVar("T")
STEP = 0.05
"""Seconds between two looks at the run."""
SLOW = 1.0
"""Seconds after which a request that the deadline ended counts as a failure of the server."""


class Gate(Protocol):
    """What decides over single requests."""

    def enter(self, prompt: Prompt) -> None:
        """Return when the request may be sent; raise when it may not."""

    def leave(self, well: bool | None) -> None:
        """Hear what came of a request that was let in: well, failed, or None for one that says nothing."""


_GATE: contextvars.ContextVar[Gate | None] = contextvars.ContextVar("hexarec_gate", default=None)


@contextlib.contextmanager
def gate(of: Gate) -> Iterator[None]:
    """Put up a gate for the enclosed code and the threads it starts by `core.pool`."""
    token = _GATE.set(of)
    try:
        yield
    finally:
        _GATE.reset(token)


@contextlib.contextmanager
def admitted(prompt: Prompt) -> Iterator[None]:
    """One request: waits until the gate lets it in, and tells the gate what came of it. Raises what the gate raises."""
    own = _GATE.get()
    if own is None:
        yield
        return
    own.enter(prompt)
    started = time.monotonic()
    try:
        yield
    except BaseException as error:
        own.leave(_outcome(error, time.monotonic() - started))
        raise
    own.leave(True)


def _outcome(error: BaseException, seconds: float) -> bool | None:
    """What an error says of the server: a refusal is an answer, a deadline missed by far is a failure."""
    if isinstance(error, RetryableModelError):
        return False
    if isinstance(error, DeadlineError):
        return False if seconds >= SLOW else None
    return True if isinstance(error, ModelError) else None


def apart(pieces: Generator[T, None, None]) -> Iterator[T]:
    """The same pieces, made in one context of their own, whoever asks for the next one and wherever.

    A generator that opens a run would else open it for the code between two pieces, and could not close it from
    another thread.
    """
    context = contextvars.copy_context()
    nothing = object()
    try:
        while (piece := context.run(next, pieces, nothing)) is not nothing:
            yield piece  # type: ignore[misc]
    finally:
        context.run(pieces.close)


def stoppable(call: Callable[[], T], name: str) -> T:
    """What `call` returns or raises; but no later than the run's deadline or cancel, whatever `call` is doing.

    A call that is left alone ends by itself in its thread. Raises DeadlineError or CancelledError then.
    """
    work = current()
    if not work.bound:
        return call()
    done, made = threading.Event(), _Made()
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(made.keep, call, done), daemon=True, name=f"ask {name}")
    try:
        thread.start()
    except RuntimeError:
        # no thread to be had: ask here, engines look at the run too
        return call()
    while not done.wait(min(STEP, max(work.remaining(), 0.0) + 0.01)):
        if work.cancel or work.remaining() <= -STEP:
            _stop(work, name)
    value: T = made.value()
    return value


def _stop(work: Run, name: str) -> None:
    if work.cancel:
        raise CancelledError("the run was cancelled")
    raise DeadlineError(
        f"{name} had not answered when the deadline came", hint="allow more time, or use a faster model"
    )


class _Made:
    """A value or an error, handed from one thread to another."""

    def __init__(self) -> None:
        self._value: Any = None
        self._error: BaseException | None = None

    def keep(self, call: Callable[[], Any], done: threading.Event) -> None:
        try:
            self._value = call()
        except BaseException as error:
            self._error = error
        finally:
            done.set()

    def value(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value
