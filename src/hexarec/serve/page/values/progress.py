"""A job that somebody watches: how far it is, how long still, and what its log says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hexarec.serve.jobs.progress import eta
from hexarec.serve.store.jobs import ENDS
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf

LINES = 6


@dataclass(frozen=True)
class Watched:
    """A job under way or ended. where: the address of its piece; before: jobs that wait or run before it."""

    job: JobRow
    where: str
    eta: float | None
    before: int
    lines: Sequence[str]

    @property
    def ended(self) -> bool:
        """Whether it goes on no more."""
        return self.job.state in ENDS


def watched(job: JobRow, where: str, shelf: Shelf) -> Watched:
    """The job with the newest lines of its log."""
    before = 0
    if job.state == "waiting":
        before = sum(one.state in ("waiting", "running") and one.created < job.created for one in shelf.jobs(100))
    lines = [line for _, line in shelf.job_lines(job.id)[-LINES:]]
    return Watched(job, where, eta(job), before, lines)
