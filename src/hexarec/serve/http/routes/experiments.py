"""Experiments: created, started, read at any time, stopped, shipped."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from hexarec.serve import trials
from hexarec.serve.http.answers import experiments as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayExperiments, MayRead, needs
from hexarec.serve.http.routes.documents import told
from hexarec.serve.http.shapes import Move, Name, NewExperiment
from hexarec.serve.request import request_id_of, tenant_of

router = APIRouter(route_class=StrictRoute, tags=["experiments"])
NameInPath = Annotated[Name, Path()]


@router.get("/v1/experiments", openapi_extra=needs("read"), response_model=answers.Experiments)
def listed(request: Request, caller: MayRead) -> dict[str, Any]:
    """All experiments."""
    return {"experiments": [told(one) for one in tenant_of(request, caller).shelf.names(trials.KIND)]}


@router.post("/v1/experiments", openapi_extra=needs("experiments"), status_code=201, response_model=answers.Experiment)
def create(request: Request, caller: MayExperiments, body: NewExperiment) -> dict[str, Any]:
    """A new experiment; it takes no traffic before it is started."""
    tenant = tenant_of(request, caller)
    made = trials.created(tenant, body.name, body.model_dump(exclude={"name"}), time.time())
    tenant.shelf.audit(caller.name, "create experiment", body.name, request_id_of(request))
    return told(made)


@router.get("/v1/experiments/{name}", openapi_extra=needs("read"), response_model=answers.ReadExperiment)
def read(request: Request, caller: MayRead, name: NameInPath) -> dict[str, Any]:
    """An experiment and what it says so far."""
    tenant = tenant_of(request, caller)
    return told(trials.of(tenant, name), reading=trials.read(tenant, name, time.time()))


@router.patch("/v1/experiments/{name}", openapi_extra=needs("experiments"), response_model=answers.Experiment)
def move(request: Request, caller: MayExperiments, name: NameInPath, body: Move) -> dict[str, Any]:
    """Start, stop or ship it."""
    tenant = tenant_of(request, caller)
    made = trials.moved(tenant, name, body.state, time.time(), body.ship)
    tenant.shelf.audit(caller.name, f"experiment {body.state}", name, request_id_of(request))
    return told(made)
