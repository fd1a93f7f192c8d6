"""A/B: experiments on live traffic: created, read, started, stopped, shipped."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.core import KINDS
from hexarec.serve import trials
from hexarec.serve.keys import Caller
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageExperiments, PageForm, PageRead
from hexarec.serve.page.values.ab import course_figure, listed, told, trial_of
from hexarec.serve.page.values.ab_form import STOPS, Draft, body_of, draft_of
from hexarec.serve.page.words import language_of, word
from hexarec.serve.request import request_id_of, tenant_of

router: APIRouter = page_router()
Named = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Form = Literal["json", "svg", "csv"]


def _list_page(request: Request, caller: Caller, draft: Draft, status: int = 200) -> Response:
    tenant = tenant_of(request, caller)
    told = {"trials": listed(tenant), "pipelines": sorted(tenant.served), "draft": draft, "kinds": KINDS,
            "guards": tuple(trials.GUARDS), "stops": STOPS}  # fmt: skip
    return page(request, "ab/ab.html", status=status, may="experiments" in caller.scopes, **told)


@router.get("/ab")
def experiments(request: Request, caller: PageRead) -> Response:
    """All experiments, and a form for another one."""
    return _list_page(request, caller, Draft())


@router.post("/ab")
def create(request: Request, caller: PageExperiments, form: PageForm) -> Response:
    """Define an experiment. It takes no traffic before it is started."""
    tenant, draft = tenant_of(request, caller), draft_of(form)
    name, body = draft.one("name"), body_of(draft, tenant)
    if not draft.wrong:
        draft.read("name", lambda: trials.created(tenant, name, body, time.time()), None)
    if draft.wrong:
        return _list_page(request, caller, draft, 422)
    tenant.shelf.audit(caller.name, "create experiment", name, request_id_of(request))
    return RedirectResponse(f"/ab/{quote(name, safe='')}", 303)


@router.get("/ab/{name}")
def experiment(request: Request, caller: PageRead, name: Named) -> Response:
    """One experiment; what it says follows."""
    found = trial_of(trials.of(tenant_of(request, caller), name))
    return page(request, "ab/trial.html", trial=found, may="experiments" in caller.scopes)


@router.get("/ab/{name}/reading")
def reading(request: Request, caller: PageRead, name: Named) -> Response:
    """What it says so far."""
    tenant = tenant_of(request, caller)
    figure = course_figure(tenant, name, partial(word, language_of(request)))
    return piece(request, "ab/_reading.html", told=told(tenant, name), figure=figure)


@router.get("/ab/{name}/figures/course.{form}")
def course(request: Request, caller: PageRead, name: Named, form: Form) -> Response:
    """The effect over time."""
    return course_figure(tenant_of(request, caller), name, partial(word, language_of(request))).answer(form)


@router.post("/ab/{name}/move")
def move(request: Request, caller: PageExperiments, name: Named, form: PageForm) -> Response:
    """Start it, stop it, or ship one of its arms."""
    tenant = tenant_of(request, caller)
    state, ship = str(form.get("state", "")), str(form.get("ship", "")) or None
    trials.moved(tenant, name, state, time.time(), ship)
    tenant.shelf.audit(caller.name, f"experiment {state}", name, request_id_of(request))
    return RedirectResponse(f"/ab/{quote(name, safe='')}", 303)
