"""Live: the last hour of this process, spending against budgets, and the drift of what is shown."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from hexarec.serve.exposure import drift
from hexarec.serve.keys import Caller
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageRead
from hexarec.serve.page.values.ab import listed
from hexarec.serve.page.values.live import DAYS, drift_figure, spending, traffic_figure
from hexarec.serve.page.words import language_of, word
from hexarec.serve.request import backend_of, tenant_of

router: APIRouter = page_router()
Form = Literal["json", "svg", "csv"]


def _now(request: Request, caller: Caller) -> dict[str, Any]:
    backend = backend_of(request)
    window = backend.recent.window(caller.tenant)
    admin = "admin" in caller.scopes
    tenant = tenant_of(request, caller)
    trials = [one for one in listed(tenant) if one.body["state"] == "running"]
    return {"window": window, "trials": trials, "budgets": spending(tenant.shelf) if admin else None}


@router.get("/live")
def live(request: Request, caller: PageRead) -> Response:
    """The last hour."""
    told = _now(request, caller)
    return page(request, "live/live.html", traffic=traffic_figure(told["window"], _t(request)), **told)


@router.get("/live/now")
def now(request: Request, caller: PageRead) -> Response:
    """The last hour as it is now."""
    return piece(request, "live/_now.html", **_now(request, caller))


@router.get("/live/drift")
def drifting(request: Request, caller: PageRead) -> Response:
    """How popular the shown items of the last days are."""
    made = drift(tenant_of(request, caller), days=DAYS)
    return piece(request, "live/_drift.html", figure=drift_figure(made, _t(request)))


@router.get("/live/figures/traffic.{form}")
def traffic(request: Request, caller: PageRead, form: Form) -> Response:
    """Requests by minute."""
    return traffic_figure(backend_of(request).recent.window(caller.tenant), _t(request)).answer(form)


@router.get("/live/figures/drift.{form}")
def drift_plot(request: Request, caller: PageRead, form: Form) -> Response:
    """Popularity over time."""
    return drift_figure(drift(tenant_of(request, caller), days=DAYS), _t(request)).answer(form)


def _t(request: Request) -> Any:
    return partial(word, language_of(request))
