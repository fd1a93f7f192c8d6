"""A queue of background jobs: one worker has a job at a time, and a job whose worker died is taken over."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from hexarec.core.errors import DataError, OptionError, StateError
from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import as_json, checked_count, checked_id, checked_number, checked_text, from_json
from hexarec.serve.store.rows import JobRow
from hexarec.serve.store.schema import job_lines, jobs
from hexarec.serve.store.statements import grown

_J = jobs.c
_NAMES = tuple(field.name for field in fields(JobRow))
_COLUMNS = tuple(_J[name] for name in _NAMES)
ENDS = ("done", "failed", "cancelled")
"""The states in which a job stays."""


class Jobs(Access):
    """The jobs of a tenant, first come, first served."""

    def add_job(self, kind: str, args: Mapping[str, Any], id: str | None = None, key: str | None = None) -> JobRow:
        """A job that waits. Under an id that is there already: that job when it asks the same, else DataError.

        key: the id of the API key that pays for its models.
        """
        row = {
            "tenant": self.tenant, "id": checked_id(uuid.uuid4().hex if id is None else id, "id"),
            "kind": checked_id(kind, "kind"), "args": as_json(args, "args"), "created": self._clock(),
            "state": "waiting", "phase": "", "done": 0, "cancel": False, "attempts": 0,
            "key": None if key is None else checked_id(key, "key"),
        }  # fmt: skip
        return self._write(lambda connection: self._add_job(connection, row))

    def claim_job(self, worker: str, kinds: Sequence[str] = (), stale: float = 60.0) -> JobRow | None:
        """The oldest job that waits, or whose worker was silent for `stale` seconds, now this worker's, or None."""
        checked_id(worker, "worker")
        return self._write(lambda connection: self._claim(connection, worker, kinds, stale))

    def beat(
        self, id: str, worker: str, *, phase: str = "", done: int = 0, total: int | None = None,
        since: float | None = None,
    ) -> JobRow:  # fmt: skip
        """A sign of life with how far it is; the job, with `cancel` when somebody asks it to end.

        Raises StateError when the job is no longer this worker's, who must then stop.
        """
        said = {
            "beat": self._clock(), "phase": checked_text(phase, "phase"), "done": checked_count(done, "done"),
            "total": None if total is None else checked_count(total, "total"),
            "since": None if since is None else checked_number(since, "since"),
        }  # fmt: skip
        return self._write(lambda connection: self._change(connection, id, worker, said))

    def end_job(
        self, id: str, worker: str, *, state: str, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> JobRow:
        """End a job as done, failed or cancelled. Raises StateError when it is no longer this worker's."""
        if state not in ENDS:
            raise OptionError(f"a job does not end {state!r}", hint=f"one of {', '.join(ENDS)}")
        said = {
            "state": state, "ended": self._clock(), "result": None if result is None else as_json(result, "result"),
            "error": None if error is None else checked_text(error, "error"),
        }  # fmt: skip
        return self._write(lambda connection: self._change(connection, id, worker, said))

    def rewrite_results(self, kind: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
        """Write the results of ended jobs of a kind anew where `change` makes others of them; how many."""

        def rewritten(connection: Connection) -> int:
            here = (_J.tenant == self.tenant) & (_J.kind == kind) & _J.result.is_not(None)
            count = 0
            for row in connection.execute(select(_J.id, _J.result).where(here)).all():
                kept = from_json(row.result)
                made = change(kept)
                if made != kept:
                    mine = (_J.tenant == self.tenant) & (_J.id == row.id)
                    connection.execute(update(jobs).where(mine).values(result=as_json(made, "result")))
                    count += 1
            return count

        return self._write(rewritten)

    def give_back_job(self, id: str, worker: str) -> JobRow:
        """Let a running job wait again, as if this worker had never had it; cancelled where somebody asked for that.

        Raises StateError when it is no longer this worker's.
        """
        return self._write(lambda connection: self._give_back(connection, id, worker))

    def pause_job(self, id: str, worker: str, why: str) -> JobRow:
        """Let a running job rest until `resume_job`; `why` is its error. Raises StateError if not this worker's."""
        said: dict[str, Any] = {"state": "paused", "worker": None, "error": checked_text(why, "why")}
        said["attempts"] = _J.attempts - 1
        return self._write(lambda connection: self._change(connection, id, worker, said))

    def cancel_job(self, id: str) -> JobRow | None:
        """Cancel a job: at once while it waits or rests; one that runs is told at its next beat. None without one."""
        return self._write(lambda connection: self._cancel(connection, id))

    def resume_job(self, id: str) -> JobRow | None:
        """Let a job that failed, was cancelled or paused wait again, as if never begun; None when there is none."""
        return self._write(lambda connection: self._resume(connection, id))

    def job(self, id: str) -> JobRow | None:
        """One job."""
        row = self._row(select(*_COLUMNS).where(_J.tenant == self.tenant, _J.id == id))
        return _job(row) if row else None

    def jobs(self, most: int = 100) -> list[JobRow]:
        """The newest jobs, newest first."""
        query = select(*_COLUMNS).where(_J.tenant == self.tenant).order_by(_J.seq.desc()).limit(most)
        return [_job(row) for row in self._rows(query)]

    def job_log(self, id: str, line: str) -> int:
        """The number of a line added to a job's log, from 1."""
        checked_id(id, "id"), checked_text(line, "line")
        return self._write(lambda connection: self._log(connection, id, line))

    def job_lines(self, id: str, after: int = 0) -> list[tuple[int, str]]:
        """The lines of a job's log after a number, each with its own."""
        lines = job_lines.c
        query = select(lines.seq, lines.line).where(lines.tenant == self.tenant, lines.job == id, lines.seq > after)
        return [(row.seq, row.line) for row in self._rows(query.order_by(lines.seq))]

    def _add_job(self, connection: Connection, row: dict[str, Any]) -> JobRow:
        there = self._one(connection, row["id"])
        if there is None:
            connection.execute(insert(jobs), {**row, "seq": grown(connection, self.tenant, "jobs")})
        elif (there.kind, as_json(there.args, "args")) != (row["kind"], row["args"]):
            raise DataError("another job has this id", field="id", hint="send another id, or none")
        return self._sure(connection, row["id"])

    def _claim(self, connection: Connection, worker: str, kinds: Sequence[str], stale: float) -> JobRow | None:
        now = self._clock()
        here = _J.tenant == self.tenant
        silent = (_J.state == "running") & (_J.beat < now - stale)
        connection.execute(update(jobs).where(here, silent, _J.cancel).values(state="cancelled", ended=now))
        query = select(_J.id).where(here, (_J.state == "waiting") | silent).order_by(_J.seq).limit(1)
        query = query.where(_J.kind.in_(kinds)) if kinds else query
        id = connection.execute(query.with_for_update(skip_locked=True)).scalar()
        if id is None:
            return None
        mine = {"state": "running", "worker": worker, "beat": now, "attempts": _J.attempts + 1}
        started = func.coalesce(_J.started, now)
        connection.execute(update(jobs).where(here, _J.id == id).values(**mine, started=started))
        return self._sure(connection, id)

    def _change(self, connection: Connection, id: str, worker: str, said: Mapping[str, Any]) -> JobRow:
        there = self._one(connection, id)
        if there is None or there.state != "running" or there.worker != worker:
            raise StateError(f"job {id[:80]!r} is not run by {worker[:80]!r}", hint="stop working on it")
        connection.execute(update(jobs).where(_J.tenant == self.tenant, _J.id == id).values(**said))
        return self._sure(connection, id)

    def _give_back(self, connection: Connection, id: str, worker: str) -> JobRow:
        said: dict[str, Any] = {"state": "waiting", "worker": None, "attempts": _J.attempts - 1}
        made = self._change(connection, id, worker, said)
        return self._cancel(connection, id) or made if made.cancel else made

    def _cancel(self, connection: Connection, id: str) -> JobRow | None:
        here = (_J.tenant == self.tenant, _J.id == id)
        waits = update(jobs).where(*here, _J.state.in_(("waiting", "paused")))
        connection.execute(waits.values(state="cancelled", cancel=True, ended=self._clock()))
        connection.execute(update(jobs).where(*here, _J.state == "running").values(cancel=True))
        return self._one(connection, id)

    def _resume(self, connection: Connection, id: str) -> JobRow | None:
        afresh: dict[str, Any] = {
            "state": "waiting", "worker": None, "beat": None, "started": None, "ended": None, "phase": "", "done": 0,
            "total": None, "since": None, "cancel": False, "error": None, "attempts": 0,
        }  # fmt: skip
        over = (_J.tenant == self.tenant, _J.id == id, _J.state.in_(("failed", "cancelled", "paused")))
        connection.execute(update(jobs).where(*over).values(**afresh))
        return self._one(connection, id)

    def _log(self, connection: Connection, id: str, line: str) -> int:
        lines = job_lines.c
        query = select(func.max(lines.seq)).where(lines.tenant == self.tenant, lines.job == id)
        seq = (connection.execute(query).scalar() or 0) + 1
        connection.execute(insert(job_lines), {"tenant": self.tenant, "job": id, "seq": seq, "line": line})
        return int(seq)

    def _one(self, connection: Connection, id: str) -> JobRow | None:
        row = connection.execute(select(*_COLUMNS).where(_J.tenant == self.tenant, _J.id == id)).first()
        return _job(row) if row else None

    def _sure(self, connection: Connection, id: str) -> JobRow:
        return _job(connection.execute(select(*_COLUMNS).where(_J.tenant == self.tenant, _J.id == id)).one())


def _job(row: Any) -> JobRow:
    values = dict(zip(_NAMES, row, strict=True))
    values |= {"args": from_json(row.args), "result": from_json(row.result), "cancel": bool(row.cancel)}
    return JobRow(**values)
