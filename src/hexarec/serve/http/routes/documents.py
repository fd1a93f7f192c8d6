"""Pipelines and prompts: versioned documents, one version of each active."""

from __future__ import annotations

import string
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from hexarec.core import OptionError
from hexarec.serve.errors import MissingError
from hexarec.serve.http.answers import documents as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRead, MayWrite, needs
from hexarec.serve.http.shapes import Activate, Name, PromptBody
from hexarec.serve.live.prompts import KIND as PROMPT
from hexarec.serve.live.prompts import prompts_of
from hexarec.serve.live.publish import KIND as PIPELINE
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.request import request_id_of, tenant_of
from hexarec.serve.store.rows import Versioned

router = APIRouter(route_class=StrictRoute, tags=["documents"])
NameInPath = Annotated[Name, Path()]


def told(one: Versioned, **more: Any) -> dict[str, Any]:
    """A version as it goes out."""
    return {"name": one.name, "version": one.version, "created": one.created, "active": one.active, **one.body, **more}


def _versions(tenant: Tenant, kind: str, name: str) -> dict[str, Any]:
    found = tenant.shelf.versions(kind, name)
    if not found:
        raise MissingError(f"no {kind} {name!r}")
    return {"versions": [told(one) for one in found]}


@router.get("/v1/pipelines", openapi_extra=needs("read"), response_model=answers.Pipelines)
def pipelines(request: Request, caller: MayRead) -> dict[str, Any]:
    """The pipelines with the version that is served, and those that could not be taken up, with the reason."""
    tenant = tenant_of(request, caller)
    served = tenant.served
    made = [
        told(one, serving=served[one.name].current.version if one.name in served else None,
             waiting=served[one.name].waiting if one.name in served else 0)
        for one in tenant.shelf.names(PIPELINE)
    ]  # fmt: skip
    return {"pipelines": made, "broken": tenant.broken}


@router.get("/v1/pipelines/{name}", openapi_extra=needs("read"), response_model=answers.PipelineVersions)
def pipeline_versions(request: Request, caller: MayRead, name: NameInPath) -> dict[str, Any]:
    """Every version of a pipeline."""
    return _versions(tenant_of(request, caller), PIPELINE, name)


@router.post("/v1/pipelines/{name}/activate", openapi_extra=needs("write"), response_model=answers.ServedPipeline)
def activate(request: Request, caller: MayWrite, name: NameInPath, body: Activate) -> dict[str, Any]:
    """Serve another version: the way back from a refit that went wrong."""
    tenant = tenant_of(request, caller)
    if tenant.shelf.get(PIPELINE, name, body.version) is None:
        raise MissingError(f"pipeline {name!r} has no version {body.version}")
    made = tenant.activate(name, body.version)
    tenant.shelf.audit(caller.name, "activate pipeline", f"{name} {body.version}", request_id_of(request))
    return told(made, serving=tenant.recommender(name).current.version)


@router.get("/v1/prompts", openapi_extra=needs("read"), response_model=answers.Prompts)
def prompts(request: Request, caller: MayRead) -> dict[str, Any]:
    """The prompts of this tenant; those that methods bring along stand in the documentation."""
    return {"prompts": [told(one) for one in tenant_of(request, caller).shelf.names(PROMPT)]}


@router.get("/v1/prompts/{name}", openapi_extra=needs("read"), response_model=answers.PromptVersions)
def prompt(request: Request, caller: MayRead, name: NameInPath) -> dict[str, Any]:
    """Every version of a prompt."""
    return _versions(tenant_of(request, caller), PROMPT, name)


@router.put("/v1/prompts/{name}", openapi_extra=needs("write"), response_model=answers.PromptVersion)
def put_prompt(request: Request, caller: MayWrite, name: NameInPath, body: PromptBody) -> dict[str, Any]:
    """Store the next version of a prompt and make it the active one. Languages must have the same slots."""
    _check_slots(name, body)
    tenant = tenant_of(request, caller)
    made = tenant.shelf.put(PROMPT, name, body.model_dump(), activate=True)
    tenant.shelf.audit(caller.name, "put prompt", f"{name} {made.version}", request_id_of(request))
    return told(made)


def _check_slots(name: str, body: PromptBody) -> None:
    """Raise OptionError unless slots are plain names: `{a.b}` looks into what fills it, `{a:9999}` pads it."""
    try:
        made = prompts_of(name, 1, body.model_dump())
        texts = [*made.en.values(), *made.zh.values()]
        parts = [part for text in texts for part in string.Formatter().parse(text)]
    except ValueError as error:
        raise OptionError(f"prompt {name!r}: {error}", hint="write a brace that is no slot twice") from None
    for _, slot, form, conversion in parts:
        if slot is not None and (not slot.isidentifier() or form or conversion):
            raise OptionError(f"prompt {name!r}: the slot {slot[:80]!r} is no plain name", hint="write {name}")


@router.post("/v1/prompts/{name}/activate", openapi_extra=needs("write"), response_model=answers.PromptVersion)
def activate_prompt(request: Request, caller: MayWrite, name: NameInPath, body: Activate) -> dict[str, Any]:
    """Make another version of a prompt the active one."""
    tenant = tenant_of(request, caller)
    if tenant.shelf.get(PROMPT, name, body.version) is None:
        raise MissingError(f"prompt {name!r} has no version {body.version}")
    made = tenant.shelf.activate(PROMPT, name, body.version)
    tenant.shelf.audit(caller.name, "activate prompt", f"{name} {body.version}", request_id_of(request))
    return told(made)
