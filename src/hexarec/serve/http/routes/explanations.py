"""Why an item suits somebody: evidence first, words that are checked against it second."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from hexarec.serve.backend import Backend
from hexarec.serve.explaining import explained as worked_out
from hexarec.serve.http.answers import explanations as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRecommend, needs
from hexarec.serve.http.shapes import Explanation
from hexarec.serve.http.told import past
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.request import backend_of

router = APIRouter(route_class=StrictRoute, tags=["explanations"])


@router.post("/v1/explanations", openapi_extra=needs("recommend"), response_model=answers.Explained)
async def explain(request: Request, caller: MayRecommend, body: Explanation) -> dict[str, Any]:
    """Evidence and words for one item. `faithful` is false when a claim of the words contradicts the catalog."""
    return await explained(backend_of(request), caller, body)


async def explained(backend: Backend, caller: Caller, body: Explanation) -> dict[str, Any]:
    """The explanation within its deadline. Raises MissingError, StateError without an explainer, DeadlineError."""
    ask = Ask(user=body.user_id, history=past(body.history), lang=body.lang, k=1)
    return await worked_out(backend, caller, ask, body.item_id, pipeline=body.pipeline, deadline_ms=body.deadline_ms)
