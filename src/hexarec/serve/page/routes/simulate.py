"""Simulate: pipelines before simulated users, as a job whose curves can be watched."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.core import OptionError
from hexarec.serve.errors import MissingError
from hexarec.serve.jobs import orders
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.simulating import USERS, Cost, cost_of, labels_of
from hexarec.serve.keys import Caller
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageForm, PageJobs, PageRead
from hexarec.serve.page.values.simulate import DEFAULTS, KIND, figures_of, models, run_of, runs, wanted
from hexarec.serve.page.words import language_of, word
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.store.rows import JobRow

router: APIRouter = page_router()
JobId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Form = Literal["json", "svg", "csv"]


def _simulate_page(request: Request, caller: Caller, *, status: int = 200, **more: Any) -> Response:
    tenant = tenant_of(request, caller)
    told = {
        "lines": runs(tenant), "pipelines": sorted(tenant.served), "models": models(backend_of(request)), "wrong": "",
        "given": DEFAULTS, "chosen": sorted(tenant.served)[:2], "may": "jobs" in caller.scopes,
    }  # fmt: skip
    return page(request, "simulate/simulate.html", status=status, **{**told, **more})


@router.get("/simulate")
def simulate(request: Request, caller: PageRead) -> Response:
    """All runs, and a form for another one."""
    return _simulate_page(request, caller)


@router.post("/simulate/start")
def start(request: Request, caller: PageJobs, form: PageForm) -> Response:
    """Start a run and watch it."""
    try:
        job = orders.started(
            backend_of(request), tenant_of(request, caller), KIND, wanted(form), caller, request_id_of(request)
        )
    except OptionError as error:
        given = {name: str(form.get(name, "")) for name in DEFAULTS}
        chosen = [str(one) for one in form.getlist("pipeline")]
        return _simulate_page(request, caller, status=422, wrong=error.message, given=given, chosen=chosen)
    return RedirectResponse(f"/simulate/{quote(job.id, safe='')}", 303)


@router.post("/simulate/cost")
def cost(request: Request, caller: PageJobs, form: PageForm) -> Response:
    """What the run of the form will take, before anybody starts it."""
    try:
        args = wanted(form)
        KINDS[KIND].check(args)
        told = _cost(tenant_of(request, caller), args)
    except OptionError as error:
        return piece(request, "simulate/_cost.html", wrong=error.message, cost=None, model="")
    return piece(request, "simulate/_cost.html", wrong="", cost=told, model=args.get("model", ""))


def _cost(tenant: Tenant, args: dict[str, Any]) -> Cost | None:
    """None where no model is asked."""
    model = args.get("model", "")
    if not model:
        return None
    people = tenant.shelf.people(most=args.get("users", USERS))
    return cost_of(args, len(people), labels_of(model))


@router.get("/simulate/{job_id}")
def run(request: Request, caller: PageRead, job_id: JobId) -> Response:
    """One run as it grows."""
    row = _found(request, caller, job_id)
    return page(request, "simulate/run.html", row=row, **_told(request, caller, row))


@router.get("/simulate/{job_id}/curves")
def curves(request: Request, caller: PageRead, job_id: JobId) -> Response:
    """The curves so far."""
    return piece(request, "simulate/_curves.html", **_told(request, caller, _found(request, caller, job_id)))


@router.get("/simulate/{job_id}/figures/{name}.{form}")
def figure(request: Request, caller: PageRead, job_id: JobId, name: str, form: Form) -> Response:
    """One curve."""
    told = _told(request, caller, _found(request, caller, job_id))
    found = next((one for one in told["figures"] if one.name == name), None)
    if found is None:
        raise MissingError(f"no figure {name[:80]!r}")
    made: Response = found.answer(form)
    return made


def _found(request: Request, caller: Caller, job_id: str) -> JobRow:
    row = orders.found(tenant_of(request, caller), job_id)
    if row.kind != KIND:
        raise MissingError(f"job {job_id[:80]!r} simulates nothing", hint=f"it is a {row.kind}")
    return row


def _told(request: Request, caller: Caller, row: JobRow) -> dict[str, Any]:
    made = run_of(tenant_of(request, caller), row)
    figures = figures_of(made.curves, partial(word, language_of(request)))
    return {"run": made, "line": made.line, "figures": figures}
