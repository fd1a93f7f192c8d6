"""JSON of strangers: capped in depth, without NaN, without half letters; a body that breaks a rule is a 4xx."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from math import isinf
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from hexarec.core.errors import DataError
from hexarec.serve.addresses import with_slashes
from hexarec.serve.http.callers import admitted
from hexarec.serve.request import backend_of

DEPTH = 64
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[{\]}]")
_LONG_NUMBER = re.compile(rb"[0-9]{400,}")


def strict_json(raw: bytes, depth: int = DEPTH) -> Any:
    """The value of a JSON text. Raises DataError for anything else than strict JSON of at most this depth."""
    if raw.count(b"[") + raw.count(b"{") > depth and _depth(raw) > depth:
        raise DataError(f"the JSON is nested deeper than {depth}")
    if _LONG_NUMBER.search(raw):
        raise DataError("a number in the JSON has more than 400 digits")
    try:
        value = json.loads(raw.decode(), parse_constant=_refused, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from None
    if b"\\u" in raw and not _whole(value):
        raise DataError("the JSON holds half a surrogate pair", hint="send text as UTF-8")
    return value


def _depth(raw: bytes) -> int:
    deepest = level = 0
    for found in _BRACKETS.finditer(_QUOTED.sub(b"", raw)):
        level += 1 if found[0] in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise ValueError(f"{digits[:40]} is too large a number")
    return value


def _whole(value: Any) -> bool:
    """Whether every string can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class _StrictRequest(Request):
    async def json(self) -> Any:
        """The body by `strict_json`; FastAPI reports the error as one of the body."""
        if not hasattr(self, "_json"):
            try:
                self._json = strict_json(await self.body(), backend_of(self).settings.depth)
            except DataError as error:
                raise json.JSONDecodeError(error.message, "", 0) from None
        return self._json


class StrictRoute(APIRoute):
    """A route that knows its caller before it reads the body, and reads JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual one, given a strict request of somebody who may send it."""
        usual = super().get_route_handler()
        scope: str = (self.openapi_extra or {})["x-scope"]
        known = {one.alias for one in self.dependant.query_params}

        async def handler(request: Request) -> Response:
            admitted(request, scope)
            if unknown := set(request.query_params) - known:
                raise DataError("the address has a parameter that nobody reads", field=min(unknown)[:80])
            request.scope["path_params"] = with_slashes(request.scope["path_params"])
            return await usual(_StrictRequest(request.scope, request.receive))

        return handler
