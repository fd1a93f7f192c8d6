"""Jobs: started, followed, cancelled, resumed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, StreamingResponse

from hexarec.serve.http.answers import jobs as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayJobs, MayRead, needs
from hexarec.serve.http.shapes import Id, NewJob
from hexarec.serve.jobs import orders
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.progress import eta
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.store.rows import JobRow

router = APIRouter(route_class=StrictRoute, tags=["jobs"])
JobId = Annotated[Id, Path()]


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


def told(job: JobRow) -> dict[str, Any]:
    """A job as it goes out, with the seconds left at its pace."""
    return {**vars(job), "eta": eta(job)}


@router.get("/v1/jobs", openapi_extra=needs("read"), response_model=answers.Jobs)
def listed(request: Request, caller: MayRead, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> dict[str, Any]:
    """The newest jobs, and the kinds there are."""
    jobs = [told(job) for job in tenant_of(request, caller).shelf.jobs(limit)]
    kinds = {name: {"about": kind.about, "args": {arg: one.type.__name__ for arg, one in kind.args.items()}}
             for name, kind in KINDS.items()}  # fmt: skip
    return {"jobs": jobs, "kinds": kinds}


@router.post("/v1/jobs", openapi_extra=needs("jobs"), status_code=202, response_model=answers.Job)
def start(request: Request, caller: MayJobs, body: NewJob) -> dict[str, Any]:
    """Queue a job."""
    backend, tenant = backend_of(request), tenant_of(request, caller)
    return told(orders.started(backend, tenant, body.kind, body.args, caller, request_id_of(request)))


@router.get("/v1/jobs/{job_id}", openapi_extra=needs("read"), response_model=answers.LoggedJob)
def read(request: Request, caller: MayRead, job_id: JobId) -> dict[str, Any]:
    """One job with its log."""
    tenant = tenant_of(request, caller)
    return {**told(orders.found(tenant, job_id)), "log": tenant.shelf.job_lines(job_id)}


@router.get("/v1/jobs/{job_id}/events", openapi_extra=needs("read"), response_class=EventStream)
async def follow(request: Request, caller: MayRead, job_id: JobId) -> StreamingResponse:
    """A job's progress as server-sent events, until it has ended."""
    backend, tenant = backend_of(request), tenant_of(request, caller)
    await asyncio.to_thread(orders.found, tenant, job_id)
    changes = orders.followed(backend, tenant, job_id)

    async def events() -> AsyncIterator[bytes]:
        async for job in changes:
            name = "end" if job.state in orders.ENDED else "progress"
            yield f"event: {name}\ndata: {json.dumps(told(job), ensure_ascii=False)}\n\n".encode()

    return EventStream(events(), headers={"cache-control": "no-store"})


@router.get("/v1/jobs/{job_id}/file", openapi_extra=needs("jobs"), response_class=FileResponse)
def file(request: Request, caller: MayJobs, job_id: JobId) -> FileResponse:
    """The file that a finished job has made: Parquet, or the refused rows of an import as JSON lines."""
    path = orders.file_of(tenant_of(request, caller), job_id)
    return FileResponse(path, media_type=orders.FILE_TYPES[path.suffix], filename=path.name)


@router.post("/v1/jobs/{job_id}/resume", openapi_extra=needs("jobs"), status_code=202, response_model=answers.Job)
def resume(request: Request, caller: MayJobs, job_id: JobId) -> dict[str, Any]:
    """Let a job that failed, was cancelled or paused go on from what it has done; who started it pays again."""
    return told(orders.resumed(tenant_of(request, caller), job_id, caller.name, request_id_of(request)))


@router.delete("/v1/jobs/{job_id}", openapi_extra=needs("jobs"), response_model=answers.Job)
def cancel(request: Request, caller: MayJobs, job_id: JobId) -> dict[str, Any]:
    """Cancel a job: at once while it waits or rests, between two steps while it runs."""
    return told(orders.cancelled(tenant_of(request, caller), job_id, caller.name, request_id_of(request)))
