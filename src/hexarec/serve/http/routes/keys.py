"""Keys and the audit log, for the admin."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import StringConstraints

from hexarec.serve.http.answers import keys as answers
from hexarec.serve.http.bodies import StrictRoute
from hexarec.serve.http.callers import MayAdmin, needs
from hexarec.serve.http.shapes import NewKey
from hexarec.serve.keyring import issued, replaced, revoked
from hexarec.serve.limits import day_of
from hexarec.serve.passes import is_pass
from hexarec.serve.request import request_id_of, tenant_of
from hexarec.serve.store.rows import KeyRow

router = APIRouter(route_class=StrictRoute, tags=["keys"])
KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,64}$"), Path()]


def told(row: KeyRow, spent: dict[str, Any]) -> dict[str, Any]:
    """A key as it goes out: without secret or digest."""
    return {
        "id": row.id, "name": row.name, "scopes": sorted(row.scopes), "created": row.created, "expires": row.expires,
        "revoked": row.revoked, "rate": row.rate, "burst": row.burst, "calls": row.calls, "tokens": row.tokens,
        "dollars": row.dollars, "spent_today": spent,
    }  # fmt: skip


@router.get("/v1/keys", openapi_extra=needs("admin"), response_model=answers.Keys)
def listed(request: Request, caller: MayAdmin) -> dict[str, Any]:
    """All keys of the tenant with what they spent today."""
    shelf, today = tenant_of(request, caller).shelf, day_of(time.time())
    return {"keys": [told(row, dict(shelf.spent(row.id, today))) for row in shelf.keys() if not is_pass(row)]}


@router.post("/v1/keys", openapi_extra=needs("admin"), status_code=201, response_model=answers.MadeKey)
def create(request: Request, caller: MayAdmin, body: NewKey) -> dict[str, Any]:
    """A new key; the secret is shown here and never again."""
    shelf = tenant_of(request, caller).shelf
    row, secret = issued(shelf, caller.name, request_id_of(request), **body.model_dump())
    return {**told(row, {}), "key": secret}


@router.post("/v1/keys/{key_id}/rotate", openapi_extra=needs("admin"), status_code=201, response_model=answers.MadeKey)
def rotate(
    request: Request, caller: MayAdmin, key_id: KeyId, overlap: Annotated[float, Query(ge=0, le=2_592_000)] = 3_600.0
) -> dict[str, Any]:
    """A new key with the same scopes and limits; the old one ends after `overlap` seconds."""
    row, secret = replaced(tenant_of(request, caller).shelf, caller.name, request_id_of(request), key_id, overlap)
    return {**told(row, {}), "key": secret}


@router.delete("/v1/keys/{key_id}", openapi_extra=needs("admin"), response_model=answers.Revoked)
def revoke(request: Request, caller: MayAdmin, key_id: KeyId) -> dict[str, bool]:
    """Revoke a key; every server refuses it within a second."""
    revoked(tenant_of(request, caller).shelf, caller.name, request_id_of(request), key_id)
    return {"revoked": True}


@router.get("/v1/audit", openapi_extra=needs("admin"), response_model=answers.Audit)
def audit(
    request: Request, caller: MayAdmin, after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:  # fmt: skip
    """The audit log from behind `after`, and the first broken link, if the log was tampered with."""
    shelf = tenant_of(request, caller).shelf
    rows = [vars(row) for row in shelf.audit_rows(after, limit)]
    return {"rows": rows, "broken_at": shelf.audit_check()}
