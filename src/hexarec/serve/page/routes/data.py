"""Data: health, items and users of what is served, and the import of files."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import UploadFile

from hexarec.core import OptionError
from hexarec.core.errors import HexarecError
from hexarec.serve import uploads
from hexarec.serve.errors import MissingError
from hexarec.serve.jobs import orders
from hexarec.serve.keys import Caller
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageForm, PageRead, PageWrite
from hexarec.serve.page.values.data import (
    health_figures,
    health_of,
    item_page,
    item_told,
    user_page,
    user_told,
)
from hexarec.serve.page.values.imports import checked as whole
from hexarec.serve.page.values.imports import (
    columns_of,
    fields_of,
    formats,
    preview,
    reading_of,
    rejects_csv,
)
from hexarec.serve.page.values.progress import watched
from hexarec.serve.page.words import language_of, word
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.store.rows import JobRow

router: APIRouter = page_router()
Written = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Named = Annotated[str, Path(min_length=1, max_length=1_024, pattern=r"^[^\x00]*$")]
JobId = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
UploadId = Annotated[str, Path(pattern=r"^[0-9a-z]{1,64}$")]
Form = Literal["json", "svg", "csv"]
TABS = (("/data", "data.tab_health"), ("/data/items", "data.items"), ("/data/users", "data.users"),
        ("/data/import", "data.tab_import"))  # fmt: skip


# -------------------------------------------------------------------------------------------------------- health
@router.get("/data")
def data(request: Request, caller: PageRead) -> Response:
    """How much there is; its health follows."""
    tenant = tenant_of(request, caller)
    counts = {name: tenant.shelf.count(name) for name in ("items", "events", "shown")}
    return page(request, "data/data.html", tabs=TABS, counts=counts, about=tenant.settings)


@router.get("/data/health")
def health(request: Request, caller: PageRead) -> Response:
    """The health report: the findings and plots of `hexarec data check`."""
    made = health_of(tenant_of(request, caller))
    figures = health_figures(made, partial(word, language_of(request)))
    return piece(request, "data/_health.html", health=made, figures=figures)


@router.get("/data/figures/{name}.{form}")
def figure(request: Request, caller: PageRead, name: str, form: Form) -> Response:
    """One plot of the health report."""
    made = health_figures(health_of(tenant_of(request, caller)), partial(word, language_of(request)))
    found = next((one for one in made if one.name == name), None)
    if found is None:
        raise MissingError(f"no figure {name[:80]!r}")
    return found.answer(form)


# ----------------------------------------------------------------------------------------------- items and users
@router.get("/data/items")
def items(request: Request, caller: PageRead, q: Written = "", after: Written = "") -> Response:
    """Items by id, or those that words find, in any language of the catalog."""
    found = item_page(tenant_of(request, caller), q, after, language_of(request))
    return page(request, "data/items.html", tabs=TABS, found=found, q=q)


@router.get("/data/found/items")
def items_found(request: Request, caller: PageRead, q: Written = "") -> Response:
    """The same list as one types."""
    found = item_page(tenant_of(request, caller), q, "", language_of(request))
    return piece(request, "data/_items.html", found=found, q=q)


@router.get("/data/items/{item_id}")
def item(request: Request, caller: PageRead, item_id: Named) -> Response:
    """One item with all its words."""
    found = item_told(tenant_of(request, caller), item_id, language_of(request))
    return page(request, "data/item.html", item=found)


@router.get("/data/users")
def users(request: Request, caller: PageRead, q: Written = "") -> Response:
    """Users whose id begins like this."""
    return page(request, "data/users.html", tabs=TABS, found=user_page(tenant_of(request, caller), q), q=q)


@router.get("/data/found/users")
def users_found(request: Request, caller: PageRead, q: Written = "") -> Response:
    """The same list as one types."""
    return piece(request, "data/_users.html", found=user_page(tenant_of(request, caller), q), q=q)


@router.get("/data/users/{user_id}")
def user(request: Request, caller: PageRead, user_id: Named) -> Response:
    """One user: what they stated, like and did."""
    return page(request, "data/user.html", user=user_told(tenant_of(request, caller), user_id, language_of(request)))


# -------------------------------------------------------------------------------------------------------- import
def _import_page(request: Request, caller: Caller, *, status: int = 200, wrong: str = "", hint: str = "") -> Response:
    waiting = uploads.waiting(tenant_of(request, caller))
    most = backend_of(request).settings.batch_body
    told = {"tabs": TABS, "waiting": waiting, "wrong": wrong, "hint": hint, "most": most}
    return page(request, "data/import.html", status=status, **told)


@router.get("/data/import")
def import_page(request: Request, caller: PageWrite) -> Response:
    """Where files are sent."""
    return _import_page(request, caller)


@router.post("/data/upload")
async def upload(request: Request, caller: PageWrite) -> Response:
    """Keep files aside, to be looked into."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise OptionError("this is no form with files", hint="send it from the page")
    async with request.form(max_files=uploads.MOST_FILES, max_fields=5) as form:
        sent = [one for one in form.getlist("file") if isinstance(one, UploadFile) and one.filename]
        if len({one.filename for one in sent}) < len(sent):
            raise OptionError("two files have the same name")
        try:
            made = await asyncio.to_thread(
                uploads.kept, tenant_of(request, caller), {str(one.filename): one.file for one in sent}
            )
        except HexarecError as error:
            return _import_page(request, caller, status=422, wrong=error.message, hint=error.hint)
    return RedirectResponse(f"/data/import/{made.id}", 303)


@router.get("/data/import/{id}")
def wizard(request: Request, caller: PageWrite, id: UploadId) -> Response:
    """How the files are read, with the first rows as they would be taken in."""
    found = uploads.found(tenant_of(request, caller), id)
    given = fields_of(request.query_params)
    return page(request, "data/wizard.html", **_wizard(found, given), made=preview(found, reading_of(given)))


def _wizard(found: uploads.Upload, given: dict[str, str]) -> dict[str, Any]:
    return {"upload": found, "given": given, "columns": columns_of(found), "formats": formats(), "wrong": ""}


@router.get("/data/import/{id}/preview")
def previewed(request: Request, caller: PageWrite, id: UploadId) -> Response:
    """The first rows under another mapping."""
    found = uploads.found(tenant_of(request, caller), id)
    made = preview(found, reading_of(fields_of(request.query_params)))
    return piece(request, "data/_preview.html", made=made, upload=found, job="")


@router.post("/data/import/{id}/check")
def check(request: Request, caller: PageWrite, id: UploadId, form: PageForm) -> Response:
    """Begin to read all rows under this mapping, as a job."""
    tenant = tenant_of(request, caller)
    found = uploads.found(tenant, id)
    how = reading_of(fields_of({name: str(value) for name, value in form.items()}))
    args = {"upload": found.id, **how.args()}
    job = orders.started(backend_of(request), tenant, "check", args, caller, request_id_of(request))
    return _checked(request, caller, found, job)


@router.get("/data/import/{id}/checked")
def checked(request: Request, caller: PageWrite, id: UploadId, job: JobId) -> Response:
    """How far the reading of all rows is; when it is done, what an import would take in and refuse."""
    tenant = tenant_of(request, caller)
    return _checked(request, caller, uploads.found(tenant, id), _check_of(tenant, id, job))


def _check_of(tenant: Tenant, id: str, job: str) -> JobRow:
    """The job that read this upload. Raises MissingError."""
    found = orders.found(tenant, job)
    if found.kind != "check" or found.args.get("upload") != id:
        raise MissingError(f"no check {job[:80]!r} of this upload", hint="check every row again")
    return found


def _checked(request: Request, caller: Caller, found: uploads.Upload, job: JobRow) -> Response:
    """The job as it goes on, or the preview that it ends with."""
    tenant, where = tenant_of(request, caller), f"/data/import/{found.id}/checked?job={job.id}"
    if job.state != "done" or job.result is None:
        return piece(request, "data/_checking.html", watched=watched(job, where, tenant.shelf))
    made = whole(found, uploads.Reading.of(job.args), job.result, found.refused(job.id))
    return piece(request, "data/_preview.html", made=made, upload=found, job=job.id)


@router.get("/data/import/{id}/rejects.csv")
def refused(request: Request, caller: PageWrite, id: UploadId, job: JobId) -> Response:
    """Every row that would be refused, as a check has found."""
    tenant = tenant_of(request, caller)
    text = rejects_csv(uploads.found(tenant, id).refused(_check_of(tenant, id, job).id))
    return Response(text, media_type="text/csv; charset=utf-8",
                    headers={"content-disposition": 'attachment; filename="rejects.csv"'})  # fmt: skip


@router.post("/data/import/{id}")
def start(request: Request, caller: PageWrite, id: UploadId, form: PageForm) -> Response:
    """Import them, as a job."""
    tenant = tenant_of(request, caller)
    found = uploads.found(tenant, id)
    given = fields_of({name: str(value) for name, value in form.items()})
    how, name = reading_of(given), given["name"].strip() or found.name
    made = preview(found, how)
    if made.wrong:
        return page(request, "data/wizard.html", status=422, **_wizard(found, given), made=made)
    args = {"upload": found.id, "name": name, **how.args()}
    job = orders.started(backend_of(request), tenant, "import", args, caller, request_id_of(request))
    return RedirectResponse(f"/jobs/{quote(job.id, safe='')}", 303)


@router.post("/data/import/{id}/drop")
def drop(request: Request, caller: PageWrite, id: UploadId, form: PageForm) -> Response:
    """Remove the files, imported or not."""
    uploads.dropped(uploads.found(tenant_of(request, caller), id))
    return RedirectResponse("/data/import", 303)
