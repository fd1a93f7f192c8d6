"""What the store keeps, as values: one frozen class per kind of row. Times are unix seconds UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Verdict = Literal["new", "same", "conflict", "erased"]
"""Of an event that was sent: written now; already there with equal content; there with other content, not written; of a
user who was erased after it, not written."""


class EventRow(NamedTuple):  # a tuple, because a question reads hundreds of them
    """One event. `id` is made by the client and counts once for ever. `user` or `session` is given.

    kind is one of core.KINDS. timed: whether the client said the time; the time of arrival is no part of the content.
    request and position join it to the answer it came from.
    """

    id: str
    item: str
    time: float
    kind: str = "click"
    user: str | None = None
    session: str | None = None
    value: float | None = None
    text: str = ""
    request: str | None = None
    position: int | None = None
    source: str = "log"
    timed: bool = True


@dataclass(frozen=True)
class ItemRow:
    """One item as the API shows it; `version` grows with every change, `deleted` items stay as tombstones."""

    id: str
    title: str
    text: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None
    version: int = 0
    deleted: bool = False


@dataclass(frozen=True)
class UserRow:
    """One user and what they stated about themselves."""

    id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    lang: str | None = None


@dataclass(frozen=True)
class ShownRow:
    """One list that was shown: what off-policy estimates and audits need. Lists have one entry per slot."""

    request: str
    time: float
    pipeline: str
    policy: str
    items: tuple[str, ...]
    propensities: tuple[float | None, ...]
    sources: tuple[str, ...] = ()
    user: str | None = None
    session: str | None = None
    experiment: str | None = None
    arm: str | None = None
    teams: tuple[str, ...] = ()
    seconds: float | None = None
    degraded: bool = False
    source: str = "log"


@dataclass(frozen=True)
class KeyRow:
    """One API key. Only `digest`, a SHA-256 of the secret, is kept. Limits that are None do not hold.

    rate is calls a second with `burst` at once; calls, tokens and dollars are budgets of one UTC day.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[str]
    created: float
    expires: float | None = None
    revoked: float | None = None
    rate: float | None = None
    burst: int | None = None
    calls: int | None = None
    tokens: int | None = None
    dollars: float | None = None


@dataclass(frozen=True)
class JobRow:
    """One background job: waiting, running, paused, done, failed or cancelled. `beat` is the last sign of life.

    phase is what it does now, `done` of `total` steps of which are done; since is when this phase began. key: the id of
    the API key whose budget pays, None without one.
    """

    id: str
    kind: str
    args: Mapping[str, Any]
    created: float
    state: str = "waiting"
    worker: str | None = None
    beat: float | None = None
    started: float | None = None
    ended: float | None = None
    phase: str = ""
    done: int = 0
    total: int | None = None
    since: float | None = None
    cancel: bool = False
    result: Mapping[str, Any] | None = None
    error: str | None = None
    attempts: int = 0
    key: str | None = None


@dataclass(frozen=True)
class Versioned:
    """One version of a named document: pipeline, prompt, registered model or experiment. Versions count from 1."""

    kind: str
    name: str
    version: int
    created: float
    body: Mapping[str, Any]
    active: bool = False


@dataclass(frozen=True)
class AuditRow:
    """One link of the audit log: who did what to what. `digest` is over this row and the digest before it."""

    seq: int
    time: float
    who: str
    what: str
    target: str
    request: str
    digest: str
