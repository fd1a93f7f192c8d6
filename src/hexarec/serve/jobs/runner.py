"""Takes jobs from the store and works on them, with progress, cancel, and another try after a worker died."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import Cancel, run
from hexarec.core.errors import CancelledError, HexarecError
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant
    from hexarec.serve.service import Service

log = logging.getLogger("hexarec.serve")
STALE = 60.0
"""Seconds without a sign of life after which another worker takes a job over."""
BEAT = 1.0
TRIES = 3
"""Workers that may die over a job before it counts as failed."""


@dataclass(eq=False)
class _Work:
    """One job being worked on: its progress goes to the store once a second, a cancel comes back the same way."""

    tenant: Tenant
    job: JobRow
    worker: str
    cancel: Cancel = field(default_factory=Cancel)
    phase: str = ""
    done: int = 0
    total: int | None = None

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._beater = threading.Thread(target=self._beat, name=f"beat {self.job.id}", daemon=True)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take up a progress event."""
        if event.get("kind") == "progress":
            total = event.get("total")
            self.phase, self.done = str(event["label"]), int(event["done"])
            self.total = None if total is None else int(total)
        elif event.get("kind") == "note":
            self.tenant.shelf.job_log(self.job.id, str(event["text"]))

    def work(self, scratch: Path) -> None:
        """Do the job and write how it ended."""
        shelf, job = self.tenant.shelf, self.job
        self._beater.start()
        state, result, error = "done", None, None
        try:
            if job.attempts > TRIES:
                raise HexarecError(f"{TRIES} workers died over this job", hint="look at its log")
            kind = KINDS[job.kind]
            with run(tenant=self.tenant.name, cancel=self.cancel, emit=self.hear, scratch=scratch) as inner:
                result = dict(kind.work(self.tenant, job.args, scratch))
                result["usage"] = inner.ledger.snapshot()
        except CancelledError:
            state = "cancelled"
        except HexarecError as fault:
            state, error = "failed", str(fault)
        except Exception as fault:
            log.exception("job %s failed", job.id)
            state, error = "failed", f"{type(fault).__name__}: a fault of the server; its log tells more"
        finally:
            self._over.set()
            self._beater.join()
        try:
            shelf.end_job(job.id, self.worker, state=state, result=result, error=error)
        except HexarecError as lost:
            log.warning("job %s was taken over: %s", job.id, lost.message)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            try:
                row = self.tenant.shelf.beat(
                    self.job.id, self.worker, phase=self.phase, done=self.done, total=self.total
                )
            except HexarecError as error:
                log.warning("job %s: no sign of life could be given: %s", self.job.id, error.message)
                self.cancel.set()
                return
            if row.cancel:
                self.cancel.set()


class Runner:
    """Works on the jobs of all tenants, one at a time, in a thread of its own or in a process of its own."""

    def __init__(self, service: Service, *, stale: float = STALE, poll: float = 0.3) -> None:
        self._service, self._stale, self._poll = service, stale, poll
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident() % 10_000}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.work, name="jobs", daemon=True)
        self._now: _Work | None = None

    def start(self) -> None:
        """Begin to work in a thread."""
        self._thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Stop taking jobs; one that is being worked on is cancelled and goes back to the queue for a later resume."""
        self._stop.set()
        working = self._now
        if working is not None:
            working.cancel.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def work(self) -> None:
        """Take jobs until stopped."""
        while not self._stop.is_set():
            if not self.one():
                self._stop.wait(self._poll)

    def one(self) -> bool:
        """Work on one waiting job, if there is one."""
        for name in self._service.store.tenants():
            tenant = self._service.tenant(name)
            try:
                job = tenant.shelf.claim_job(self.worker, tuple(KINDS), self._stale)
            except HexarecError as error:
                log.warning("no job could be taken: %s", error.message)
                return False
            if job is not None:
                self._now = _Work(tenant, job, self.worker)
                scratch = self._service.folder / "jobs" / name / job.id
                scratch.mkdir(parents=True, exist_ok=True)
                self._now.work(scratch)
                self._now = None
                return True
        return False


def eta(job: JobRow, now: float | None = None) -> float | None:
    """Seconds left at the pace so far; None while nothing is known."""
    if job.state != "running" or not job.done or not job.total or job.started is None:
        return None
    passed = (time.time() if now is None else now) - job.started
    return max(passed * (job.total - job.done) / job.done, 0.0)
