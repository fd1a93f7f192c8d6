"""Takes jobs from the store and lets them be worked on, one at a time; another try after a worker died."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hexarec.core.errors import HexarecError
from hexarec.serve.jobs.files import folder_of, swept
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.refits import queue_refits
from hexarec.serve.jobs.work import BEAT, Work
from hexarec.serve.settings import ANSWER_SECONDS, TALK_SECONDS
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant
    from hexarec.serve.service import Service

log = logging.getLogger("hexarec.serve")
STALE = 60.0
"""Seconds without a sign of life after which another worker takes a job over."""
LOOKED = 10.0
"""Seconds between two looks for pipelines that are due for a refit."""
SWEEP = 3_600.0
"""Seconds between two looks for what has rested too long: jobs that nobody resumed, talks, answers."""


class Runner:
    """Works on the jobs of all tenants, one at a time, in a thread of its own or in a process of its own.

    stale: seconds of silence after which a job of another worker is taken over. poll: seconds between two looks for
    jobs. beat: seconds between two signs of life.
    """

    def __init__(self, service: Service, *, stale: float = STALE, poll: float = 0.3, beat: float = BEAT) -> None:
        self._service, self._stale, self._poll, self._every = service, stale, poll, beat
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.work, name="jobs", daemon=True)
        self._now: Work | None = None
        self._last = ""  # the tenant that was served last: the others come before it
        self._looked = self._swept = float("-inf")

    def start(self) -> None:
        """Begin to work in a thread."""
        self._thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Take no more jobs; one that is worked on stops at its next step and waits again, to be resumed."""
        self._stop.set()
        working = self._now
        if working is not None:
            working.stop()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def work(self) -> None:
        """Take jobs until stopped; a fault of ours ends no more than the round it happens in."""
        while not self._stop.is_set():
            try:
                self._look_for_refits()
                self._sweep()
                worked = self.one()
            except Exception:
                log.exception("a round of jobs failed")
                worked = False
            if not worked:
                self._stop.wait(self._poll)

    def one(self) -> bool:
        """Work on one waiting job, if there is one; tenants take turns, and one that fails keeps none from the next."""
        for name in self._names():
            try:
                tenant = self._service.tenant(name)
                job = tenant.shelf.claim_job(self.worker, tuple(KINDS), self._stale)
            except HexarecError as error:
                log.warning("no job of tenant %s could be taken: %s", name, error.message)
                continue
            if job is not None:
                self._last = name
                self._work_on(tenant, job)
                return True
        return False

    def _names(self) -> list[str]:
        """The tenants, beginning behind the one that was served last; none while the store cannot say."""
        try:
            names = self._service.store.tenants()
        except HexarecError as error:
            log.warning("no job could be taken: %s", error.message)
            return []
        return [*(one for one in names if one > self._last), *(one for one in names if one <= self._last)]

    def _work_on(self, tenant: Tenant, job: JobRow) -> None:
        working = self._now = Work(tenant, job, self.worker, self._every)
        if self._stop.is_set():
            working.stop()
        try:
            working.work(folder_of(tenant, job.id))
        finally:
            self._now = None

    def _look_for_refits(self) -> None:
        hours = self._service.settings.refit_hours
        if not hours or time.monotonic() - self._looked < LOOKED:
            return
        self._looked = time.monotonic()
        self._for_each("refits could not be queued", lambda tenant: queue_refits(tenant, hours, time.time()))

    def _sweep(self) -> None:
        if time.monotonic() - self._swept < SWEEP:
            return
        self._swept = time.monotonic()
        self._for_each("old jobs, talks and answers could not be deleted", _swept)

    def _for_each(self, failed: str, act: Callable[[Tenant], object]) -> None:
        """Do something for every tenant, also behind one for which it fails."""
        for name in self._names():
            try:
                act(self._service.tenant(name))
            except (HexarecError, OSError) as error:
                log.warning("tenant %s: %s: %s", name, failed, error)


def _swept(tenant: Tenant) -> None:
    now = time.time()
    swept(tenant, now)
    tenant.shelf.sweep_dialogues(now - TALK_SECONDS)
    tenant.shelf.sweep_answers(now - ANSWER_SECONDS)
