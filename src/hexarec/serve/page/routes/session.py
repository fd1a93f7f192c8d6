"""Logging in and out, and the two choices that a browser keeps: language and theme."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from hexarec.serve.errors import LimitError
from hexarec.serve.page.render import THEME, THEMES, page
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import COOKIE, PageForm, kept_in_cookie, viewer_of
from hexarec.serve.page.words import COOKIE as LANGUAGE
from hexarec.serve.page.words import LANGUAGES
from hexarec.serve.passes import closed, opened_by
from hexarec.serve.request import backend_of, request_id_of

router: APIRouter = page_router()
YEAR = 365 * 86_400.0
Token = Annotated[str, Query(max_length=200)]
Next = Annotated[str, Query(max_length=2_000)]


def local(address: object) -> str:
    """The address when it is one of this page, else the first page: nobody is sent to another site."""
    text = str(address or "/")
    parts = urlsplit(text)
    harmless = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if harmless and text.isprintable() and "\\" not in text else "/"


@router.get("/login")
async def login_form(request: Request, link: Token = "", next: Next = "/") -> Response:
    """Where a key is pasted, or a one-time link opened: only its button uses it up, so that no preview does."""
    if viewer_of(request) is not None and not link:
        return RedirectResponse(local(next), 303)
    return page(request, "session/login.html", link=link, next=local(next), wrong="")


@router.post("/login")
def login(request: Request, form: PageForm) -> Response:
    """Open the page for who shows a key or a link."""
    token, link = str(form.get("key", "")).strip()[:200], str(form.get("link", "")).strip()[:200]
    address = request.client.host if request.client else ""
    try:
        made = opened_by(backend_of(request), link or token, address, request_id_of(request))
        wrong = "" if made else "link_used" if link else "key_wrong"
    except LimitError:
        made, wrong = None, "too_many"
    if made is None:
        told = {"link": "", "next": local(form.get("next")), "wrong": wrong}
        return page(request, "session/login.html", status=429 if wrong == "too_many" else 403, **told)
    response = RedirectResponse(local(form.get("next")), 303)
    kept_in_cookie(response, request, COOKIE, *made, secret=True)
    return response


@router.post("/logout")
def logout(request: Request, form: PageForm) -> Response:
    """End the session."""
    closed(backend_of(request), request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.post("/language")
def language(request: Request, form: PageForm) -> Response:
    """Read the page in another language from now on."""
    return _chosen(request, form, LANGUAGE, form.get("lang"), tuple(LANGUAGES))


@router.post("/theme")
def theme(request: Request, form: PageForm) -> Response:
    """Light, dark, or as the system says, from now on."""
    return _chosen(request, form, THEME, form.get("theme"), THEMES)


def _chosen(request: Request, form: FormData, name: str, value: object, known: tuple[str, ...]) -> Response:
    response = RedirectResponse(local(form.get("next")), 303)
    if value in known:
        kept_in_cookie(response, request, name, str(value), YEAR, secret=False)
    return response
