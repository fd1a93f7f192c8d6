"""One job being worked on: its progress goes to the store, a cancel comes back the same way, and how it ended stays."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import Budget, Cancel, run
from hexarec.core.errors import BudgetError, CancelledError, DataError, HexarecError, StateError
from hexarec.serve.jobs.files import pruned
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.progress import Progress, eta, stage_of
from hexarec.serve.limits import Limits
from hexarec.serve.purse import Purse
from hexarec.serve.store.rows import JobRow, KeyRow

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

log = logging.getLogger("hexarec.serve")
BEAT = 1.0
TRIES = 3
"""Workers that may die over a job before it counts as failed."""
LINES = 200
"""Phases that a job's log names at most."""
ENDINGS = 8
"""Tries to write how a job ended, while the store is busy or down."""
TOLD = 30.0
"""Seconds between two lines of the server's log on one job."""


@dataclass(eq=False)
class Work:
    """One job being worked on: its progress goes to the store with every beat, a cancel comes back the same way."""

    tenant: Tenant
    job: JobRow
    worker: str
    every: float = BEAT
    cancel: Cancel = field(default_factory=Cancel)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._begun = self._told_at = time.monotonic()
        self._lines = 0
        self._lost = self._stopped = False
        self._limits = Limits(self.tenant.shelf)
        self._key: KeyRow | None = None
        self._progress = Progress(self._phase_began)
        self._beater = threading.Thread(target=self._beat, name=f"beat {self.job.id}", daemon=True)

    def stop(self) -> None:
        """End the work soon and give the job back."""
        self._stopped = True
        self.cancel.set()

    def work(self, scratch: Path) -> None:
        """Do the job and write how it ended; what it needs no more is deleted."""
        self._say(f"{self.worker} begins, try {self.job.attempts}")
        self._tell("job begins", attempt=self.job.attempts)
        self._beater.start()
        state, result, error = self._outcome(scratch)
        self._over.set()
        self._beater.join()
        self._tell("job ended", state=state)
        for turn in range(ENDINGS):
            try:
                self._end(state, result, error, scratch)
                return
            except DataError as unfit:
                state, result, error = "failed", None, f"its result cannot be stored: {unfit.message}"
            except HexarecError as fault:
                if not fault.retryable or turn == ENDINGS - 1:
                    log.warning("job %s could not be ended: %s", self.job.id, fault.message)
                    return
                time.sleep(min(0.1 * 2**turn, 5.0))

    def _outcome(self, scratch: Path) -> tuple[str, dict[str, Any] | None, str | None]:
        """(state, result, error) of the work."""
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            with self._payer() as purse:
                return "done", purse.paying(self._result, scratch), None
        except CancelledError:
            return "cancelled", None, None
        except BudgetError as fault:
            return "paused" if self._is_of_key(fault) else "failed", None, str(fault)
        except HexarecError as fault:
            return "failed", None, str(fault)
        except OSError as fault:
            log.exception("job %s failed", self.job.id)
            return "failed", None, f"the disk or the network refused: {fault.strerror or type(fault).__name__}"
        except Exception as fault:
            log.exception("job %s failed", self.job.id)
            return "failed", None, f"{type(fault).__name__}: a fault of the server; its log tells more"

    @contextlib.contextmanager
    def _payer(self) -> Iterator[Purse]:
        """Who pays for models: the key that asked for the job; nobody without one. Raises StateError when it ended."""
        if self.job.key is None:
            yield Purse(None, None)
            return
        key = self._key = self.tenant.shelf.key(self.job.key)
        now = time.time()
        if key is None or any(end is not None and end <= now for end in (key.expires, key.revoked)):
            raise StateError("the key that asked for this job has ended", hint="start it again with another key")
        with self._limits.opened(key) as purse:
            try:
                yield purse
            finally:
                self._save_spent()

    def _is_of_key(self, fault: BudgetError) -> bool:
        """Whether it is the key's budget of the day that is used up, and not the job's own."""
        key = self._key
        limits = () if key is None else ((key.tokens, "tokens"), (key.dollars, "dollars"))
        return any(most is not None and f"budget of {most:g} {name}" in fault.message for most, name in limits)

    def _save_spent(self) -> None:
        try:
            self._limits.save()
        except HexarecError as error:
            log.warning("job %s: what it spent could not be saved: %s", self.job.id, error.message)

    def _result(self, scratch: Path) -> dict[str, Any]:
        if self.job.attempts > TRIES:
            raise StateError(f"{TRIES} workers died over this job", hint="look at its log and at theirs")
        kind, args = KINDS[self.job.kind], self.job.args
        kind.check(args)
        budget = Budget(tokens=args.get("tokens"), cost=args.get("dollars"))
        with run(
            tenant=self.tenant.name, cancel=self.cancel, emit=self._hear, scratch=scratch, budget=budget
        ) as inner:  # fmt: skip
            made = dict(kind.work(self.tenant, args, scratch))
            return {**made, "usage": inner.ledger.snapshot()}

    def _end(self, state: str, result: dict[str, Any] | None, error: str | None, scratch: Path) -> None:
        shelf, job = self.tenant.shelf, self.job
        if self._lost:
            raise StateError("another worker has it")
        if state == "cancelled" and self._stopped:
            self._say(f"{self.worker} stops and gives the job back")
            shelf.give_back_job(job.id, self.worker)
            return
        if state == "paused" and error is not None:
            self._say(f"paused: {error.splitlines()[0]}")
            shelf.pause_job(job.id, self.worker, error)
            return
        self._say(state if error is None else f"{state}: {error.splitlines()[0]}")
        shelf.end_job(job.id, self.worker, state=state, result=result, error=error)
        if state == "done":  # what failed or was cancelled may be resumed
            self._prune(scratch, None if result is None else result.get("file") or result.get("folder"))

    def _prune(self, scratch: Path, result: str | None) -> None:
        """Delete what the job needs no more; what cannot be deleted makes no job that is done a failed one."""
        try:
            pruned(scratch, result)
        except OSError as error:
            log.warning("job %s: its folder could not be emptied: %s", self.job.id, error.strerror)

    def _hear(self, event: dict[str, Any]) -> None:
        self._progress.hear(event)
        if event.get("kind") == "note":
            self._say(str(event["text"]))

    def _phase_began(self, label: str) -> None:
        self._lines += 1
        if self._lines <= LINES:
            self._say(label)

    def _say(self, line: str) -> None:
        """Add a line to the job's log; a store that cannot take it now ends no job."""
        try:
            self.tenant.shelf.job_log(self.job.id, line[:2_000])
        except HexarecError as error:
            log.warning("job %s: a line of its log is lost: %s", self.job.id, error.message)

    def _beat(self) -> None:
        while not self._over.wait(self.every):
            if self._key is not None:
                self._save_spent()
            now = self._progress.now
            told: dict[str, Any] = {} if now is None else {
                "phase": now.label[:500], "done": now.done, "total": now.total, "since": now.since,
            }  # fmt: skip
            try:
                row = self.tenant.shelf.beat(self.job.id, self.worker, **told)
            except HexarecError as error:
                log.warning("job %s: no sign of life could be given: %s", self.job.id, error.message)
                if error.retryable:  # the store is busy or down: the next beat tries again
                    continue
                self._lost = True
                self.cancel.set()
                return
            if row.cancel:
                self._stopped = False
                self.cancel.set()
            self._tell_progress(row)

    def _tell_progress(self, row: JobRow) -> None:
        """How far the job is, in the server's log, when the last line of it is old enough."""
        if time.monotonic() - self._told_at < TOLD:
            return
        self._told_at, left = time.monotonic(), eta(row)
        share = round(row.done / row.total, 4) if row.total else None
        self._tell(
            "job progress", stage=stage_of(row.phase), share=share, eta_s=None if left is None else round(left, 1)
        )

    def _tell(self, what: str, **more: Any) -> None:
        """A line of the server's log: numbers and words of ours, no name that somebody gave."""
        job, seconds = self.job, round(time.monotonic() - self._begun, 1)
        fields = {"job": job.id, "tenant": self.tenant.name, "kind": job.kind, "seconds": seconds, **more}
        log.info(what, extra={"fields": fields})
