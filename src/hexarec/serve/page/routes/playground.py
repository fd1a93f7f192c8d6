"""Playground: a list for somebody, how each stage made it, sliders that order it anew, two pipelines side by side."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from hexarec.core import OptionError
from hexarec.serve.answering import Answered, answered
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.reshape import Wishes, reshaped
from hexarec.serve.live.search import grounder_of
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageForm, PageRead, PageRecommend
from hexarec.serve.page.values.lists import cards_of
from hexarec.serve.page.values.playground import (
    LENGTH,
    MOST_CANDIDATES,
    SLIDERS,
    Asking,
    Missed,
    Played,
    Run,
    by_item,
    choices,
    reordered,
    run_of,
)
from hexarec.serve.page.values.waterfall import moves_of
from hexarec.serve.page.words import language_of
from hexarec.serve.request import answer_id_of, backend_of, tenant_of
from hexarec.serve.store.rows import EventRow

router: APIRouter = page_router()
PATIENCE_MS = 30_000
"""A person who looks into a pipeline waits for its model."""
MOST_LINES = 100
Short = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Long = Annotated[str, Query(max_length=6_000, pattern=r"^[^\x00]*$")]
Share = Annotated[float, Query(ge=0.0, le=1.0)]


def asking(
    user: Short = "", past: Long = "", pipeline: Short = "", other: Short = "", diversity: Share = 0.0,
    novelty: Share = 0.0, popularity: Share = 0.0, exploration: Share = 0.0,
) -> Asking:  # fmt: skip
    """What the address asks."""
    wishes = Wishes(diversity, novelty, popularity, exploration)
    return Asking(user.strip(), past, pipeline, "" if other == pipeline else other, wishes)


Asked = Annotated[Asking, Depends(asking)]


@router.get("/playground")
async def playground(request: Request, caller: PageRead, asked: Asked) -> Response:
    """The page; with somebody in the address also their list, for who comes without JavaScript or by a link."""
    tenant = tenant_of(request, caller)
    played = None
    if asked.somebody:
        caller.needs("recommend")
        played = await _played(request, caller, asked)
    return page(request, "playground/playground.html", choices=choices(tenant), asked=asked, played=played,
                sliders=SLIDERS)  # fmt: skip


@router.get("/playground/list")
async def listed(request: Request, caller: PageRecommend, asked: Asked) -> Response:
    """The list of one pipeline, or of two, with all that made it."""
    played = await _played(request, caller, asked)
    return piece(request, "playground/_played.html", asked=asked, played=played, sliders=SLIDERS)


@router.post("/playground/shape")
def shape(request: Request, caller: PageRead, form: PageForm) -> Response:
    """The list as the sliders want it, from the candidates that the page holds: no stage before them runs again.

    It asks no model and knows nobody, so that who may read the items may order them.
    """
    tenant, lang = tenant_of(request, caller), language_of(request)
    generation = tenant.recommender(str(form.get("pipeline", "")) or None).current
    candidates, base = ([str(one) for one in form.getlist(name)] for name in ("item", "base"))
    if len(candidates) > MOST_CANDIDATES or len(base) > LENGTH:
        raise OptionError("these are more candidates than the page sent", hint="show the list again")
    wishes = Wishes(**{name: _share(str(form.get(name, "0"))) for name in SLIDERS})
    catalog = generation.catalog
    known = [item for item in base if item in catalog.items]
    items = reshaped(generation, candidates, wishes, LENGTH, lang) if wishes.any else known
    moves = moves_of(base, items, catalog, lang, LENGTH)
    cards = reordered((), items, catalog, lang)
    gone = [one for one in moves if one.kind == "gone"]
    return piece(request, "playground/_list.html", cards=cards, moves=by_item(items, moves), gone=gone, told=wishes.any)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{text[:20]!r} is no number") from None


async def _played(request: Request, caller: Caller, asked: Asking) -> Played:
    tenant, lang = tenant_of(request, caller), language_of(request)
    found, missed = await asyncio.to_thread(_read, tenant, asked.past)
    past = tuple(cards_of(tenant.catalog, found, lang))
    if not asked.user and not found:
        return Played(asked, past, tuple(missed))
    history = tuple(EventRow("", item, float(place), "like") for place, item in enumerate(found))
    ask = Ask(user=asked.user or None, history=history, k=LENGTH, explain=True, lang=lang, trace=True)
    names = [asked.pipeline or None, *([asked.other] if asked.other else [])]
    made = await asyncio.gather(*(_answer(request, caller, ask, name) for name in names))
    runs = await asyncio.to_thread(_runs, tenant, made, asked, lang)
    return Played(asked, past, tuple(missed), tuple(runs))


async def _answer(request: Request, caller: Caller, ask: Ask, pipeline: str | None) -> Answered:
    backend = backend_of(request)
    patience = min(PATIENCE_MS, backend.settings.longest_ms)
    return await answered(
        backend, caller, ask, answer_id_of(request), pipeline=pipeline, deadline_ms=patience, show=False
    )  # nobody is shown this list: it is no exposure


def _runs(tenant: Tenant, made: list[Answered], asked: Asking, lang: str) -> list[Run]:
    first = list(made[0].given.items)
    compared = len(made) > 1
    wishes = Wishes() if compared else asked.wishes  # the sliders belong to one list
    return [
        run_of(one, tenant.recommender(one.given.pipeline).current, wishes, lang, first if compared else None)
        for one in made
    ]


def _read(tenant: Tenant, past: str) -> tuple[list[str], list[Missed]]:
    """Ids of what was pasted, a title or an id a line, and the lines that name no item."""
    lines = [line.strip() for line in past.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        raise OptionError(f"{len(lines)} lines were pasted, the most is {MOST_LINES}", hint="paste the newest ones")
    if not lines:
        return [], []
    finder, found, missed = grounder_of(tenant), [], []
    for line in lines:
        item, _ = finder.find(line)
        if item is None:
            missed.append(Missed(line, tuple(finder.near(line))))
        else:
            found.append(item)
    return list(dict.fromkeys(found)), missed
