"""Experiments: what was measured here, one run with its table and plots, up to four side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageRead, backend_of, tenant_of
from hexarec.serve.page.values.progress import watched
from hexarec.serve.page.values.runs import lines_of, run_of

router: APIRouter = page_router()
RunId = Annotated[str, Path(pattern=r"^(job|run)-[A-Za-z0-9_.-]{1,200}$")]


@router.get("/experiments")
def listed(request: Request, caller: PageRead) -> Response:
    """Every run."""
    home = backend_of(request).settings.home
    return page(request, "experiments/experiments.html", lines=lines_of(tenant_of(request, caller), home), home=home)


@router.get("/experiments/{run_id}")
def one(request: Request, caller: PageRead, run_id: RunId) -> Response:
    """One run: its table, or how far it is."""
    tenant = tenant_of(request, caller)
    run = run_of(tenant, backend_of(request).settings.home, run_id)
    following = None if run.job is None or run.report is not None else watched(
        run.job, f"/experiments/{run.id}/state", tenant.shelf
    )  # fmt: skip
    return page(request, "experiments/run.html", run=run, watched=following)


@router.get("/experiments/{run_id}/state")
def state(request: Request, caller: PageRead, run_id: RunId) -> Response:
    """How far a run is; when it is done its page is fetched anew."""
    tenant = tenant_of(request, caller)
    run = run_of(tenant, backend_of(request).settings.home, run_id)
    if run.job is None or run.state == "done":
        return Response(headers={"hx-redirect": f"/experiments/{run.id}"})
    return piece(request, "_watched.html", watched=watched(run.job, f"/experiments/{run.id}/state", tenant.shelf))
