"""One pipeline in service: asks that wait are merged into a batch, and none waits longer than its deadline."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from hexarec.core import Answer, Lists, Queries, run
from hexarec.core.errors import HexarecError
from hexarec.pipeline.wishes import unread
from hexarec.serve.errors import OverloadError
from hexarec.serve.live.asks import Ask, past_of, queries_of
from hexarec.serve.live.generation import Generation
from hexarec.serve.live.given import Given, given_of
from hexarec.serve.live.memory import asking, owners_of
from hexarec.serve.purse import Purse
from hexarec.serve.store.rows import EventRow

MARGIN = 0.03
"""Seconds before the deadline at which the stages are stopped, so that the answer still arrives in time."""
Histories = Callable[[Sequence[str], Sequence[str]], dict[str, list[EventRow]]]


@dataclass(eq=False)
class _Waiting:
    ask: Ask
    future: Future[Given] = field(default_factory=Future)


@dataclass(eq=False)
class Recommender:
    """Serves the current generation of one pipeline; `swap` publishes another by one assignment.

    histories: reads stored events by users and sessions. merge: asks of one batch at most. most: asks that may wait
    before more are refused with OverloadError. threads: batches at a time. now: wall clock in unix seconds.
    """

    current: Generation
    histories: Histories
    tenant: str = "default"
    merge: int = 64
    most: int = 512
    threads: int = 1
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.previous: Generation | None = None
        self._queue: deque[_Waiting] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"recommend {self.current.name} {i}", daemon=True)
            for i in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()

    # --------------------------------------------------------------- callers
    def submit(self, ask: Ask) -> Future[Given]:
        """The answer, soon. Raises OptionError for a filter that does not fit, OverloadError when too many wait."""
        if ask.where is not None:
            self.current.catalog.mask(ask.where)
        waiting = _Waiting(ask)
        with self._ready:
            if self._closed:
                raise OverloadError("the server is stopping", hint="ask another server, or again in a few seconds")
            if len(self._queue) >= self.most:
                raise OverloadError(f"{self.most} asks are waiting already", hint="ask again in a second")
            self._queue.append(waiting)
            self._ready.notify()
        return waiting.future

    def standby(self, ask: Ask, stage: str, why: str) -> Given:
        """The list that needs no stage, for an ask that cannot be answered as it should."""
        generation = self.current
        try:
            past = past_of(ask, self._stored([ask]))
        except HexarecError as error:
            past, why = list(ask.history), f"{why}; the history could not be read: {error.message}"
        queries = queries_of(generation.catalog, [ask], [past], self.now(), generation.like)
        return self._standby(generation, queries, 0, ask, stage, why)

    @property
    def waiting(self) -> int:
        """Asks that wait."""
        return len(self._queue)

    def swap(self, generation: Generation) -> None:
        """Serve another generation from the next batch on; the one before stays at hand for `back`."""
        if generation.version != self.current.version:
            self.previous = self.current
        elif generation.path != self.current.path:
            self.previous = None  # written anew without somebody, whom the one before still knows
        self.current = generation

    def close(self, seconds: float = 10.0) -> None:
        """Answer what waits, take nothing more, and stop. What is not answered in time gets OverloadError."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        end = time.monotonic() + seconds
        for worker in self._workers:
            worker.join(max(end - time.monotonic(), 0.0))
        with self._ready:  # a worker that is late may still take from the queue
            left = [self._queue.popleft() for _ in range(len(self._queue))]
        for one in left:
            if one.future.set_running_or_notify_cancel():  # who gave up waiting has no place for an answer
                one.future.set_exception(OverloadError("the server stopped before this was answered"))

    # ---------------------------------------------------------------- worker
    def _work(self) -> None:
        while batch := self._take():
            made: Sequence[Given | BaseException]
            try:
                made = self._answered([one.ask for one in batch])
            except Exception as error:  # nobody may wait for ever because of a fault of ours
                made = [self._rescued(one.ask, error) for one in batch]
            for one, given in zip(batch, made, strict=True):
                if isinstance(given, BaseException):
                    one.future.set_exception(given)
                else:
                    one.future.set_result(given)

    def _take(self) -> list[_Waiting]:
        """The oldest ask with those that can share its batch; empty when closed and nothing waits."""
        with self._ready:
            while True:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if not self._queue:
                    return []
                first = self._queue.popleft()
                if first.future.set_running_or_notify_cancel():
                    break
            batch, left = [first], deque[_Waiting]()
            patience = _patience(first.ask)
            while self._queue and len(batch) < self.merge:
                one = self._queue.popleft()
                if one.ask.shared != first.ask.shared or _patience(one.ask) != patience:
                    left.append(one)
                elif one.future.set_running_or_notify_cancel():
                    batch.append(one)
            self._queue.extendleft(reversed(left))
            return batch

    def _stored(self, asks: Sequence[Ask]) -> dict[str, list[EventRow]]:
        users = list(dict.fromkeys(ask.user for ask in asks if ask.user is not None))
        sessions = list(dict.fromkeys(ask.session for ask in asks if ask.session is not None))
        return self.histories(users, sessions) if users or sessions else {}

    def _answered(self, asks: list[Ask]) -> list[Given]:
        """One `Given` per ask from the pipeline, or from standby where it cannot answer."""
        generation = self.current
        stored, lost = {}, ""
        try:
            stored = self._stored(asks)
        except HexarecError as error:
            lost = error.message
        pasts = [past_of(ask, stored) for ask in asks]
        queries = queries_of(generation.catalog, asks, pasts, self.now(), generation.like)
        try:
            purse = asks[0].purse or Purse(None, None)
            made = purse.paying(self._by_pipeline, generation, queries, asks)
        except HexarecError as error:
            return [self._standby(generation, queries, i, ask, "pipeline", error.message) for i, ask in enumerate(asks)]
        made = [
            given if given.items else self._unless_empty(generation, queries, i, ask, given)
            for i, (ask, given) in enumerate(zip(asks, made, strict=True))
        ]
        made = [_heard(generation, ask, given) for ask, given in zip(asks, made, strict=True)]
        return [_without_history(given, lost) for given in made] if lost else made

    def _by_pipeline(self, generation: Generation, queries: Queries, asks: list[Ask]) -> list[Given]:
        first = asks[0]
        left = min(ask.deadline for ask in asks) - time.monotonic() - MARGIN
        seconds = None if left == float("inf") else max(left, 0.0)
        since = min(ask.at for ask in asks)
        with run(seconds=seconds, tenant=self.tenant) as work, asking(owners_of(asks), since) as kept:
            work.check()
            answer = self._asked(generation, queries, asks)
            spent = {**work.ledger.snapshot(), "cached": kept.hits}
        about = {"pipeline": generation.name, "version": generation.version, "policy": generation.policy}
        retrievers = [] if first.candidates is not None else generation.retrievers
        return given_of(answer, queries, spent, about, retrievers)

    def _asked(self, generation: Generation, queries: Queries, asks: list[Ask]) -> Answer:
        first = asks[0]
        if first.candidates is None:
            return generation.pipeline.recommend(queries, first.k, explain=first.explain, trace=first.trace)
        rows = [generation.catalog.rows(ask.candidates or ()) for ask in asks]
        lists = Lists.of(generation.catalog.key, [list(dict.fromkeys(row[row >= 0].tolist())) for row in rows])
        return generation.pipeline.rerank(queries, lists.permitted(queries), first.k)

    def _unless_empty(self, generation: Generation, queries: Queries, i: int, ask: Ask, given: Given) -> Given:
        """The pipeline's empty list, or what standby finds where there is something to find."""
        other = self._standby(generation, queries, i, ask, "pipeline", "the pipeline found nothing")
        if not other.items:
            return given
        return replace(given, items=other.items, scores=other.scores, sources=other.sources, reasons=other.reasons,
                       propensities=other.propensities, degraded=(*given.degraded, *other.degraded))  # fmt: skip

    def _standby(self, generation: Generation, queries: Queries, i: int, ask: Ask, stage: str, why: str) -> Given:
        among = None
        if ask.candidates is not None:
            rows = generation.catalog.rows(ask.candidates)
            among = rows[rows >= 0]
        made = generation.standby.given(queries, i, ask.k, stage, why, among)
        return replace(made, pipeline=generation.name, version=generation.version)

    def _rescued(self, ask: Ask, error: Exception) -> Given | BaseException:
        """Standby after a fault nobody expected; the fault itself when even that fails."""
        try:
            return self.standby(ask, "pipeline", f"{type(error).__name__}")
        except Exception as second:
            return second


def _patience(ask: Ask) -> int:
    """Asks whose time left is of the same power of two share a batch, so that a hurried one spoils no other."""
    left = ask.deadline - time.monotonic()
    return 99 if left == float("inf") else int(np.log2(max(left, 0.001)))


def _heard(generation: Generation, ask: Ask, given: Given) -> Given:
    """The answer, which says so when nobody read the wish in words."""
    read = generation.reads_text if ask.candidates is None else generation.orders_by_text
    if not ask.text or read:
        return given
    said = unread(generation.name)
    return replace(given, degraded=(*given.degraded, {"stage": said.stage, "method": said.method, "why": said.reason}))


def _without_history(given: Given, why: str) -> Given:
    lost = {"stage": "history", "method": "store", "why": why}
    return replace(given, degraded=(lost, *given.degraded))
