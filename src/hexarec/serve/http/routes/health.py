"""Whether the server lives, whether it can answer, and its metrics."""

from __future__ import annotations

import logging
import time
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import hexarec
from hexarec.core.errors import HexarecError
from hexarec.serve.request import backend_of

router = APIRouter(tags=["health"])
log = logging.getLogger("hexarec.serve")


class Live(BaseModel):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Ready(BaseModel):
    """Whether lists can be served, and why not."""

    status: Literal["ok", "not ready"]
    reasons: list[str]
    seconds_up: float


@router.get("/health/live", openapi_extra={"x-scope": "none"}, response_model=Live)
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "version": hexarec.__version__}


@router.get("/health/ready", openapi_extra={"x-scope": "none"}, response_model=Ready, responses={503: {"model": Ready}})
def ready(request: Request) -> JSONResponse:
    """Whether lists can be served: the store answers and a pipeline is loaded. 503 with the reasons otherwise.

    Anybody may ask, so it says nothing of tenants, neither how many there are nor what they have.
    """
    service = backend_of(request).service
    reasons = ["the server is stopping"] if service.stopping else []
    try:
        service.store.tenants()
    except HexarecError as error:
        log.warning("the store does not answer: %s", error.message)
        reasons.append("the store does not answer")
    if not any(tenant.served for tenant in service.tenants.values()):
        reasons.append("no pipeline is served")
    body: dict[str, Any] = {"status": "not ready" if reasons else "ok", "reasons": reasons,
                            "seconds_up": round(time.time() - service.started, 1)}  # fmt: skip
    return JSONResponse(body, 503 if reasons else 200)


class Text(Response):
    """The text format of Prometheus."""

    media_type = "text/plain; version=0.0.4"


@router.get("/metrics", openapi_extra={"x-scope": "none"}, response_class=Text)
def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format; no ids, no content."""
    backend = backend_of(request)
    tenants = backend.service.tenants.values()
    backend.metrics.waiting.set(sum(served.waiting for tenant in tenants for served in tenant.served.values()))
    return Text(backend.metrics.text())
