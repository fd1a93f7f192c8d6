"""What the routes of the API and of the page read off a request alike: the backend, the caller's tenant, the id."""

from __future__ import annotations

from fastapi import Request

from hexarec.serve.backend import Backend
from hexarec.serve.keys import Caller
from hexarec.serve.live.tenant import Tenant


def backend_of(request: Request) -> Backend:
    """The server's backend."""
    made: Backend = request.app.state.backend
    return made


def tenant_of(request: Request, caller: Caller) -> Tenant:
    """The caller's tenant."""
    return backend_of(request).service.tenant(caller.tenant)


def request_id_of(request: Request) -> str:
    """The id under which the request stands in headers, errors and logs: the client's, where it sent one."""
    made: str = request.state.request_id
    return made


def answer_id_of(request: Request) -> str:
    """The id under which the answer is logged and kept: ours, though it begins with the client's id of the request."""
    made: str = request.state.answer_id
    return made


def answer_header(request: Request) -> dict[str, str]:
    """The header that names the answer, also where the body has no place for its id."""
    return {"x-answer-id": answer_id_of(request)}
