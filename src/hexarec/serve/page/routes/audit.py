"""Audit: exposure, popularity, calibration and fairness of what was shown; and who changed what, for admins."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from hexarec.core import OptionError
from hexarec.serve.errors import MissingError
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageRead
from hexarec.serve.page.values.audit import DAYS, audit_figures, audit_of
from hexarec.serve.page.values.settings import audit_page
from hexarec.serve.page.words import language_of, word
from hexarec.serve.request import backend_of, tenant_of

router: APIRouter = page_router()
Form = Literal["json", "svg", "csv"]
Days = Annotated[int, Query(ge=1, le=3_650)]
Named = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
LATEST = 10


@router.get("/audit")
def audit(request: Request, caller: PageRead, days: Days = 7, tag: Named = "", by: Named = "") -> Response:
    """What was shown in the last days; the numbers follow."""
    tenant = tenant_of(request, caller)
    log = audit_page(tenant.shelf).rows[:LATEST] if "admin" in caller.scopes else None
    query = urlencode({"days": days, "tag": tag, "by": by})
    logs = backend_of(request).settings.log_shown
    return page(request, "audit/audit.html", days=days, choices=DAYS, query=query, log=log, logs=logs)


@router.get("/audit/numbers")
def numbers(request: Request, caller: PageRead, days: Days = 7, tag: Named = "", by: Named = "") -> Response:
    """The audit."""
    made = audit_of(tenant_of(request, caller), days, tag, by)
    figures = [] if made is None else audit_figures(made, partial(word, language_of(request)))
    query = urlencode({"tag": tag, "by": by})
    return piece(request, "audit/_numbers.html", audit=made, figures=figures, days=days, query=query)


@router.get("/audit/figures/{days}/{name}.{form}")
def figure(
    request: Request, caller: PageRead, days: str, name: str, form: Form, tag: Named = "", by: Named = ""
) -> Response:  # fmt: skip
    """One plot of the audit."""
    if not days.isdecimal() or not 1 <= len(days) <= 4:
        raise OptionError("days is no number of days")
    made = audit_of(tenant_of(request, caller), max(int(days), 1), tag, by)
    figures = [] if made is None else audit_figures(made, partial(word, language_of(request)))
    found = next((one for one in figures if one.name == name), None)
    if found is None:
        raise MissingError(f"no figure {name[:80]!r}")
    return found.answer(form)
