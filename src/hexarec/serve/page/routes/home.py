"""Home: is all well, and a list to try."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from hexarec.serve.answering import answered
from hexarec.serve.keys import Caller
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.search import grounder_of
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageRead, PageRecommend
from hexarec.serve.page.values.home import health
from hexarec.serve.page.values.lists import Card, Shown, cards_of, shown
from hexarec.serve.page.words import language_of
from hexarec.serve.request import answer_id_of, backend_of, tenant_of
from hexarec.serve.store.rows import EventRow

router: APIRouter = page_router()
LENGTH = 6
PATIENCE_MS = 15_000
"""A person who watches waits longer for reasons than a shop does."""
SUGGESTED = 12
Written = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Liked = Annotated[list[Written], Query(max_length=10)]


@dataclass(frozen=True)
class Tried:
    """What came of trying. near: titles for what names no item; liked: the items that were found."""

    user: str
    liked: tuple[Card, ...] = ()
    near: tuple[tuple[str, tuple[str, ...]], ...] = ()
    list: Shown | None = None


@router.get("/")
async def home(request: Request, caller: PageRead, user: Written = "", like: Liked = []) -> Response:  # noqa: B006
    """The first page; with a user or films in the address, for who comes without JavaScript, also their list."""
    tenant = tenant_of(request, caller)
    checks = await asyncio.to_thread(health, tenant)
    tried = None
    if user.strip() or any(one.strip() for one in like):
        caller.needs("recommend")
        tried = await _tried(request, caller, user, like)
    return page(request, "home/home.html", checks=checks, tried=tried, user=user, like=[*like, "", "", ""][:3])


@router.get("/home/list")
async def tried(request: Request, caller: PageRecommend, user: Written = "", like: Liked = []) -> Response:  # noqa: B006
    """A list with reasons, for a user or for who likes these films."""
    return piece(request, "home/_tried.html", tried=await _tried(request, caller, user, like))


@router.get("/home/users")
def users(request: Request, caller: PageRead, user: Written = "") -> Response:
    """Users whose id begins like this."""
    found = tenant_of(request, caller).shelf.people(user.strip(), SUGGESTED)
    return piece(request, "home/_options.html", options=[(one, "") for one in found])


@router.get("/home/items")
def items(request: Request, caller: PageRead, like: Written = "") -> Response:
    """Items with such a title."""
    tenant = tenant_of(request, caller)
    found = grounder_of(tenant).holding(like, SUGGESTED)
    cards = cards_of(tenant.catalog, found, language_of(request))
    return piece(request, "home/_options.html", options=[(one.title, one.id) for one in cards])


async def _tried(request: Request, caller: Caller, user: str, like: list[str]) -> Tried:
    tenant, lang, user = tenant_of(request, caller), language_of(request), user.strip()
    found, near = ([], ()) if user else await asyncio.to_thread(_read, tenant, [one for one in like if one.strip()])
    if not user and not found:
        return Tried(user, near=tuple(near))
    history = tuple(EventRow("", item, float(place), "like") for place, item in enumerate(found))
    ask = Ask(user=user or None, history=history, k=LENGTH, explain=True, lang=lang)
    patience = min(PATIENCE_MS, backend_of(request).settings.longest_ms)
    made = await answered(
        backend_of(request), caller, ask, answer_id_of(request), deadline_ms=patience, show=False
    )  # nobody is shown this list: it is no exposure
    cards = tuple(cards_of(tenant.catalog, found, lang))
    return Tried(user, cards, tuple(near), shown(made, tenant.catalog, lang))


def _read(tenant: Tenant, written: list[str]) -> tuple[list[str], list[tuple[str, tuple[str, ...]]]]:
    """Ids of what was written, and what is near to that which names nothing."""
    finder, found, near = grounder_of(tenant), [], []
    for words in written:
        item, _ = finder.find(words)
        if item is None:
            near.append((words, tuple(finder.near(words))))
        else:
            found.append(item)
    return list(dict.fromkeys(found)), near
