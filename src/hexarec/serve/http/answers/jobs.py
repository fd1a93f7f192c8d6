"""Jobs and their kinds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Job(BaseModel):
    """A background job; `done` of `total` steps of its phase, `eta` seconds left of it."""

    id: str
    kind: str
    args: dict[str, Any]
    created: float
    state: Literal["waiting", "running", "paused", "done", "failed", "cancelled"]
    worker: str | None
    beat: float | None
    started: float | None
    ended: float | None
    phase: str
    done: int
    total: int | None
    since: float | None
    cancel: bool
    result: dict[str, Any] | None
    error: str | None
    attempts: int
    key: str | None = Field(description="id of the key that pays")
    eta: float | None


class LoggedJob(Job):
    """A job with the numbered lines of its log."""

    log: list[tuple[int, str]]


class KindOfJob(BaseModel):
    """What a kind of job does, and the types of its arguments."""

    about: str
    args: dict[str, str]


class Jobs(BaseModel):
    """The newest jobs, and the kinds there are."""

    jobs: list[Job]
    kinds: dict[str, KindOfJob]
