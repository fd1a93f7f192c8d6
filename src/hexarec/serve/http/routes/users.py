"""Users: what they stated, everything held on them, and their erasure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import StreamingResponse

from hexarec.serve.erase import erased
from hexarec.serve.errors import MissingError
from hexarec.serve.http.answers import users as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayAdmin, MayRead, MayWrite, needs
from hexarec.serve.http.listings import After, Most, next_of
from hexarec.serve.http.shapes import UserBody, UserId
from hexarec.serve.request import request_id_of, tenant_of
from hexarec.serve.store.rows import UserRow

router = APIRouter(route_class=StrictRoute, tags=["users"])


class Lines(StreamingResponse):
    """JSON lines as they are made."""

    media_type = "application/x-ndjson"


def told(row: UserRow) -> dict[str, Any]:
    """A user as they go out."""
    made = asdict(row)
    made["user_id"] = made.pop("id")
    return made


@router.get("/v1/users", openapi_extra=needs("read"), response_model=answers.UserPage)
def listed(request: Request, caller: MayRead, after: After = "", limit: Most = 100) -> dict[str, Any]:
    """Users by id, from behind `after`."""
    rows = tenant_of(request, caller).shelf.users(after, limit)
    return {"users": [told(row) for row in rows], "next": next_of(rows, limit)}


@router.get("/v1/users/{user_id}", openapi_extra=needs("read"), response_model=answers.StoredUser)
def read(request: Request, caller: MayRead, user_id: Annotated[UserId, Path()]) -> dict[str, Any]:
    """One user."""
    found = tenant_of(request, caller).shelf.user(user_id)
    if found is None:
        raise MissingError("no such user", hint="users without stated attributes are known by their events only")
    return told(found)


@router.put("/v1/users/{user_id}", openapi_extra=needs("write"), response_model=answers.StoredUser)
def put(request: Request, caller: MayWrite, user_id: Annotated[UserId, Path()], body: UserBody) -> dict[str, Any]:
    """Store what a user states."""
    row = UserRow(user_id, dict(body.attributes), body.lang)
    tenant_of(request, caller).shelf.put_users([row])
    return told(row)


@router.get(
    "/v1/users/{user_id}/export", openapi_extra=needs("admin"), response_class=Lines,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)  # fmt: skip
def export(request: Request, caller: MayAdmin, user_id: Annotated[UserId, Path()]) -> StreamingResponse:
    """Everything held on a user as JSON lines, each with the table it comes from."""
    tenant = tenant_of(request, caller)
    tenant.shelf.audit(caller.name, "export user", "one user", request_id_of(request))

    def lines() -> Iterator[bytes]:
        for row in tenant.shelf.export_user(user_id):
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"

    return Lines(lines())


@router.delete("/v1/users/{user_id}", openapi_extra=needs("admin"), response_model=answers.Erased)
def erase(request: Request, caller: MayAdmin, user_id: Annotated[UserId, Path()], scrub: bool = True) -> dict[str, Any]:
    """Erase a user everywhere: rows, caches, profiles, and the saved pipelines that knew them.

    scrub: also rewrite the database file, so that no byte is left in free pages.
    """
    tenant = tenant_of(request, caller)
    counts = erased(tenant, user_id, scrub=False)
    tenant.shelf.audit(caller.name, "erase user", "one user", request_id_of(request))
    if scrub:
        tenant.shelf.scrub()
    return {"erased": counts}
