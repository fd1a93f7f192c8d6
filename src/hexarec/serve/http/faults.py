"""One error shape: {"error": {type, message, hint, field, request_id}}, for every error of every route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hexarec.core import errors
from hexarec.serve import errors as served
from hexarec.serve.statuses import status_of

UNIONS = frozenset({"NewEvent", "Events", "Document", "PastEvent"})
"""Types of ours that pydantic names in the place of an error, where a body may be one of several."""


class Refused(HTTPException):
    """A request that is not read further; raised anywhere below the guards, it reaches the client as it is."""

    def __init__(self, status: int, type_: str, message: str, hint: str = "") -> None:
        self.type, self.hint = type_, hint
        super().__init__(status, message)


def told(
    type_: str, message: str, *, hint: str = "", field: str = "", request_id: str = "", **more: Any
) -> dict[str, Any]:
    """The body of an error."""
    body: dict[str, Any] = {"type": type_, "message": message, "hint": hint or None, "field": field or None}
    return {"error": {**body, **more, "request_id": request_id or None}}


def response(
    status: int, type_: str, message: str, *, request: Request | None = None, headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:  # fmt: skip
    """The response of an error."""
    request_id = "" if request is None else getattr(request.state, "request_id", "")
    return JSONResponse(told(type_, message, request_id=request_id, **more), status, dict(headers or {}))


def of_error(error: errors.HexarecError, request: Request | None = None) -> JSONResponse:
    """The response of an error raised on purpose."""
    status, type_ = status_of(error)
    headers = {}
    if isinstance(error, served.LimitError):
        headers["Retry-After"] = str(max(1, round(error.after)))
    elif status == 503:
        headers["Retry-After"] = "1"
    field = getattr(error, "field", "") or ""
    return response(status, type_, error.message, request=request, headers=headers, hint=error.hint, field=field)


def install(app: FastAPI) -> None:
    """Answer every error raised on purpose in the one shape; faults of ours are answered by the guards."""

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.HexarecError)
        return of_error(error, request)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        broken = first["type"] == "json_invalid"
        given = [str(part) for part in first["loc"][1:]]
        parts = [part for part in given if part not in UNIONS]
        field = "" if broken else ".".join(parts)
        ctx = first.get("ctx", {}).get("error")
        message = str(ctx) if broken and ctx is not None else first["msg"]
        if first["type"] == "extra_forbidden":
            message = f"there is no field {given[-1][:80]!r} here"
        return response(422, "invalid", message, request=request, field=field, hint="see /openapi.json")

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        names = {401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
        kind = error.type if isinstance(error, Refused) else names.get(error.status_code, "invalid")
        hint = error.hint if isinstance(error, Refused) else ""
        return response(error.status_code, kind, str(error.detail), request=request, headers=error.headers, hint=hint)

    app.add_exception_handler(errors.HexarecError, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
