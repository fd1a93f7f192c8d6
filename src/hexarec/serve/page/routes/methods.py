"""Methods: the grid of what there is, a page for each, and a run of one on the data of this server."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.core import Card
from hexarec.eval import published
from hexarec.pipeline.build import cards
from hexarec.serve.errors import ConflictError, MissingError
from hexarec.serve.jobs import orders
from hexarec.serve.keys import Caller
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import from_htmx, page_router
from hexarec.serve.page.session import PageForm, PageJobs, PageRead
from hexarec.serve.page.values.method_form import form_of, system_name, wanted_run
from hexarec.serve.page.values.methods import grid, method_of, rows, spoken
from hexarec.serve.page.values.progress import Watched, watched
from hexarec.serve.page.values.runs import RunLine, bench_of, lines_of
from hexarec.serve.page.words import language_of
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.store.rows import JobRow

router: APIRouter = page_router()
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,80}$")]
JobId = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,200}$")]
TABLES = 6
"""Published tables on a page; the documentation has the others."""
ANY = ""


@router.get("/methods")
def listed(request: Request, caller: PageRead) -> Response:
    """The grid and the table of all methods."""
    stages, lines = grid()
    lang = language_of(request)
    return page(request, "methods/methods.html", stages=stages, lines=lines, rows=rows(lang))


@router.get("/methods/{name}")
def one(request: Request, caller: PageRead, name: Name, job: JobId = ANY) -> Response:
    """One method; with the id of an estimate, also that."""
    card, tenant = _known(name), tenant_of(request, caller)
    shown = None if not job else _trial(card, _estimate(tenant, card, job), tenant)
    return _page(request, caller, card, trial=shown)


@router.get("/methods/{name}/trial")
def trial(request: Request, caller: PageRead, name: Name, job: JobId) -> Response:
    """How far the estimate is, or what it says."""
    card, tenant = _known(name), tenant_of(request, caller)
    return piece(request, "methods/_trial.html", card=card, trial=_trial(card, _estimate(tenant, card, job), tenant),
                 may_run="jobs" in caller.scopes)  # fmt: skip


@router.post("/methods/{name}/estimate")
def estimate(request: Request, caller: PageJobs, name: Name, form: PageForm) -> Response:
    """Begin to estimate what a run costs."""
    card, tenant, backend = _known(name), tenant_of(request, caller), backend_of(request)
    asked = form_of(card, backend.settings.endpoints)
    if asked is None:
        raise ConflictError(f"{name} makes no lists, so it cannot be measured by itself")
    made = _queue(request, caller, "estimate", wanted_run(card, asked, form))
    if from_htmx(request):
        return piece(request, "methods/_trial.html", card=card, trial=_trial(card, made, tenant), may_run=True)
    return RedirectResponse(f"/methods/{name}?job={made.id}#run", 303)


@router.post("/methods/{name}/run")
def run(request: Request, caller: PageJobs, name: Name, form: PageForm) -> Response:
    """Begin the run that was estimated, and go to its page."""
    card, tenant = _known(name), tenant_of(request, caller)
    done = _estimate(tenant, card, str(form.get("job", ""))[:200])
    if done.state != "done":
        raise ConflictError(f"the estimate {done.id} is {done.state}", hint="wait for it, or estimate again")
    where = f"/experiments/{bench_of(_queue(request, caller, 'bench', done.args))}"
    if from_htmx(request):
        return Response(headers={"hx-redirect": where})
    return RedirectResponse(where, 303)


def _known(name: str) -> Card:
    found = cards().get(name)
    if found is None:
        raise MissingError(f"no method {name!r}", hint="the page Methods lists them")
    return found


def _queue(request: Request, caller: Caller, kind: str, args: Any) -> JobRow:
    backend, tenant = backend_of(request), tenant_of(request, caller)
    return orders.started(backend, tenant, kind, args, caller, request_id_of(request))


def _estimate(tenant: Tenant, card: Card, job: str) -> JobRow:
    """The estimate of this method with this id. Raises MissingError."""
    found = tenant.shelf.job(job) if job else None
    if found is None or found.kind != "estimate" or found.args.get("pipeline") != system_name(card):
        raise MissingError(f"no estimate {job!r} of {card.name}", hint="estimate again")
    return found


def _trial(card: Card, job: JobRow, tenant: Tenant) -> Watched:
    return watched(job, f"/methods/{card.name}/trial?job={job.id}", tenant.shelf)


def _page(request: Request, caller: Caller, card: Card, trial: Watched | None) -> Response:
    tenant, backend = tenant_of(request, caller), backend_of(request)
    runs: list[RunLine] = [one for one in lines_of(tenant, backend.settings.home) if system_name(card) in one.systems]
    tables = published.of_method(card.name)
    return page(
        request, "methods/method.html", method=method_of(card, language_of(request)), card=card, trial=trial,
        form=form_of(card, backend.settings.endpoints), runs=runs[:10], tables=tables[:TABLES],
        left=len(tables) - TABLES, may_run="jobs" in caller.scopes, events=tenant.shelf.count("events"),
        spoken=spoken(),
    )  # fmt: skip
