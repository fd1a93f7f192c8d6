"""Turns of a talk: what somebody says is taken up at once, the answer follows as a stream."""

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

from hexarec.core import OptionError
from hexarec.core.errors import HexarecError
from hexarec.parts.intent import by_rules
from hexarec.parts.said import lexicon_of
from hexarec.parts.talk import Talk as Slots
from hexarec.parts.talk import heard
from hexarec.serve.answering import answered
from hexarec.serve.errors import MissingError
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.live.together import Member, together
from hexarec.serve.page import talks
from hexarec.serve.page.render import piece
from hexarec.serve.page.routes.chat.room import changed, in_cookie, room_of, shown
from hexarec.serve.page.routing import from_htmx, page_router
from hexarec.serve.page.session import PageForm, PageRead, PageRecommend
from hexarec.serve.page.talks import Line, Person, Room
from hexarec.serve.page.values.chat import bubble_of, bubbles, group_line, line_of, picked
from hexarec.serve.page.words import language_of
from hexarec.serve.request import answer_id_of, backend_of, request_id_of, tenant_of
from hexarec.serve.talking import Talk

router: APIRouter = page_router()
log = logging.getLogger("hexarec.serve")
SHOWN = 5
LONGEST = 2_000
PATIENCE_MS = 60_000
Place = Annotated[int, Query(ge=0, le=10**6)]


@router.post("/chat/say")
async def say(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Take up what somebody says; the answer follows as a stream, or at once for who comes without JavaScript."""
    tenant = tenant_of(request, caller)
    text, key = str(form.get("text", "")).strip(), str(form.get("speaker", ""))
    if not text or len(text) > LONGEST:
        raise OptionError(f"{len(text)} characters were said", hint=f"say something, in at most {LONGEST}")

    room, meanwhile = await asyncio.to_thread(changed, request, caller, lambda room: talks.said(room, key, text))
    at = room.next - 1
    if not from_htmx(request):
        await _answer(_Asked(request, caller, tenant, room, at), lambda _: None)
        return in_cookie(request, RedirectResponse("/chat", 303), room)
    turns = [one for one in bubbles(room, tenant.catalog, language_of(request)) if one.at in (at - 1, at)]
    made = piece(request, "chat/_said.html", turns=turns, room=room, meanwhile=meanwhile)
    return in_cookie(request, made, room)


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
    asked = _Asked(request, caller, tenant_of(request, caller), room_of(request, caller), at)
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

    def now() -> Room:
        """The talk as it is now: meanwhile somebody may have said something, noted something, or forgotten all."""
        found = talks.room_of(asked.tenant.shelf, asked.room.token, asked.room.who)
        if found is None:
            raise MissingError("the talk was forgotten")
        return found

    def after(room: Room) -> Room:
        return talks.answered(room, person.key, made, person.state, state)

    try:
        await asyncio.to_thread(talks.changed, asked.tenant.shelf, now, after)
    except HexarecError as error:  # left or erased in this moment: nothing may come back
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
    talk = Talk(backend, asked.tenant, asked.caller, served, answer_id_of(asked.request))
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
            backend, asked.caller, ask, answer_id_of(asked.request), pipeline=pipeline,
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
    tenant, room = tenant_of(request, caller), room_of(request, caller)
    found = next(((one, line) for one, line in room.lines() if line.at == at and line.role == "assistant"), None)
    if found is None:
        raise MissingError("there is no answer", hint="the talk was forgotten, or the server stopped: say it again")
    told = shown(request, tenant, room)
    told["turns"] = [bubble_of(room, *found, tenant.catalog, language_of(request))]
    return piece(request, "chat/_turn.html", **told)
