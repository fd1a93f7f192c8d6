"""Who is looking, and whether they may: the cookie of a session, and each route's scope as a dependency."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request, Response
from starlette.datastructures import FormData, UploadFile

from hexarec.core import OptionError
from hexarec.serve.keys import SCOPES, Caller
from hexarec.serve.passes import viewer
from hexarec.serve.request import backend_of

COOKIE = "hexarec_session"
MOST_FIELDS = 500
FREE = frozenset({"read", "admin"})
"""Scopes whose pages only look or change settings; the others count as calls of the key, as in the API."""


def viewer_of(request: Request) -> Caller | None:
    """Who looks: by the cookie, or the owner of a machine without keys; None for a stranger."""
    state = request.scope.setdefault("state", {})
    if state.get("caller") is None:
        doorkeeper = backend_of(request).doorkeeper
        cookie = request.cookies.get(COOKIE)
        state["caller"] = (viewer(doorkeeper, cookie) if cookie else None) or doorkeeper.anybody()
    found: Caller | None = state["caller"]
    return found


def viewer_with(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: who looks, and has this scope."""
    assert scope in SCOPES

    async def caller(request: Request) -> Caller:
        found = viewer_of(request)
        if found is None:
            raise HTTPException(401, "log in first")
        found.needs(scope)
        if found.key is not None and scope not in FREE:
            backend_of(request).limits(found.tenant).admit(found.key)
        return found

    return caller


PageRecommend = Annotated[Caller, Depends(viewer_with("recommend"))]
PageEvents = Annotated[Caller, Depends(viewer_with("events"))]
PageRead = Annotated[Caller, Depends(viewer_with("read"))]
PageWrite = Annotated[Caller, Depends(viewer_with("write"))]
PageExperiments = Annotated[Caller, Depends(viewer_with("experiments"))]
PageJobs = Annotated[Caller, Depends(viewer_with("jobs"))]
PageAdmin = Annotated[Caller, Depends(viewer_with("admin"))]


async def form_of(request: Request) -> FormData:
    """The fields of a form that was sent. Raises OptionError for another body."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = await request.body()
    if kind != "application/x-www-form-urlencoded" and (kind or body):
        raise OptionError("this is no form of the page", hint="send it from the page")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise OptionError("the form cannot be read") from None
    if any("\0" in part for pair in fields for part in pair):
        raise OptionError("the form holds a NUL character")
    return FormData(list[tuple[str, str | UploadFile]](fields))


PageForm = Annotated[FormData, Depends(form_of)]
"""The fields; put it behind the caller, so that nothing of a stranger is read."""


def kept_in_cookie(response: Response, request: Request, name: str, value: str, seconds: float, secret: bool) -> None:
    """Set a cookie of the page: strict, and where it is secret out of reach of scripts."""
    response.set_cookie(name, value, max_age=int(seconds), path="/", httponly=secret, samesite="strict",
                        secure=request.url.scheme == "https")  # fmt: skip
