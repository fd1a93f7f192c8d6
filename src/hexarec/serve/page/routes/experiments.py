"""Experiments: what was measured here, one run with its table and plots, up to four side by side, single users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from hexarec.core import OptionError
from hexarec.serve.errors import ConflictError, MissingError
from hexarec.serve.jobs import orders
from hexarec.serve.keys import Caller
from hexarec.serve.page.figures import Figure
from hexarec.serve.page.render import page, piece
from hexarec.serve.page.routing import page_router
from hexarec.serve.page.session import PageForm, PageJobs, PageRead
from hexarec.serve.page.values.drill import drill, lists_of, users_like
from hexarec.serve.page.values.leaders import comparison_of, table_csv, table_of
from hexarec.serve.page.values.plots import compared, figures_of
from hexarec.serve.page.values.progress import Watched, watched
from hexarec.serve.page.values.runs import Run, headline, lines_of, run_of
from hexarec.serve.page.words import language_of
from hexarec.serve.request import backend_of, request_id_of, tenant_of
from hexarec.serve.settings import RUNS

router: APIRouter = page_router()
RunId = Annotated[str, Path(pattern=r"^(job|run)-[A-Za-z0-9_.-]{1,200}$")]
RunIds = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.~-]{1,900}$")]
Chosen = Annotated[list[Annotated[str, Query(max_length=210)]], Query(max_length=50)]
User = Annotated[str, Query(max_length=300, pattern=r"^[^\x00]*$")]
Form = Literal["json", "svg", "csv"]
MOST = 4
"""Runs side by side."""


@router.get("/experiments")
def listed(request: Request, caller: PageRead) -> Response:
    """Every run."""
    home = backend_of(request).settings.home
    lines = lines_of(tenant_of(request, caller), home)
    return page(request, "experiments/experiments.html", lines=lines, folder=str(home / RUNS), most=MOST)


@router.get("/experiments/compare")
def chosen(request: Request, caller: PageRead, run: Chosen = []) -> Response:  # noqa: B006
    """Up to four runs side by side."""
    if not 2 <= len(dict.fromkeys(run)) <= MOST:
        raise OptionError(f"runs chosen: {len(dict.fromkeys(run))}", hint=f"choose 2 to {MOST} that are done")
    runs = [_run(request, caller, id) for id in dict.fromkeys(run)]
    made = comparison_of(runs)
    if len(made.runs) < 2:
        raise ConflictError("fewer than two of these runs have a result", hint="choose runs that are done")
    href = f"/experiments/compare/{'~'.join(one.id for one in made.runs)}/figure/compared"
    return page(request, "experiments/compare.html", made=made, figure=_compared(request, made.runs), href=href)


@router.get("/experiments/compare/{run_ids}/figure/compared.{form}")
def chosen_figure(request: Request, caller: PageRead, run_ids: RunIds, form: Form) -> Response:
    """The figure of a comparison."""
    ids = list(dict.fromkeys(run_ids.split("~")))[:MOST]
    return _compared(request, [_run(request, caller, id) for id in ids]).answer(form)


@router.get("/experiments/{run_id}")
def one(request: Request, caller: PageRead, run_id: RunId, user: User = "") -> Response:
    """One run: its table, plots and lists, or how far it is."""
    run = _run(request, caller, run_id)
    may_jobs = "jobs" in caller.scopes
    if run.report is None:
        following = None if run.job is None else _following(request, caller, run)
        return page(request, "experiments/unfinished.html", run=run, watched=following, may_jobs=may_jobs)
    lists = lists_of(run)
    made = None
    if lists is not None and lists.users:
        made = drill(run, lists, user or lists.users[0])
    return page(
        request, "experiments/run.html", run=run, report=run.report, table=table_of(run.report), drill=made,
        figures=figures_of(run.report, language_of(request)), lists=lists,
    )  # fmt: skip


@router.get("/experiments/{run_id}/state")
def state(request: Request, caller: PageRead, run_id: RunId) -> Response:
    """How far a run is; when it is done its page is fetched anew."""
    run = _run(request, caller, run_id)
    if run.job is None or run.state == "done":
        return Response(headers={"hx-redirect": f"/experiments/{run.id}"})
    return piece(request, "_watched.html", watched=_following(request, caller, run))


@router.post("/experiments/{run_id}/cancel")
def cancel(request: Request, caller: PageJobs, run_id: RunId, form: PageForm) -> Response:
    """End a run that waits or goes on."""
    run = _run(request, caller, run_id)
    if run.job is None:
        raise ConflictError(f"{run.name} is a folder: there is nothing to cancel")
    orders.cancelled(tenant_of(request, caller), run.job.id, caller.name, request_id_of(request))
    return RedirectResponse(f"/experiments/{run.id}", 303)


@router.get("/experiments/{run_id}/user")
def user(request: Request, caller: PageRead, run_id: RunId, user: User = "") -> Response:
    """One user's lists."""
    run = _run(request, caller, run_id)
    lists = lists_of(run)
    if lists is None:
        raise MissingError(f"{run.name} keeps no lists", hint="they are deleted when a user in them is erased")
    return piece(request, "experiments/_user.html", drill=drill(run, lists, user.strip()), run=run)


@router.get("/experiments/{run_id}/users")
def users(request: Request, caller: PageRead, run_id: RunId, user: User = "") -> Response:
    """Users of the run whose id begins like this."""
    lists = lists_of(_run(request, caller, run_id))
    found = [] if lists is None else users_like(lists, user.strip())
    return piece(request, "home/_options.html", options=[(one, "") for one in found])


@router.get("/experiments/{run_id}/table.csv")
def table(request: Request, caller: PageRead, run_id: RunId) -> Response:
    """The leaderboard as CSV."""
    run = _run(request, caller, run_id)
    if run.report is None:
        raise MissingError(f"{run.name} has no table yet")
    head = {"content-disposition": f'attachment; filename="{run.id}.csv"'}
    return Response(table_csv(table_of(run.report)), media_type="text/csv; charset=utf-8", headers=head)


@router.get("/experiments/{run_id}/figure/{name}.{form}")
def figure(request: Request, caller: PageRead, run_id: RunId, name: str, form: Form) -> Response:
    """One figure of a run."""
    run = _run(request, caller, run_id)
    found = None if run.report is None else figures_of(run.report, language_of(request)).get(name)
    if found is None:
        raise MissingError(f"{run.name} has no such figure")
    return found.answer(form)


def _run(request: Request, caller: Caller, id: str) -> Run:
    return run_of(tenant_of(request, caller), backend_of(request).settings.home, id)


def _following(request: Request, caller: Caller, run: Run) -> Watched:
    assert run.job is not None
    return watched(run.job, f"/experiments/{run.id}/state", tenant_of(request, caller).shelf)


def _compared(request: Request, runs: Sequence[Run]) -> Figure:
    metric = next((headline(run.report) for run in runs if run.report is not None), "")
    return compared(runs, metric, language_of(request))
