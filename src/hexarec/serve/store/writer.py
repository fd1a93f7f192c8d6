"""One thread that writes: whatever waits is written in one transaction, a savepoint each, and told after the commit."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from hexarec.core.errors import StateError
from hexarec.serve.store import errors
from hexarec.serve.store.crash import point

T = TypeVar("T")
R = TypeVar("R")
Act = Callable[[Any], T]
"""What is done with the connection of a transaction, or, alone, with the driver's own connection."""
MOST = 256
"""Writes that share one commit at most."""
WINDOW = 0.002
"""Seconds that a commit waits at most for the callers of the one before it; one caller alone never waits."""


@dataclass
class _Task:
    act: Callable[..., Any]
    rows: Any = None
    alone: bool = False
    future: Future[Any] = field(default_factory=Future)

    def end(self, outcome: Any) -> None:
        """Tell the one who waits: a value, or an exception that is raised there."""
        if isinstance(outcome, _Failed):
            self.future.set_exception(outcome.error)
        else:
            self.future.set_result(outcome)


@dataclass(frozen=True)
class _Failed:
    error: Exception


class Writer:
    """The queue of writes. An act gets the connection inside a transaction, may run twice, and touches nothing else."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: deque[_Task] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._callers = 1  # who wrote or waited at the last commit: so many are likely to come again
        self.stopped: str | None = None
        self._thread = threading.Thread(target=self._run, name="hexarec-store", daemon=True)
        self._thread.start()

    def soon(self, act: Act[T], *, alone: bool = False) -> Future[T]:
        """Queue an act; the future is resolved when its rows are on disk. Raises StateError once closed or stopped."""
        return self._queued(_Task(act, alone=alone))

    def soon_together(self, act: Callable[[Any, list[R]], list[T]], rows: R) -> Future[T]:
        """As `soon`, for an act that takes the rows of several callers at once and answers each in turn."""
        return self._queued(_Task(act, rows))

    def _queued(self, task: _Task) -> Future[Any]:
        with self._wake:
            if self._closed:
                raise StateError("the store is closed", hint="open it again with open_store")
            if self.stopped is not None:
                raise errors.stopped(self.stopped)
            self._queue.append(task)
            self._wake.notify()
        return task.future

    def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while tasks := self._waiting():
            outcomes = [self._by_itself(tasks[0])] if tasks[0].alone else self._written(tasks)
            for task, outcome in zip(tasks, outcomes, strict=True):
                task.end(outcome)
            point("commit.told")

    def _waiting(self) -> list[_Task]:
        """What shares the next transaction: all that waits, up to MOST; empty when closed and done."""
        with self._wake:
            while True:
                while not self._queue and not self._closed:
                    self._wake.wait()
                if not self._queue:
                    return []
                self._wake.wait_for(lambda: self._closed or len(self._queue) >= self._callers, WINDOW)
                if tasks := self._taken():
                    self._callers = len(tasks) + len(self._queue)
                    return tasks

    def _taken(self) -> list[_Task]:
        tasks: list[_Task] = []
        while self._queue and len(tasks) < MOST and not (tasks and self._queue[0].alone):
            task = self._queue.popleft()
            if task.future.set_running_or_notify_cancel():
                tasks.append(task)
                if task.alone:
                    break
        return tasks

    def _written(self, tasks: list[_Task]) -> list[Any]:
        """What became of each: together, or, when the whole transaction was undone, each in one of its own."""
        if self.stopped is not None:
            return [_Failed(errors.stopped(self.stopped))] * len(tasks)
        try:
            return self._transaction(tasks)
        except _Undone as undone:
            if len(tasks) == 1 or undone.unsure or self.stopped is not None:
                return [_Failed(undone.error)] * len(tasks)
            return [outcome for task in tasks for outcome in self._written([task])]

    def _transaction(self, tasks: list[_Task]) -> list[Any]:
        committing = False
        try:
            with self._engine.connect() as connection, connection.begin():
                point("commit.begin")
                outcomes = [outcome for some in _alike(tasks) for outcome in self._savepoint(connection, some)]
                point("commit.before")
                committing = True
            point("commit.after")
            return outcomes
        except Exception as error:
            raise self._undone(error, committing) from error

    def _savepoint(self, connection: Connection, tasks: list[_Task]) -> list[Any]:
        """What became of tasks that are alike: together, or, when that failed, of each under a savepoint of its own."""
        savepoint = connection.begin_nested()
        try:
            outcomes = _acted(connection, tasks)
        except Exception as error:
            if not errors.harmless(error):
                raise
            savepoint.rollback()
            if len(tasks) == 1:
                return [_Failed(errors.typed(error))]
            return [outcome for task in tasks for outcome in self._savepoint(connection, [task])]
        savepoint.commit()
        point("commit.act")
        return outcomes

    def _by_itself(self, task: _Task) -> Any:
        if self.stopped is not None:
            return _Failed(errors.stopped(self.stopped))
        try:
            raw = self._engine.raw_connection()
            try:
                return task.act(raw.driver_connection)
            finally:
                raw.close()
        except Exception as error:
            return _Failed(self._undone(error, committing=False).error)

    def _undone(self, error: Exception, committing: bool) -> _Undone:
        if errors.fatal(error, committing=committing):
            self.stopped = str(errors.typed(error)).splitlines()[0]
            return _Undone(errors.stopped(self.stopped))
        return _Undone(errors.typed(error), unsure=committing and not errors.sqlite_code(error))


def _alike(tasks: list[_Task]) -> Iterator[list[_Task]]:
    """Neighbours that one act can take together; others one by one."""
    for _, some in itertools.groupby(tasks, lambda task: id(task) if task.rows is None else task.act):
        yield list(some)


def _acted(connection: Connection, tasks: list[_Task]) -> list[Any]:
    act = tasks[0].act
    return [act(connection)] if tasks[0].rows is None else act(connection, [task.rows for task in tasks])


class _Undone(Exception):
    """A transaction that was not committed, or, when `unsure`, of which a server did not say what became of it."""

    def __init__(self, error: Exception, *, unsure: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.unsure = error, unsure
