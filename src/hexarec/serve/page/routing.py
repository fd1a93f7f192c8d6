"""Routes of the page: not in /openapi.json; what goes wrong is told as a page, or as a piece where htmx asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from hexarec.core.errors import HexarecError
from hexarec.serve.addresses import with_slashes
from hexarec.serve.errors import ForbiddenError
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.session import COOKIE
from hexarec.serve.statuses import status_of

log = logging.getLogger("hexarec.serve")


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual one, with errors told to a person."""
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            request.scope["path_params"] = with_slashes(request.scope["path_params"])
            try:
                return await usual(request)
            except HexarecError as error:
                return failed(request, error)
            except RequestValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"][1:])
                return _told(request, 422, f"{field}: {first['msg']}", "")
            except HTTPException as error:
                return _to_login(request) if error.status_code == 401 else _told(
                    request, error.status_code, str(error.detail), ""
                )  # fmt: skip
            except Exception:
                if from_htmx(request) or request.method != "GET":
                    raise  # the guards answer it, and page.js tells it
                log.exception("fault in %s, request %s", self.path, request.state.request_id)
                return _told(request, 500, "a fault of the server", "tell its operator the request id")

        return handler


def page_router() -> APIRouter:
    """A router for one page."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def from_htmx(request: Request) -> bool:
    """Whether a piece is wanted, not a page."""
    return request.headers.get("hx-request") == "true"


def failed(request: Request, error: HexarecError) -> Response:
    """The page, or the piece, of an error raised on purpose."""
    status, _ = status_of(error)
    scope = isinstance(error, ForbiddenError)
    return _told(request, status, error.message, error.hint, scope=scope)


def _told(request: Request, status: int, message: str, hint: str, scope: bool = False) -> Response:
    told = {"code": status, "message": message, "hint": hint, "needs_scope": scope,
            "request_id": request.state.request_id}  # fmt: skip
    if from_htmx(request):
        return piece(request, "_error.html", status=status, **told)
    return page(request, "error.html", status=status, **told)


def _to_login(request: Request) -> Response:
    """Send a stranger to the login page, and forget a cookie that opens nothing."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    where = "/login" if request.method != "GET" or from_htmx(request) else f"/login?next={quote(here, safe='')}"
    made = Response(status_code=401, headers={"hx-redirect": where}) if from_htmx(request) else RedirectResponse(
        where, 303
    )  # fmt: skip
    if COOKIE in request.cookies:
        made.delete_cookie(COOKIE, path="/")
    return made
