"""Jobs: all of them, one as it runs, and what may be ordered: start, cancel, resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from hexarec.core import OptionError
from hexarec.serve.jobs import orders
from hexarec.serve.keys import Caller
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageForm, PageJobs, PageRead
from hexarec.serve.page.values.jobs import PAGES, job_lines, startable, told, wanted
from hexarec.serve.request import backend_of, request_id_of, tenant_of

router: APIRouter = page_router()
JobId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
FIELDS = ("kind", "pipeline", "tokens", "dollars")


def _jobs_page(request: Request, caller: Caller, *, status: int = 200, **more: Any) -> Response:
    tenant = tenant_of(request, caller)
    values = {
        "lines": job_lines(tenant), "kinds": startable(), "pipelines": sorted(tenant.served), "wrong": "",
        "given": dict.fromkeys(FIELDS, ""), "background": backend_of(request).settings.background,
    }  # fmt: skip
    return page(request, "jobs/jobs.html", status=status, **{**values, **more})


@router.get("/jobs")
def jobs(request: Request, caller: PageRead) -> Response:
    """The newest jobs, and a form for another one."""
    return _jobs_page(request, caller)


@router.get("/jobs/list")
def listed(request: Request, caller: PageRead) -> Response:
    """The newest jobs as they are now."""
    return piece(request, "jobs/_list.html", lines=job_lines(tenant_of(request, caller)))


@router.post("/jobs/start")
def start(request: Request, caller: PageJobs, form: PageForm) -> Response:
    """Queue a job and watch it."""
    try:
        kind, args = wanted(form)
        if kind in PAGES:
            raise OptionError(f"{kind} is started on its own page", hint=PAGES[kind])
        job = orders.started(
            backend_of(request), tenant_of(request, caller), kind, args, caller, request_id_of(request)
        )
    except OptionError as error:
        given = {name: str(form.get(name, "")) for name in FIELDS}
        return _jobs_page(request, caller, status=422, wrong=error.message, given=given)
    return _to(job.id)


@router.get("/jobs/{job_id}")
def job(request: Request, caller: PageRead, job_id: JobId) -> Response:
    """One job as it runs."""
    tenant = tenant_of(request, caller)
    return page(request, "jobs/job.html", **_told(request, caller, job_id), pages_of=PAGES, tenant=tenant.name)


@router.get("/jobs/{job_id}/state")
def state(request: Request, caller: PageRead, job_id: JobId) -> Response:
    """How far it is."""
    return piece(request, "jobs/_state.html", **_told(request, caller, job_id))


def _to(job_id: str) -> Response:
    return RedirectResponse(f"/jobs/{quote(job_id, safe='')}", 303)


def _told(request: Request, caller: Caller, job_id: str) -> dict[str, Any]:
    tenant = tenant_of(request, caller)
    row = orders.found(tenant, job_id)
    return {"job": told(tenant, row), "row": row, "may": "jobs" in caller.scopes}


@router.get("/jobs/{job_id}/events")
async def events(request: Request, caller: PageRead, job_id: JobId) -> Response:
    """Tells when the job has changed, until it has ended; what it is now is at /state."""
    backend, tenant = backend_of(request), tenant_of(request, caller)
    await asyncio.to_thread(orders.found, tenant, job_id)
    changes = orders.followed(backend, tenant, job_id)

    async def stream() -> AsyncIterator[bytes]:
        async for one in changes:
            yield f"event: {'end' if one.state in orders.ENDED else 'told'}\ndata: {one.state}\n\n".encode()

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.get("/jobs/{job_id}/file")
def file(request: Request, caller: PageJobs, job_id: JobId) -> Response:
    """What the job has made: Parquet, or the refused rows of an import as JSON lines."""
    path = orders.file_of(tenant_of(request, caller), job_id)
    return FileResponse(path, media_type=orders.FILE_TYPES[path.suffix], filename=path.name)


@router.post("/jobs/{job_id}/cancel")
def cancel(request: Request, caller: PageJobs, job_id: JobId, form: PageForm) -> Response:
    """Cancel it: at once while it waits, between two steps while it runs."""
    orders.cancelled(tenant_of(request, caller), job_id, caller.name, request_id_of(request))
    return _to(job_id)


@router.post("/jobs/{job_id}/resume")
def resume(request: Request, caller: PageJobs, job_id: JobId, form: PageForm) -> Response:
    """Let it go on from what it has done."""
    orders.resumed(tenant_of(request, caller), job_id, caller.name, request_id_of(request))
    return _to(job_id)
