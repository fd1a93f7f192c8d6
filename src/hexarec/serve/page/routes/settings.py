"""Keys and settings, for the admin: keys, sessions, the audit log, and where each setting comes from."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.core import OptionError
from hexarec.serve.keyring import issued, known, replaced, revoked
from hexarec.serve.keys import ROLES, SCOPES, Caller
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import COOKIE, PageAdmin, PageForm, kept_in_cookie
from hexarec.serve.page.values.settings import (
    LIMITS,
    audit_page,
    key_lines,
    sessions,
    setting_lines,
    wanted_key,
)
from hexarec.serve.passes import is_pass, new_session
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.settings import OWN

router: APIRouter = page_router()
KeyId = Annotated[str, Path(pattern=r"^[a-z0-9]{1,64}$")]
OVERLAP = 3_600.0
FIELDS = ("name", "scope", "days", *LIMITS)
TABS = (("/settings", "settings.tab_keys"), ("/settings/audit", "settings.tab_audit"),
        ("/settings/server", "settings.tab_server"))  # fmt: skip


def _keys_page(request: Request, caller: Caller, *, status: int = 200, **more: Any) -> Response:
    shelf = tenant_of(request, caller).shelf
    told = {
        "tabs": TABS, "open": "/settings",
        "lines": key_lines(shelf), "sessions": sessions(shelf), "scopes": tuple(SCOPES), "roles": ROLES,
        "given": dict.fromkeys(FIELDS, ()), "wrong": "", "secret": "", "keyless": caller.key is None,
    }  # fmt: skip
    return page(request, "settings/keys.html", status=status, **{**told, **more})


@router.get("/settings")
def keys(request: Request, caller: PageAdmin) -> Response:
    """The keys, and a form for another one."""
    return _keys_page(request, caller)


@router.post("/settings/keys")
def create(request: Request, caller: PageAdmin, form: PageForm) -> Response:
    """Make a key and show its secret, this once. Who makes the first one stays signed in."""
    shelf = tenant_of(request, caller).shelf
    try:
        row, secret = issued(shelf, caller.name, request_id_of(request), **wanted_key(form))
    except OptionError as error:
        given = {name: form.getlist(name) for name in FIELDS}
        return _keys_page(request, caller, status=422, wrong=error.message, given=given)
    backend_of(request).doorkeeper.forget(row.id)
    if caller.key is None:
        session = new_session(shelf, None, caller.name, request_id_of(request))
        response = _keys_page(request, caller, secret=secret, made=row, keyless=False)
        kept_in_cookie(response, request, COOKIE, *session, secret=True)
        return response
    return _keys_page(request, caller, secret=secret, made=row)


@router.post("/settings/keys/{key_id}/rotate")
def rotate(request: Request, caller: PageAdmin, key_id: KeyId, form: PageForm) -> Response:
    """Another secret with the same rights; the old one ends in an hour."""
    shelf = tenant_of(request, caller).shelf
    if is_pass(known(shelf, key_id)):
        raise OptionError("a session of the page cannot be replaced")
    row, secret = replaced(shelf, caller.name, request_id_of(request), key_id, OVERLAP)
    return _keys_page(request, caller, secret=secret, made=row)


@router.post("/settings/keys/{key_id}/revoke")
def revoke(request: Request, caller: PageAdmin, key_id: KeyId, form: PageForm) -> Response:
    """End a key, or a session, now."""
    revoked(tenant_of(request, caller).shelf, caller.name, request_id_of(request), key_id)
    backend_of(request).doorkeeper.forget(key_id)
    return RedirectResponse("/settings", 303)


@router.get("/settings/audit")
def audit(request: Request, caller: PageAdmin, before: Annotated[int, Query(ge=0, le=2**53)] = 0) -> Response:
    """Who changed what, newest first."""
    log = audit_page(tenant_of(request, caller).shelf, before)
    return page(request, "settings/audit.html", tabs=TABS, open="/settings/audit", log=log)


@router.get("/settings/audit/check")
def checked(request: Request, caller: PageAdmin) -> Response:
    """Whether every link of the log still fits the one before it."""
    return piece(request, "settings/_check.html", broken=tenant_of(request, caller).shelf.audit_check())


@router.get("/settings/server")
def server(request: Request, caller: PageAdmin) -> Response:
    """The settings of the server, for the admin of its own tenant."""
    lines = setting_lines(backend_of(request).settings) if caller.tenant == OWN else []
    return page(request, "settings/server.html", tabs=TABS, open="/settings/server", lines=lines, tenant=caller.tenant)
