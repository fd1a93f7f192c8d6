"""Lists: for a user, a visit or anybody with a history; items like an item; given documents or items in order."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from hexarec.core import OptionError
from hexarec.serve.answering import answered
from hexarec.serve.errors import MissingError
from hexarec.serve.http.answers.lists import Recommended, Reranked
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayRead, MayRecommend, needs
from hexarec.serve.http.shapes import Document, Id, Recommend, Rerank, Similar, UserId
from hexarec.serve.http.told import ask_of, filter_of, past, recommended
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.catalogs import on_sale
from hexarec.serve.request import answer_header, answer_id_of, backend_of, tenant_of

router = APIRouter(route_class=StrictRoute, tags=["lists"])


@router.post("/v1/recommend", response_model=Recommended, openapi_extra=needs("recommend"))
async def recommend(request: Request, caller: MayRecommend, body: Recommend) -> JSONResponse:
    """A list for a user, a visit, or anybody who comes with a history or a wish."""
    return await _list(request, caller, ask_of(body), body.pipeline, body.deadline_ms, body.trace, keep=body.explain)


@router.get("/v1/users/{user_id}/recommendations", response_model=Recommended, openapi_extra=needs("recommend"))
async def recommendations(
    request: Request, caller: MayRecommend, user_id: Annotated[UserId, Path()],
    n: Annotated[int, Query(ge=1, le=200)] = 10,
    pipeline: Annotated[str | None, Query(max_length=64)] = None,
) -> JSONResponse:  # fmt: skip
    """The same list, for caches and the command line."""
    return await _list(request, caller, Ask(user=user_id, k=n), pipeline, None, False)


@router.post("/v1/similar", response_model=Recommended, openapi_extra=needs("recommend"))
async def similar(request: Request, caller: MayRecommend, body: Similar) -> JSONResponse:
    """Items for somebody of whom nothing is known but that they liked this one."""
    on_sale(tenant_of(request, caller).catalog, body.item_id)
    ask = Ask(history=past([body.item_id]), k=body.n, where=filter_of(body.filter))
    return await _list(request, caller, ask, body.pipeline, body.deadline_ms, False)


async def _list(
    request: Request, caller: Caller, ask: Ask, pipeline: str | None, deadline_ms: int | None, trace: bool,
    *, keep: bool = False,
) -> JSONResponse:  # fmt: skip
    backend, tenant = backend_of(request), tenant_of(request, caller)
    made = await answered(backend, caller, ask, answer_id_of(request), pipeline=pipeline, deadline_ms=deadline_ms)
    told = recommended(made, tenant.catalog, ask.lang, trace)
    if keep or trace:
        await _kept(tenant, made.request_id, ask, told)
    return JSONResponse(told, headers=answer_header(request))


async def _kept(tenant: Any, request_id: str, ask: Ask, told: dict[str, Any]) -> None:
    """Keep an answer that somebody wants to look into."""
    kept = tenant.shelf.keep_answer_soon(request_id, ask.user, ask.at, told, session=ask.session)
    await asyncio.wrap_future(kept)


@router.get("/v1/answers/{request_id}", openapi_extra=needs("read"), response_model=Recommended)
def answer(request: Request, caller: MayRead, request_id: Annotated[Id, Path()]) -> dict[str, Any]:
    """An answer that was given with its trace or its reasons."""
    found = tenant_of(request, caller).shelf.answer(request_id)
    if found is None:
        raise MissingError(f"no answer {request_id!r} was kept", hint="ask with explain or trace")
    return dict(found)


@router.post("/v1/rerank", openapi_extra=needs("recommend"), response_model=Reranked)
async def rerank(request: Request, caller: MayRecommend, body: Rerank) -> JSONResponse:
    """Documents for a query by their words, or items for a user by the pipeline's ranker; most relevant first."""
    if bool(body.documents) == bool(body.item_ids):
        raise OptionError(
            "give documents or item_ids, and not both", hint="documents with query; item_ids with user_id"
        )
    if body.documents:
        return JSONResponse(await asyncio.to_thread(_by_words, body), headers=answer_header(request))
    ask = Ask(
        user=body.user_id, text=body.query or None, candidates=tuple(body.item_ids), k=body.top_n or len(body.item_ids)
    )
    made = await answered(
        backend_of(request), caller, ask, answer_id_of(request), pipeline=body.model,
        deadline_ms=body.deadline_ms, show=False,
    )  # fmt: skip
    place = {item: i for i, item in reversed(list(enumerate(body.item_ids)))}
    results = [
        {"index": place[item], "item_id": item, "relevance_score": score}
        for item, score in zip(made.given.items, made.given.scores, strict=True)
    ]
    usage = {"total_tokens": made.given.tokens}
    told = {"model": made.given.pipeline, "results": results, "usage": usage, "degraded": list(made.given.degraded)}
    return JSONResponse(told, headers=answer_header(request))


def _by_words(body: Rerank) -> dict[str, Any]:
    """Documents by BM25 against the query; no catalog is needed."""
    from hexarec.parts.bm25 import BM25

    texts = [one.text if isinstance(one, Document) else one for one in body.documents]
    scores = BM25().build(texts).scores([body.query])[0] if body.query.strip() else [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: (-float(scores[i]), i))[: body.top_n or len(texts)]
    results: list[dict[str, Any]] = [{"index": i, "relevance_score": float(scores[i])} for i in order]
    if body.return_documents:
        for one in results:
            one["document"] = {"text": texts[one["index"]]}
    return {"model": body.model or "bm25", "results": results, "usage": {"total_tokens": 0}}
