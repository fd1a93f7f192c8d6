"""The talk of a browser, for the routes of the chat: read, changed without losing what another window wrote, shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request, Response

from hexarec.parts.group import HOWS
from hexarec.serve.keys import Caller
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page import talks
from hexarec.serve.page.session import kept_in_cookie
from hexarec.serve.page.talks import Room
from hexarec.serve.page.values.chat import bubbles, chips_of, picked, talkers
from hexarec.serve.page.words import language_of
from hexarec.serve.request import tenant_of
from hexarec.serve.settings import TALK_SECONDS


def room_of(request: Request, caller: Caller) -> Room:
    """The talk of this browser, a new one where there is none."""
    shelf = tenant_of(request, caller).shelf
    found = talks.room_of(shelf, request.cookies.get(talks.COOKIE, ""), caller.name)
    return talks.new_room(caller.name) if found is None else found


def changed(request: Request, caller: Caller, change: Callable[[Room], Room]) -> tuple[Room, bool]:
    """The talk after a change that was kept, and whether another window wrote in the same moment."""
    return talks.changed(tenant_of(request, caller).shelf, lambda: room_of(request, caller), change)


def shown(request: Request, tenant: Tenant, room: Room) -> dict[str, Any]:
    """What the templates show of a talk."""
    lang = language_of(request)
    return {
        "room": room, "turns": bubbles(room, tenant.catalog, lang), "hows": HOWS, "able": talkers(tenant),
        "names": sorted(tenant.served), "picked": picked(tenant, room.pipeline), "most": talks.MOST_PEOPLE,
        "chips": {one.key: chips_of(one, tenant.catalog, lang) for one in room.people},
    }  # fmt: skip


def in_cookie(request: Request, response: Response, room: Room) -> Response:
    """The response, with the talk's name in its cookie."""
    kept_in_cookie(response, request, talks.COOKIE, room.token, TALK_SECONDS, secret=True)
    return response
