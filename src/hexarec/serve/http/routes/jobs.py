"""Jobs: started, followed, cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, StreamingResponse

from hexarec.serve.errors import MissingError, OverloadError
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayJobs, MayRead, backend_of, needs, request_id_of, tenant_of
from hexarec.serve.http.shapes import Id, NewJob
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.progress import eta
from hexarec.serve.jobs.queue import queued
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.store.rows import JobRow

router = APIRouter(route_class=StrictRoute, tags=["jobs"])
JobId = Annotated[Id, Path()]
ENDED = frozenset({"done", "failed", "cancelled"})


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


def told(job: JobRow) -> dict[str, Any]:
    """A job as it goes out, with the seconds left at its pace."""
    return {**vars(job), "eta": eta(job)}


def _found(tenant: Tenant, job_id: str) -> JobRow:
    found = tenant.shelf.job(job_id)
    if found is None:
        raise MissingError(f"no job {job_id!r}")
    return found


@router.get("/v1/jobs", openapi_extra=needs("read"))
def listed(request: Request, caller: MayRead, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> dict[str, Any]:
    """The newest jobs, and the kinds there are."""
    jobs = [told(job) for job in tenant_of(request, caller).shelf.jobs(limit)]
    kinds = {name: {"about": kind.about, "args": {arg: one.type.__name__ for arg, one in kind.args.items()}}
             for name, kind in KINDS.items()}  # fmt: skip
    return {"jobs": jobs, "kinds": kinds}


@router.post("/v1/jobs", openapi_extra=needs("jobs"), status_code=202)
def start(request: Request, caller: MayJobs, body: NewJob) -> dict[str, Any]:
    """Queue a job."""
    made = queued(
        tenant_of(request, caller), body.kind, body.args, by=caller.name, request_id=request_id_of(request),
        endpoints=backend_of(request).settings.endpoints,
    )  # fmt: skip
    return told(made)


@router.get("/v1/jobs/{job_id}", openapi_extra=needs("read"))
def read(request: Request, caller: MayRead, job_id: JobId) -> dict[str, Any]:
    """One job with its log."""
    tenant = tenant_of(request, caller)
    return {**told(_found(tenant, job_id)), "log": tenant.shelf.job_lines(job_id)}


@router.get("/v1/jobs/{job_id}/events", openapi_extra=needs("read"), response_class=EventStream)
async def follow(request: Request, caller: MayRead, job_id: JobId) -> StreamingResponse:
    """A job's progress as server-sent events, until it has ended."""
    backend, tenant = backend_of(request), tenant_of(request, caller)
    await asyncio.to_thread(_found, tenant, job_id)
    if len(backend.followers) >= backend.settings.calls // 2:
        raise OverloadError("too many follow jobs already", hint=f"GET /v1/jobs/{job_id} now and then")

    async def events() -> AsyncIterator[bytes]:
        me, last = object(), ""
        backend.followers.add(me)
        try:
            while not backend.service.stopping:
                job = await asyncio.to_thread(_found, tenant, job_id)
                told_now = json.dumps(told(job), ensure_ascii=False)
                if told_now != last:
                    yield f"event: {'end' if job.state in ENDED else 'progress'}\ndata: {told_now}\n\n".encode()
                    last = told_now
                if job.state in ENDED:
                    return
                await asyncio.sleep(0.3)
        finally:
            backend.followers.discard(me)

    return EventStream(events(), headers={"cache-control": "no-store"})


@router.get("/v1/jobs/{job_id}/file", openapi_extra=needs("jobs"), response_class=FileResponse)
def file(request: Request, caller: MayJobs, job_id: JobId) -> FileResponse:
    """The file that a finished job has made, as Parquet."""
    tenant = tenant_of(request, caller)
    job = _found(tenant, job_id)
    name = (job.result or {}).get("file")
    path = None if name is None else folder_of(tenant, job.id) / name
    if path is None or not path.is_file():
        raise MissingError(f"job {job_id!r} has made no file", hint=f"it is {job.state}")
    return FileResponse(path, media_type="application/vnd.apache.parquet", filename=name)


@router.delete("/v1/jobs/{job_id}", openapi_extra=needs("jobs"))
def cancel(request: Request, caller: MayJobs, job_id: JobId) -> dict[str, Any]:
    """Cancel a job: at once while it waits, between two steps while it runs."""
    tenant = tenant_of(request, caller)
    _found(tenant, job_id)
    job = tenant.shelf.cancel_job(job_id)
    tenant.shelf.audit(caller.name, "cancel job", job_id, request_id_of(request))
    return told(job or _found(tenant, job_id))
