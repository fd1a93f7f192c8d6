"""Models: pipelines under OpenAI's name for them, the registry, and vectors of texts."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from hexarec.core import run
from hexarec.lm.base import Encoder
from hexarec.serve.errors import MissingError
from hexarec.serve.http.answers import models as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRead, MayRecommend, needs
from hexarec.serve.http.shapes import Embeddings
from hexarec.serve.live.encoders import encoders_of
from hexarec.serve.live.registry import registered
from hexarec.serve.request import backend_of, tenant_of

router = APIRouter(route_class=StrictRoute, tags=["models"])


@router.get("/v1/models", openapi_extra=needs("recommend"), response_model=answers.Models)
def models(request: Request, caller: MayRecommend) -> dict[str, Any]:
    """What `model` may be in chat completions and rerank: the pipelines in service."""
    tenant = tenant_of(request, caller)
    made = [
        {"id": name, "object": "model", "created": 0, "owned_by": tenant.name, "version": served.current.version}
        for name, served in sorted(tenant.served.items())
    ]
    return {"object": "list", "data": made}


class Registered(BaseModel):
    """A version of a pipeline, or an artefact that was tuned for it. `active`: whether it is served."""

    id: str
    kind: str = Field(description="pipeline, or the kind of adapter")
    pipeline: str
    version: int
    created: float
    active: bool
    data_key: str | None = Field(None, description="hash of the data it was fitted on")
    bytes: int | None = Field(None, description="size; null when its files are gone")
    seed: int | None = None
    events: int | None = None
    users: int | None = None
    items: int | None = None
    validation: dict[str, Any] | None = Field(None, description="curves of what its stages trained, by stage")
    artefacts: list[str] | None = Field(None, description="ids of what was tuned for it")
    stage: str | None = None
    options: dict[str, Any] | None = None
    base: str | None = Field(None, description="the model below an adapter, as it is opened")
    base_hash: str | None = None
    licence: str | None = Field(None, description="of the model below, where it is known")
    valid: dict[str, Any] | None = Field(None, description="metric, value and cases of its validation")
    examples: int | None = None
    trainable: int | None = Field(None, description="numbers that were tuned")


class Registry(BaseModel):
    """The newest first; after each version of a pipeline what was tuned for it."""

    models: list[Registered]


@router.get("/v1/registry", openapi_extra=needs("read"), response_model_exclude_none=True)
def registry(request: Request, caller: MayRead, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Registry:
    """What was fitted and tuned, from which data, by which validation; the newest versions of pipelines."""
    return Registry.model_validate({"models": registered(tenant_of(request, caller), limit)})


@router.post("/v1/embeddings", openapi_extra=needs("recommend"), response_model=answers.Embedded)
async def embeddings(request: Request, caller: MayRecommend, body: Embeddings) -> dict[str, Any]:
    """Vectors of texts by an encoder that a pipeline in service uses."""
    tenant = tenant_of(request, caller)
    known = encoders_of(tenant)
    if body.model not in known:
        raise MissingError(f"no encoder {body.model!r}", hint=f"encoders in service: {', '.join(known) or 'none'}")
    texts = [body.input] if isinstance(body.input, str) else body.input
    rows = await asyncio.to_thread(backend_of(request).paying, caller, _encoded, known[body.model], texts, tenant.name)
    if body.dimensions is not None:
        rows = rows[:, : body.dimensions]
    data = [
        {"object": "embedding", "index": i, "embedding": _vector(row, body.encoding_format)}
        for i, row in enumerate(rows)
    ]
    words = sum(len(text.split()) for text in texts)
    return {
        "object": "list",
        "model": body.model,
        "data": data,
        "usage": {"prompt_tokens": words, "total_tokens": words},
    }


def _encoded(encoder: Encoder, texts: list[str], tenant: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    with run(tenant=tenant):
        return np.asarray(encoder.encode(texts), np.float32)


def _vector(row: np.ndarray[Any, np.dtype[np.float32]], form: str) -> list[float] | str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if form == "base64" else row.tolist()
