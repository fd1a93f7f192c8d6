"""Who takes part in a talk, how it is answered, and its end."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.core import OptionError
from hexarec.parts.group import HOWS
from hexarec.serve.page import talks
from hexarec.serve.page.routes.chat.room import changed, in_cookie, room_of
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageForm, PageRecommend
from hexarec.serve.page.talks import Room
from hexarec.serve.request import tenant_of

router: APIRouter = page_router()
LONGEST_NAME = 40


@router.post("/chat/people")
def people(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Rename somebody or say who they are, or take in another one."""
    key, name = str(form.get("key", "")), " ".join(str(form.get("name", "")).split())
    user = str(form.get("user", "")).strip() or None
    if len(name) > LONGEST_NAME or not name.isprintable() or len(user or "") > 200:
        raise OptionError("the name is too long", hint=f"a name has at most {LONGEST_NAME} letters")
    fresh = talks.new_person(name, user)

    def after(room: Room) -> Room:
        if key:
            return room.with_person(replace(room.person(key), name=name, user=user))
        if len(room.people) >= talks.MOST_PEOPLE:
            raise OptionError(f"{talks.MOST_PEOPLE} people talk already", hint="let somebody leave first")
        return room.with_person(fresh)

    room, _ = changed(request, caller, after)
    return in_cookie(request, RedirectResponse("/chat#people", 303), room)


@router.post("/chat/leave")
def leave(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Let somebody leave, with all they said."""
    key = str(form.get("key", ""))

    def after(room: Room) -> Room:
        gone = room.person(key)
        if len(room.people) == 1:
            raise OptionError("nobody would be left", hint="forget the talk instead")
        return replace(room, people=tuple(one for one in room.people if one.key != gone.key))

    room, _ = changed(request, caller, after)
    tenant_of(request, caller).shelf.forget_dialogues([one for one in room.kept if one not in room.ids])
    return RedirectResponse("/chat#people", 303)


@router.post("/chat/settings")
def settings(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Which pipeline answers, and how a list for several is made."""
    pipeline, how = str(form.get("pipeline", "")), form.get("how")
    tenant_of(request, caller).recommender(pipeline or None)
    if how is not None and how not in HOWS:
        raise OptionError(f"no way {str(how)[:40]!r}", hint=", ".join(HOWS))
    room, _ = changed(request, caller, lambda room: replace(room, pipeline=pipeline, how=how or room.how))
    return in_cookie(request, RedirectResponse("/chat", 303), room)


@router.post("/chat/forget")
def forget(request: Request, caller: PageRecommend, form: PageForm) -> Response:
    """Erase the talk: what was said, shown and noted. A late answer cannot bring it back."""
    talks.forget(tenant_of(request, caller).shelf, lambda: room_of(request, caller))
    response = RedirectResponse("/chat", 303)
    response.delete_cookie(talks.COOKIE, path="/")
    return response
