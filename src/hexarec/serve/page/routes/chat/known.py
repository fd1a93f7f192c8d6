"""What a talk has come to: likes, dislikes and wishes that are clicked away or noted, and why an item suits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from hexarec.serve.errors import MissingError
from hexarec.serve.explaining import explained
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page import talks
from hexarec.serve.page.render import piece
from hexarec.serve.page.routes.chat.room import changed, in_cookie, room_of, shown
from hexarec.serve.page.routes.chat.turns import PATIENCE_MS
from hexarec.serve.page.routing import from_htmx, page_router
from hexarec.serve.page.session import PageForm, PageRecommend
from hexarec.serve.page.talks import Room
from hexarec.serve.page.values.chat import picked
from hexarec.serve.page.values.lists import why_of
from hexarec.serve.page.words import language_of
from hexarec.serve.request import backend_of, tenant_of
from hexarec.serve.store.rows import EventRow

router: APIRouter = page_router()
Short = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$")]


@router.post("/chat/drop")
def drop(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Take out one like, dislike or wish: the next answer knows nothing of it."""
    values = [str(one) for one in form.getlist("value")]
    return _changed(request, caller, form, lambda talk: talks.dropped(talk, str(form.get("slot", "")), values))


@router.post("/chat/note")
def note(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Like, hide or forget an item in this talk."""
    item, act = str(form.get("item", "")), str(form.get("act", ""))
    if item not in tenant_of(request, caller).catalog.items:
        raise MissingError(f"no item {item[:80]!r}")
    return _changed(request, caller, form, lambda talk: talks.noted(talk, item, act), act)


def _changed(request: Request, caller: Caller, form: FormData, change: Callable[[Any], Any], act: str = "") -> Response:
    key, item = str(form.get("speaker", "")), str(form.get("item", ""))

    def after(room: Room) -> Room:
        person = room.person(key)
        state = {**person.state, **change(person.talk).as_json()}
        if act == "forget":
            state[talks.FORGOTTEN] = [*state.get(talks.FORGOTTEN, ()), item]
        return room.with_person(replace(person, state=state))

    room, _ = changed(request, caller, after)
    if not from_htmx(request):
        return in_cookie(request, RedirectResponse("/chat", 303), room)
    made = piece(request, "chat/_noted.html", act=act, **shown(request, tenant_of(request, caller), room))
    return in_cookie(request, made, room)


@router.get("/chat/why")
async def why(request: Request, caller: PageRecommend, item: Short, speaker: Short = "") -> Response:
    """Why an item suits who was answered: evidence of their history and of what the talk knows."""
    tenant, lang = tenant_of(request, caller), language_of(request)
    room = await asyncio.to_thread(room_of, request, caller)
    person = room.person(speaker)
    past = tuple(EventRow("", one, 1e10 + i, "like") for i, one in enumerate(person.talk.liked))
    ask = Ask(user=person.user, history=past, lang=lang, k=1)
    name = picked(tenant, room.pipeline)
    able = tenant.recommender(name).current.pipeline.explain_ is not None
    pipeline = name if able else _explaining(tenant)
    backend = backend_of(request)
    patience = min(PATIENCE_MS, backend.settings.longest_ms)
    told = await explained(backend, caller, ask, item, pipeline=pipeline, deadline_ms=patience)
    evidence = [why_of(one, tenant.catalog, lang) for one in told["evidence"]]
    return piece(request, "chat/_why.html", told=told, evidence=evidence)


def _explaining(tenant: Tenant) -> str | None:
    """A pipeline that gives reasons; None where there is none, and the default one says what to do."""
    served = sorted(tenant.served.items())
    return next((name for name, one in served if one.current.pipeline.explain_ is not None), None)
