"""Jobs as the page shows them: how far each is, how long it takes, what it said and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.orders import ENDED
from hexarec.serve.jobs.progress import eta
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from hexarec.serve.live.tenant import Tenant

NEWEST = 50
TAIL = 100
LEVELS: dict[str, str] = {"done": "ok", "failed": "bad", "cancelled": "warn", "paused": "warn"}
NAMED = frozenset({
    "pipeline", "version", "items", "events", "users", "rows", "lists", "encoder", "state", "accepted", "rejected",
    "format", "known_before", "pages",
})  # fmt: skip
"""Values of results that the words files name."""
PAGES: dict[str, str] = {
    "import": "/data/import",
    "check": "/data/import",
    "simulate": "/simulate",
    "estimate": "/methods",
}
"""Kinds that are started on pages of their own."""


@dataclass(frozen=True)
class JobLine:
    """One job. passed: seconds it has taken; left: seconds of its phase at the pace so far; about: its pipeline."""

    row: JobRow
    level: str
    passed: float | None
    left: float | None
    about: str

    @property
    def known(self) -> bool:
        """Whether this server knows such jobs."""
        return self.row.kind in KINDS

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.row.state in ENDED


@dataclass(frozen=True)
class JobTold:
    """One job with its log and its result. facts: short values of the result; rest: the others, as JSON."""

    line: JobLine
    lines: tuple[tuple[int, str], ...]
    facts: tuple[tuple[str, Any], ...]
    usage: Mapping[str, Any]
    args: str
    rest: str
    file: bool
    named: frozenset[str] = NAMED


def line_of(row: JobRow, now: float | None = None) -> JobLine:
    """A job as one line."""
    end = row.ended or (time.time() if now is None else now)
    passed = None if row.started is None else max(end - row.started, 0.0)
    about = str(
        row.args.get("pipeline") or row.args.get("pipelines") or row.args.get("encoder") or row.args.get("name") or ""
    )
    return JobLine(row, LEVELS.get(row.state, "idle"), passed, eta(row, now), about)


def job_lines(tenant: Tenant) -> list[JobLine]:
    """The newest jobs, newest first."""
    now = time.time()
    return [line_of(row, now) for row in tenant.shelf.jobs(NEWEST)]


def told(tenant: Tenant, row: JobRow) -> JobTold:
    """A job with the end of its log."""
    result = dict(row.result or {})
    usage = result.pop("usage", {})
    short = {name: value for name, value in result.items() if isinstance(value, str | int | float) and name != "file"}
    rest = {name: value for name, value in result.items() if name not in short and name != "file"}
    return JobTold(
        line_of(row), tuple(tenant.shelf.job_lines(row.id)[-TAIL:]), tuple(short.items()), usage, _json(row.args),
        _json(rest), "file" in result,
    )  # fmt: skip


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) if value else ""


def startable() -> list[str]:
    """The kinds that the page of jobs starts."""
    return [name for name in KINDS if name not in PAGES]


def wanted(form: FormData) -> tuple[str, dict[str, Any]]:
    """Kind and arguments of a form. Raises OptionError for a number that is none."""
    kind = str(form.get("kind", ""))
    known = KINDS[kind].args if kind in KINDS else {}
    args: dict[str, Any] = {}
    for name in ("pipeline", "tokens", "dollars"):
        given = str(form.get(name, "")).strip()
        if given and name in known:
            args[name] = given if name == "pipeline" else _number(name, given, known[name].type)
    return kind, args


def _number(name: str, given: str, kind: type) -> Any:
    try:
        return kind(given)
    except ValueError:
        raise OptionError(f"{name}: {given[:40]!r} is no number") from None
