"""Jobs as callers ask for them: started, found, followed, cancelled, resumed; every order stands in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.lm.address import withheld_in
from hexarec.serve.backend import Follower
from hexarec.serve.errors import ConflictError, MissingError, OverloadError
from hexarec.serve.jobs.allowed import check_endpoints
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.store.checks import checked_name
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from hexarec.serve.backend import Backend
    from hexarec.serve.keys import Caller
    from hexarec.serve.live.tenant import Tenant

RESUMABLE = ("failed", "cancelled", "paused")
ENDED = frozenset({"done", *RESUMABLE})
"""States that do not change by themselves."""
FILE_TYPES = {".parquet": "application/vnd.apache.parquet", ".jsonl": "application/x-ndjson"}
"""Media types of what jobs make, by the ending of the file."""
LOOK = 0.3
"""Seconds between two looks at a job that is followed."""


def started(
    backend: Backend, tenant: Tenant, kind: str, args: Mapping[str, Any], caller: Caller, request_id: str
) -> JobRow:  # fmt: skip
    """Queue a job, whose models the caller's key pays.

    Raises OptionError for a kind, an argument or a model that is not allowed.
    """
    known = KINDS.get(kind)
    if known is None:
        raise OptionError(f"no kind {kind!r} of job", hint=f"kinds: {', '.join(KINDS)}")
    known.check(args)
    checked_name(args.get("pipeline", "default"), "pipeline")
    check_endpoints(args, backend.settings.endpoints)
    job = tenant.shelf.add_job(kind, withheld_in(args), key=None if caller.key is None else caller.key.id)
    tenant.shelf.audit(caller.name, f"start job {kind}", job.id, request_id)
    return job


def found(tenant: Tenant, job_id: str) -> JobRow:
    """The job. Raises MissingError."""
    job = tenant.shelf.job(job_id)
    if job is None:
        raise MissingError(f"no job {job_id!r}")
    return job


def cancelled(tenant: Tenant, job_id: str, who: str, request_id: str) -> JobRow:
    """Cancel a job: at once while it waits or rests, between two steps while it runs. Raises MissingError."""
    found(tenant, job_id)
    job = tenant.shelf.cancel_job(job_id)
    tenant.shelf.audit(who, "cancel job", job_id, request_id)
    return job or found(tenant, job_id)


def resumed(tenant: Tenant, job_id: str, who: str, request_id: str) -> JobRow:
    """Let a job that failed, was cancelled or paused wait again; it goes on from what it left in its folder.

    Raises MissingError, ConflictError for one that has not ended or is done.
    """
    state = found(tenant, job_id).state
    if state not in RESUMABLE:
        raise ConflictError(f"job {job_id!r} is {state}: only one that failed, was cancelled or paused is resumed")
    job = tenant.shelf.resume_job(job_id)
    tenant.shelf.audit(who, "resume job", job_id, request_id)
    return job or found(tenant, job_id)


def file_of(tenant: Tenant, job_id: str) -> Path:
    """The file that a finished job has made. Raises MissingError."""
    job = found(tenant, job_id)
    name: str | None = (job.result or {}).get("file")
    path = None if name is None else folder_of(tenant, job.id) / name
    if path is None or not path.is_file():
        raise MissingError(f"job {job_id!r} has made no file", hint=f"it is {job.state}")
    return path


def followed(backend: Backend, tenant: Tenant, job_id: str) -> AsyncIterator[JobRow]:
    """The job each time it has changed, until it has ended or the server stops. Raises OverloadError.

    Half of `[serve] calls` may be streams like this one; every tenant has an equal part of them that no other can take.
    It counts from this call on. Call it in the server's event loop: nothing else happens between look and count.
    """
    own = sum(one.tenant == tenant.name for one in backend.followers)
    if own >= max(backend.settings.calls // 2 // len(backend.service.tenants), 1):
        raise OverloadError("too many follow jobs already", hint=f"GET /v1/jobs/{job_id} now and then")
    me = Follower(tenant.name)
    backend.followers.add(me)
    return _changes(backend, tenant, job_id, me)


async def _changes(backend: Backend, tenant: Tenant, job_id: str, me: Follower) -> AsyncIterator[JobRow]:
    last = None
    try:
        while not backend.service.stopping:
            job = await asyncio.to_thread(found, tenant, job_id)
            if job != last:
                yield job
                last = job
            if job.state in ENDED:
                return
            await asyncio.sleep(LOOK)
    finally:
        backend.followers.discard(me)
