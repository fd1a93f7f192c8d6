"""A/B: experiments on live traffic: read, started, stopped, shipped."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.serve import trials
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageExperiments, PageForm, PageRead
from hexarec.serve.page.values.ab import course_figure, listed, told, trial_of
from hexarec.serve.page.words import language_of, word
from hexarec.serve.request import request_id_of, tenant_of

router: APIRouter = page_router()
Named = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Form = Literal["json", "svg", "csv"]


@router.get("/ab")
def experiments(request: Request, caller: PageRead) -> Response:
    """All experiments."""
    return page(request, "ab/ab.html", trials=listed(tenant_of(request, caller)))


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
