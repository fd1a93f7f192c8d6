"""Why an item suits somebody, for the API, MCP and the page: evidence first, words checked against it second."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from hexarec.core import Lists, StateError, run
from hexarec.core.errors import DeadlineError
from hexarec.serve.backend import Backend
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask, past_of, queries_of
from hexarec.serve.live.catalogs import on_sale
from hexarec.serve.live.memory import asking, owners_of
from hexarec.serve.live.recommender import Recommender


async def explained(
    backend: Backend, caller: Caller, ask: Ask, item: str, *, pipeline: str | None = None,
    deadline_ms: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The explanation within its deadline. Raises MissingError, StateError without an explainer, DeadlineError."""
    served = backend.service.tenant(caller.tenant).recommender(pipeline)
    on_sale(served.current.catalog, item)
    settings = backend.settings
    seconds = min(deadline_ms or settings.deadline_ms, settings.longest_ms) / 1000
    try:
        paid = asyncio.to_thread(backend.paying, caller, _worked_out, served, ask, item, seconds)
        made = await asyncio.wait_for(paid, seconds)
    except TimeoutError:
        raise DeadlineError("the deadline came before the explanation", hint="give a larger deadline_ms") from None
    backend.metrics.cached.inc(made["usage"]["cached"])
    return made


def _worked_out(served: Recommender, ask: Ask, item: str, seconds: float) -> dict[str, Any]:
    generation = served.current
    explainer = generation.pipeline.explain_
    if explainer is None:
        raise StateError(f"pipeline {generation.name} has no explainer", hint="fill the slot [explain]")
    catalog = generation.catalog
    stored = served.histories([ask.user] if ask.user is not None else [], [])
    known = [event for event in past_of(ask, stored) if event.item != item]  # an item is no reason for itself
    queries = queries_of(catalog, [ask], [known], time.time(), generation.like)
    shown = Lists.of(catalog.key, [[int(catalog.rows([item])[0])]])
    complaints: list[str] = []
    limits = run(seconds=max(seconds - 0.05, 0.01), tenant=served.tenant, complain=complaints.append)
    with limits, asking(owners_of([ask]), ask.at) as kept:
        reasons = explainer.explain(queries, shown, generation.pipeline)[0]
    words = reasons.items[0]
    evidence = reasons.evidence[0] if reasons.evidence else ()
    return {
        "item_id": item,
        "text": words.text,
        "status": words.status,
        "faithful": not any(claim.verdict == "contradicted" for claim in words.claims),
        "claims": [{"text": claim.text, "verdict": claim.verdict} for claim in words.claims],
        "evidence": [
            {"kind": one.kind, "items": [catalog.items.ids[row] for row in one.items], "detail": one.detail}
            for one in evidence
        ],
        "usage": {"cached": kept.hits},
        "degraded": [{"stage": "explain", "method": type(explainer).__name__, "why": one} for one in complaints],
    }
