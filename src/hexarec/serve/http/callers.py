"""Who calls a route and whether they may: the scope stands beside the route, and in /openapi.json."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from hexarec.serve.keys import SCOPES, Caller
from hexarec.serve.request import backend_of


def admitted(request: Request, scope: str) -> Caller:
    """The caller, who has this scope and whose rate and budgets are not used up; counted once per request."""
    found: Caller | None = getattr(request.state, "caller", None)
    if found is not None:
        found.needs(scope)
        return found
    backend = backend_of(request)
    address = request.client.host if request.client else ""
    found = backend.doorkeeper.caller(request.headers, address)
    if found is None:
        raise HTTPException(401, "a valid key is needed", {"WWW-Authenticate": "Bearer"})
    request.state.caller = found
    found.needs(scope)
    if found.key is not None:
        backend.limits(found.tenant).admit(found.key)
    return found


def caller_with(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who has this scope."""
    assert scope in SCOPES

    async def caller(request: Request) -> Caller:
        return admitted(request, scope)

    return caller


MayRecommend = Annotated[Caller, Depends(caller_with("recommend"))]
MayEvents = Annotated[Caller, Depends(caller_with("events"))]
MayRead = Annotated[Caller, Depends(caller_with("read"))]
MayWrite = Annotated[Caller, Depends(caller_with("write"))]
MayExperiments = Annotated[Caller, Depends(caller_with("experiments"))]
MayJobs = Annotated[Caller, Depends(caller_with("jobs"))]
MayAdmin = Annotated[Caller, Depends(caller_with("admin"))]


def needs(scope: str) -> dict[str, Any]:
    """What a route says of its scope in /openapi.json."""
    return {"x-scope": scope}
