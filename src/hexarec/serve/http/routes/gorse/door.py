"""The one router of gorse's routes, whose keys may come in its header."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from hexarec.serve.http.bodies import StrictRoute


class GorseRoute(StrictRoute):
    """A route that also takes a key from the header X-API-Key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual one, which sees the key where it looks for one."""
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            given = request.headers.get("x-api-key")
            if given is not None and "authorization" not in request.headers:
                bearer = (b"authorization", b"Bearer " + given.encode("latin-1"))
                request = Request({**request.scope, "headers": [*request.scope["headers"], bearer]}, request.receive)
            return await usual(request)

        return handler


router = APIRouter(prefix="/api", route_class=GorseRoute, tags=["gorse"])
