"""Whether the server lives, whether it can answer, and its metrics."""

from __future__ import annotations

import logging
import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import hexarec
from hexarec.core.errors import HexarecError
from hexarec.serve.request import backend_of

router = APIRouter(tags=["health"])
log = logging.getLogger("hexarec.serve")


class Ready(BaseModel):
    """Whether lists can be served, and why not."""

    status: str
    reasons: list[str]
    pipelines: int
    seconds_up: float


@router.get("/health/live", openapi_extra={"x-scope": "none"})
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "version": hexarec.__version__}


@router.get("/health/ready", openapi_extra={"x-scope": "none"}, response_model=Ready, responses={503: {"model": Ready}})
def ready(request: Request) -> JSONResponse:
    """Whether lists can be served: the store answers and a pipeline is loaded. 503 with the reasons otherwise."""
    backend = backend_of(request)
    reasons = ["the server is stopping"] if backend.service.stopping else []
    served = 0
    for tenant in backend.service.tenants.values():
        try:
            tenant.shelf.count("items")
        except HexarecError as error:
            log.warning("the store does not answer: %s", error.message)
            reasons.append("the store does not answer")
        served += len(tenant.served)
    if not served:
        reasons.append("no pipeline is served")
    body: dict[str, Any] = {"status": "ok" if not reasons else "not ready", "reasons": reasons, "pipelines": served,
                            "seconds_up": round(time.time() - backend.service.started, 1)}  # fmt: skip
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
