"""One thread that owns the model: it merges the requests that wait into one forward and answers each caller."""

from __future__ import annotations

import math
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from hexarec.core.errors import DeadlineError
from hexarec.core.run import Run, current
from hexarec.lm.hf.forward import Body, Request, States

_LOOK = 0.05  # seconds between two looks at a waiting caller's run
_HOPE = 1.25  # by which a refusal raises the guessed rate: a slow moment must not refuse what came after it


@dataclass(eq=False)
class _Task:
    request: Request
    read: Callable[[States], Any]
    using: Callable[[], AbstractContextManager[Any]]
    adapter: str
    layers: bool
    done: Future[Any] = field(default_factory=Future)


class Worker:
    """Forwards of one model, in one thread. `rows` is the most tokens of a merged forward."""

    def __init__(self, body: Body, rows: int) -> None:
        self.body, self.rows = body, rows
        self.rate = math.inf
        """Tokens per second of recent forwards; infinite before any."""
        self.forwards, self.merged = 0, 0
        self.lock = threading.Lock()
        """Held during a forward, and by whoever changes the model's modules."""
        self._tasks: queue.Queue[_Task | None] = queue.Queue()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(
        self,
        request: Request,
        read: Callable[[States], Any],
        using: Callable[[], AbstractContextManager[Any]],
        adapter: str = "",
        *,
        layers: bool = False,
    ) -> Any:
        """Run a request, perhaps together with others of the same adapter, and return what `read` makes of its states.

        Raises DeadlineError when the current run cannot wait for it, CancelledError when it is cancelled, and whatever
        the forward raises.
        """
        run = current()
        self._in_time(run, request.tokens)
        task = _Task(request, read, using, adapter, layers)
        self._tasks.put(task)
        self._alive()
        while True:
            try:
                return task.done.result(_LOOK)
            except Late:
                if task.done.done():  # it came between the look and here, or the forward itself was late
                    return task.done.result()
                if run.cancel or run.remaining() <= 0:
                    task.done.cancel()
                    run.check()

    def _in_time(self, run: Run, tokens: int) -> None:
        """Raise DeadlineError where the forward would end too late, by a rate that no refusal may freeze."""
        try:
            run.check(tokens / self.rate)
        except DeadlineError:
            self.rate *= _HOPE
            raise

    def _alive(self) -> None:
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                # the thread must not keep an engine alive that nobody holds any more
                self._thread = threading.Thread(target=_serve, args=(weakref.ref(self), self._tasks), daemon=True)
                self._thread.start()
                weakref.finalize(self, _stop, self._thread, self._tasks)

    def together(self, first: _Task) -> tuple[list[_Task], list[_Task]]:
        """The waiting tasks that fit into one forward with the first, and those that do not."""
        taken, rows = [first], first.request.tokens
        left: list[_Task] = []
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return taken, left
            if task is None:
                self._tasks.put(None)
                return taken, left
            alike = task.adapter == first.adapter and task.layers == first.layers
            if alike and rows + task.request.tokens <= self.rows:
                taken.append(task)
                rows += task.request.tokens
            else:
                left.append(task)

    def forward(self, tasks: list[_Task]) -> None:
        """Run the tasks that still have a caller, in one forward."""
        tasks = [task for task in tasks if task.done.set_running_or_notify_cancel()]
        if not tasks:
            return
        started = time.monotonic()
        try:
            with self.lock, tasks[0].using():
                states = self.body.run([task.request for task in tasks], layers=tasks[0].layers)
        except BaseException as error:  # the callers must hear of it, whatever it is
            for task in tasks:
                task.done.set_exception(error)
            return
        self.forwards, self.merged = self.forwards + 1, self.merged + len(tasks)
        for task, own in zip(tasks, states, strict=True):
            try:
                task.done.set_result(task.read(own))
            except BaseException as error:
                task.done.set_exception(error)
        rows = sum(task.request.tokens for task in tasks)
        if rows >= 64:
            now = rows / max(time.monotonic() - started, 1e-3)
            self.rate = now if math.isinf(self.rate) else 0.5 * self.rate + 0.5 * now


def _serve(worker: weakref.ref[Worker], tasks: queue.Queue[_Task | None]) -> None:
    left: list[_Task] = []
    while True:
        task = left.pop(0) if left else tasks.get()
        owner = worker()
        if task is None or owner is None:
            return
        taken, more = owner.together(task)
        left += more
        owner.forward(taken)
        del owner, task, taken


def _stop(thread: threading.Thread, tasks: queue.Queue[_Task | None]) -> None:
    """End the thread before the interpreter takes torch apart under it."""
    tasks.put(None)
    if thread is not threading.current_thread():
        thread.join(5.0)
