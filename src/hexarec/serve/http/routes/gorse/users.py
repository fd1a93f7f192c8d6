"""Users in gorse's shape: stored, changed, read, erased."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from hexarec.serve.erase import erased
from hexarec.serve.errors import MissingError
from hexarec.serve.http.callers import MayAdmin, MayRead, MayWrite, needs
from hexarec.serve.http.listings import After, Most, next_of
from hexarec.serve.http.routes.gorse.door import router
from hexarec.serve.http.routes.gorse.shapes import (
    Success,
    User,
    UserChange,
    UserInPath,
    UsersFrom,
    attributes_of,
    labels_of,
)
from hexarec.serve.http.shapes import MOST_ITEMS
from hexarec.serve.request import request_id_of, tenant_of
from hexarec.serve.store.rows import UserRow


@router.post("/user", openapi_extra=needs("write"))
def insert_user(request: Request, caller: MayWrite, body: User) -> Success:
    """Store a user."""
    return insert_users(request, caller, [body])


@router.post("/users", openapi_extra=needs("write"))
def insert_users(
    request: Request, caller: MayWrite, body: Annotated[list[User], Field(min_length=1, max_length=MOST_ITEMS)]
) -> Success:
    """Store users."""
    rows = [UserRow(one.UserId, _joined(attributes_of(one.Labels), one.Comment)) for one in body]
    tenant_of(request, caller).shelf.put_users(rows)
    return Success(RowAffected=len(rows))


@router.get("/users", openapi_extra=needs("read"))
def users(request: Request, caller: MayRead, cursor: After = "", n: Most = 10) -> UsersFrom:
    """Users by id."""
    rows = tenant_of(request, caller).shelf.users(cursor, n)
    return UsersFrom(Cursor=next_of(rows, n) or "", Users=[_user(row) for row in rows])


@router.get("/user/{user_id}", openapi_extra=needs("read"))
def user(request: Request, caller: MayRead, user_id: UserInPath) -> User:
    """One user."""
    row = tenant_of(request, caller).shelf.user(user_id)
    if row is None:
        raise MissingError("no such user")
    return _user(row)


@router.patch("/user/{user_id}", openapi_extra=needs("write"))
def patch_user(request: Request, caller: MayWrite, user_id: UserInPath, body: UserChange) -> Success:
    """Change some fields of a user, labels as a whole; who is known by events only states them first."""
    tenant_of(request, caller).shelf.change_user(user_id, partial(_patched, patch=body))
    return Success(RowAffected=1)


@router.delete("/user/{user_id}", openapi_extra=needs("admin"))
def delete_user(request: Request, caller: MayAdmin, user_id: UserInPath) -> Success:
    """Erase a user everywhere, as DELETE /v1/users/{user_id} does."""
    tenant = tenant_of(request, caller)
    counts = erased(tenant, user_id, scrub=False)
    tenant.shelf.audit(caller.name, "erase user", "one user", request_id_of(request))
    tenant.shelf.scrub()
    return Success(RowAffected=counts["users"])


def _patched(old: UserRow, patch: UserChange) -> UserRow:
    labels = dict(old.attributes)
    comment = labels.pop("comment", None)
    if patch.Labels is not None:
        labels = attributes_of(patch.Labels)
    return replace(old, attributes=_joined(labels, comment if patch.Comment is None else patch.Comment))


def _user(row: UserRow) -> User:
    attributes = dict(row.attributes)
    comment = str(attributes.pop("comment", "") or "")
    return User.model_construct(UserId=row.id, Labels=labels_of(attributes), Comment=comment)


def _joined(labels: dict[str, Any], comment: Any) -> dict[str, Any]:
    return labels | ({"comment": comment} if comment else {})
