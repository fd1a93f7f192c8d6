"""Chat: a conversation with a pipeline, alone or with others; answers stream, items are cards from the catalog."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.datastructures import FormData

from hexarec.core import OptionError
from hexarec.core.errors import HexarecError, StateError
from hexarec.parts.group import HOWS
from hexarec.parts.intent import by_rules
from hexarec.parts.said import lexicon_of
from hexarec.parts.talk import Talk as Slots
from hexarec.parts.talk import heard
from hexarec.serve.answering import answered
from hexarec.serve.errors import MissingError
from hexarec.serve.explaining import explained
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.live.together import Member, together
from hexarec.serve.page import talks
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import from_htmx, page_router
from hexarec.serve.page.session import PageForm, PageRead, PageRecommend, kept_in_cookie
from hexarec.serve.page.talks import Line, Person, Room
from hexarec.serve.page.values.chat import (
    bubble_of,
    bubbles,
    chips_of,
    group_line,
    line_of,
    picked,
    talkers,
)
from hexarec.serve.page.values.lists import why_of
from hexarec.serve.page.words import language_of
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.settings import TALK_SECONDS
from hexarec.serve.store.rows import EventRow
from hexarec.serve.talking import Talk

router: APIRouter = page_router()
log = logging.getLogger("hexarec.serve")
SHOWN = 5
LONGEST, LONGEST_NAME = 2_000, 40
PATIENCE_MS = 60_000
SLOT = '[converse]\nuse = "chatrec"\nlm = "gguf:smollm2"\nbackend = "none"'
"""What makes a pipeline talk."""
Place = Annotated[int, Query(ge=0, le=10**6)]
Short = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$")]


# --------------------------------------------------------------------------------------------------------- the page
@router.get("/chat")
def chat(request: Request, caller: PageRead) -> Response:
    """The talk of this browser."""
    tenant = tenant_of(request, caller)
    told = _shown(request, tenant, _room(request, caller)) if tenant.served else {}
    return page(request, "chat/chat.html", ready=bool(tenant.served), slot=SLOT, **told)


def _room(request: Request, caller: Caller) -> Room:
    shelf = tenant_of(request, caller).shelf
    found = talks.room_of(shelf, request.cookies.get(talks.COOKIE, ""), caller.name)
    return talks.new_room(caller.name) if found is None else found


def _shown(request: Request, tenant: Tenant, room: Room) -> dict[str, Any]:
    lang = language_of(request)
    return {
        "room": room, "turns": bubbles(room, tenant.catalog, lang), "hows": HOWS, "able": talkers(tenant),
        "names": sorted(tenant.served), "picked": picked(tenant, room.pipeline), "most": talks.MOST_PEOPLE,
        "chips": {one.key: chips_of(one, tenant.catalog, lang) for one in room.people},
    }  # fmt: skip


def _kept(request: Request, response: Response, room: Room) -> Response:
    kept_in_cookie(response, request, talks.COOKIE, room.token, TALK_SECONDS, secret=True)
    return response


# ---------------------------------------------------------------------------------------------------------- talking
@router.post("/chat/say")
async def say(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Take up what somebody says; the answer follows as a stream, or at once for who comes without JavaScript."""
    tenant = tenant_of(request, caller)
    text, key = str(form.get("text", "")).strip(), str(form.get("speaker", ""))
    if not text or len(text) > LONGEST:
        raise OptionError(f"{len(text)} characters were said", hint=f"say something, in at most {LONGEST}")

    def taken() -> Room:
        room = talks.said(_room(request, caller), key, text)
        talks.keep_all(tenant.shelf, room)
        return room

    room = await asyncio.to_thread(taken)
    at = room.next - 1
    if not from_htmx(request):
        await _answer(_Asked(request, caller, tenant, room, at), lambda _: None)
        return _kept(request, RedirectResponse("/chat", 303), room)
    turns = [one for one in bubbles(room, tenant.catalog, language_of(request)) if one.at in (at - 1, at)]
    return _kept(request, piece(request, "chat/_turns.html", turns=turns, room=room), room)


@dataclass(frozen=True)
class _Asked:
    """A turn that waits for its answer at this place."""

    request: Request
    caller: Caller
    tenant: Tenant
    room: Room
    at: int

    @property
    def whose(self) -> tuple[Person, Line]:
        """Who said what. Raises MissingError."""
        for person, line in self.room.lines():
            if line.at == self.at - 1 and line.role == "user":
                return person, line
        raise MissingError("nothing was said there", hint="load the page again")

    @property
    def done(self) -> bool:
        """Whether it was answered."""
        return any(line.at == self.at for _, line in self.room.lines())


@router.get("/chat/reply")
def reply(request: Request, caller: PageRecommend, at: Place) -> StreamingResponse:
    """The answer as server-sent events: text as it comes, then end. What was answered already only ends."""
    asked = _Asked(request, caller, tenant_of(request, caller), _room(request, caller), at)
    assert asked.whose
    return StreamingResponse(_stream(asked), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _stream(asked: _Asked) -> AsyncIterator[bytes]:
    if not asked.done:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        work = asyncio.create_task(_answer(asked, lambda text: loop.call_soon_threadsafe(queue.put_nowait, text)))
        work.add_done_callback(lambda _: loop.call_soon(queue.put_nowait, None))
        try:
            while (text := await queue.get()) is not None:
                yield _event("text", text)
            await work
        finally:
            work.cancel()
    yield _event("end", "")


def _event(name: str, value: str) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


async def _answer(asked: _Asked, hear: Callable[[str], object]) -> None:
    """Work an answer out and keep it; a fault becomes an answer that says so."""
    person, line = asked.whose
    started, made, state = time.monotonic(), _failed(asked.at, ""), person.state
    try:
        if len(asked.room.people) > 1 and by_rules(line.text) == "recommend":
            made, state = await _for_all(asked, person, line, started)
        else:
            made, state = await _for_one(asked, person, started, hear)
    except HexarecError as error:
        made = _failed(asked.at, error.message)
    except Exception as error:
        log.error("a talk failed, request %s", request_id_of(asked.request), exc_info=error)
        made = _failed(asked.at, type(error).__name__)

    def kept() -> None:
        """Put it into the talk as it is now: meanwhile somebody else may have said something, or forgotten all."""
        now = talks.room_of(asked.tenant.shelf, asked.room.token, asked.room.who)
        if now is not None and any(one.key == person.key for one in now.people):
            talks.keep_person(asked.tenant.shelf, talks.answered(now, person.key, made, state), person.key)

    try:
        await asyncio.to_thread(kept)
    except StateError as error:  # erased in this moment: nothing may come back
        log.info("an answer was not kept: %s", error.message)


def _failed(at: int, why: str) -> Line:
    about = {"said": "failed", "degraded": [{"stage": "converse", "method": "page", "why": why}]}
    return Line(at, "assistant", "", (), about)


async def _for_one(
    asked: _Asked, person: Person, started: float, hear: Callable[[str], object]
) -> tuple[Line, Mapping[str, Any]]:
    """The conversationalist's answer to who spoke."""
    backend = backend_of(asked.request)
    served = asked.tenant.recommender(picked(asked.tenant, asked.room.pipeline))
    talk = Talk(backend, asked.tenant, asked.caller, served, request_id_of(asked.request))
    patience = min(PATIENCE_MS, backend.settings.longest_ms)
    # the lines of a list become cards: their text is not shown
    made = await talk.reply(
        person.dialogue(), lambda event: None if event.get("listed") else hear(str(event["text"])), patience
    )
    return line_of(asked.at, made, time.monotonic() - started), dict(made.reply.state)


async def _for_all(asked: _Asked, person: Person, line: Line, started: float) -> tuple[Line, Mapping[str, Any]]:
    """A list for everybody in the room; what was said is read by rules, so that no model is asked."""
    catalog, lang = asked.tenant.catalog, language_of(asked.request)
    turns = person.dialogue().turns
    talk = await asyncio.to_thread(lambda: heard(person.talk, turns, lexicon_of(catalog), catalog))
    now = replace(person, state=talk.as_json())
    people = asked.room.with_person(now).people
    members = [Member(one.user, _shown_to(one)) for one in people]
    backend = backend_of(asked.request)
    pipeline = picked(asked.tenant, asked.room.pipeline)

    async def answer(ask: Ask) -> Any:
        return await answered(
            backend, asked.caller, ask, request_id_of(asked.request), pipeline=pipeline,
            deadline_ms=min(PATIENCE_MS, backend.settings.longest_ms), show=False,
        )  # fmt: skip

    made = await together(answer, catalog, members, line.text, asked.room.how, SHOWN, lang)
    return group_line(asked.at, made, [one.key for one in people], time.monotonic() - started), dict(now.state)


def _shown_to(person: Person) -> Slots:
    """The slots of a person, who was also shown the items of the answers that they have not spoken to yet."""
    talk = person.talk
    items = [item for turn in person.dialogue().turns for item in turn.items]
    return replace(talk, shown=tuple(dict.fromkeys((*talk.shown, *items))))


@router.get("/chat/turn")
def turn(request: Request, caller: PageRead, at: Place) -> Response:
    """One answer, whole, and what the talk has come to."""
    tenant, room = tenant_of(request, caller), _room(request, caller)
    found = next(((one, line) for one, line in room.lines() if line.at == at and line.role == "assistant"), None)
    if found is None:
        raise MissingError("there is no answer", hint="the talk was forgotten, or the server stopped: say it again")
    told = _shown(request, tenant, room)
    told["turns"] = [bubble_of(room, *found, tenant.catalog, language_of(request))]
    return piece(request, "chat/_turn.html", **told)


# -------------------------------------------------------------------------------------------- what it has come to
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
    tenant, room = tenant_of(request, caller), _room(request, caller)
    person = room.person(str(form.get("speaker", "")))
    state = {**person.state, **change(person.talk).as_json()}
    if act == "forget":
        state[talks.FORGOTTEN] = [*state.get(talks.FORGOTTEN, ()), str(form.get("item", ""))]
    room = room.with_person(replace(person, state=state))
    talks.keep_all(tenant.shelf, room)
    if not from_htmx(request):
        return _kept(request, RedirectResponse("/chat", 303), room)
    made = piece(request, "chat/_noted.html", act=act, **_shown(request, tenant, room))
    return _kept(request, made, room)


@router.get("/chat/why")
async def why(request: Request, caller: PageRecommend, item: Short, speaker: Short = "") -> Response:
    """Why an item suits who was answered: evidence of their history and of what the talk knows."""
    tenant, lang = tenant_of(request, caller), language_of(request)
    room = await asyncio.to_thread(_room, request, caller)
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


# ------------------------------------------------------------------------------------------------------- the people
@router.post("/chat/people")
def people(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Rename somebody or say who they are, or take in another one."""
    tenant, room = tenant_of(request, caller), _room(request, caller)
    key, name = str(form.get("key", "")), " ".join(str(form.get("name", "")).split())
    user = str(form.get("user", "")).strip() or None
    if len(name) > LONGEST_NAME or not name.isprintable() or len(user or "") > 200:
        raise OptionError("the name is too long", hint=f"a name has at most {LONGEST_NAME} letters")
    if key:
        person = replace(room.person(key), name=name, user=user)
    elif len(room.people) >= talks.MOST_PEOPLE:
        raise OptionError(f"{talks.MOST_PEOPLE} people talk already", hint="let somebody leave first")
    else:
        person = talks.new_person(name, user)
    room = room.with_person(person)
    talks.keep_all(tenant.shelf, room)
    return _kept(request, RedirectResponse("/chat#people", 303), room)


@router.post("/chat/leave")
def leave(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Let somebody leave, with all they said."""
    tenant, room = tenant_of(request, caller), _room(request, caller)
    person = room.person(str(form.get("key", "")))
    if len(room.people) == 1:
        raise OptionError("nobody would be left", hint="forget the talk instead")
    left = replace(room, people=tuple(one for one in room.people if one.key != person.key))
    talks.keep_room(tenant.shelf, left)
    tenant.shelf.forget_dialogues([one for one in room.ids if one not in left.ids])
    return RedirectResponse("/chat#people", 303)


@router.post("/chat/settings")
def settings(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Which pipeline answers, and how a list for several is made."""
    tenant, room = tenant_of(request, caller), _room(request, caller)
    pipeline, how = str(form.get("pipeline", "")), str(form.get("how", room.how))
    tenant.recommender(pipeline or None)
    if how not in HOWS:
        raise OptionError(f"no way {how[:40]!r}", hint=", ".join(HOWS))
    room = replace(room, pipeline=pipeline, how=how)
    talks.keep_all(tenant.shelf, room)
    return _kept(request, RedirectResponse("/chat", 303), room)


@router.post("/chat/forget")
def forget(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Erase the talk: what was said, shown and noted. A late answer cannot bring it back."""
    tenant, room = tenant_of(request, caller), _room(request, caller)
    tenant.shelf.forget_dialogues(room.ids)
    response = RedirectResponse("/chat", 303)
    response.delete_cookie(talks.COOKIE, path="/")
    return response
