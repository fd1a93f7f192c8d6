"""Runs that the page may show: finished or not, from jobs of the tenant and from folders under home/runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hexarec.core import DataError
from hexarec.eval.floors import FLOORS, LABEL_FLOORS, TEXT_FLOORS
from hexarec.eval.report import Report, Value, read_report
from hexarec.serve.errors import MissingError
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.settings import OWN, RUNS
from hexarec.serve.store.rows import JobRow

JOBS, FOLDERS = 200, 100
"""The newest of each that are looked through."""
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")
OF_JOB, OF_FOLDER = "job-", "run-"
FLOOR_NAMES = frozenset({*FLOORS, *LABEL_FLOORS, *TEXT_FLOORS, "candidate order"})


@dataclass(frozen=True)
class Run:
    """One run. id: as addresses name it; report: None while there is none; folder: where its lists are, if anywhere."""

    id: str
    name: str
    when: float
    state: str
    report: Report | None = None
    folder: Path | None = None
    job: JobRow | None = None

    @property
    def systems(self) -> list[str]:
        """What was measured, without the floors."""
        if self.report is None:
            return [] if self.job is None else [str(self.job.args.get("pipeline", "default"))]
        floors = set(floors_of(self.report))
        return [row.system for row in self.report.rows if row.system not in floors]


def floors_of(report: Report) -> list[str]:
    """The rows that stand in every table of its task."""
    return [row.system for row in report.rows if row.system in FLOOR_NAMES]


@dataclass(frozen=True)
class RunLine:
    """A run in a table: its best system by its first metric against its best floor."""

    run: Run
    systems: Sequence[str]
    metric: str = ""
    best: str = ""
    value: Value | None = None
    floor: str = ""
    under: float | None = None


def bench_of(job: JobRow) -> str:
    """The id of the run that a bench makes."""
    return f"{OF_JOB}{job.id}"


def lines_of(tenant: Tenant, home: Path) -> list[RunLine]:
    """Every run, newest first."""
    return [_line(run) for run in runs_of(tenant, home)]


def runs_of(tenant: Tenant, home: Path) -> list[Run]:
    """Every run, newest first. Folders belong to the operator, so only the server's own tenant sees them."""
    jobs = [_of_job(tenant, job) for job in tenant.shelf.jobs(JOBS) if job.kind == "bench"]
    folders = [_of_folder(path) for path in _folders(home)] if tenant.name == OWN else []
    return sorted([*jobs, *folders], key=lambda run: -run.when)


def run_of(tenant: Tenant, home: Path, id: str) -> Run:
    """One run by its id. Raises MissingError for what is not listed: an id is never a path."""
    if id.startswith(OF_JOB):
        job = tenant.shelf.job(id.removeprefix(OF_JOB))
        if job is not None and job.kind == "bench":
            return _of_job(tenant, job)
    elif id.startswith(OF_FOLDER) and tenant.name == OWN:
        for path in _folders(home):
            if path.name == id.removeprefix(OF_FOLDER):
                return _of_folder(path)
    raise MissingError(f"no run {id!r}", hint="the page Experiments lists them")


def _folders(home: Path) -> list[Path]:
    """Run folders under home/runs that hold a report, newest first."""
    place = home / RUNS
    found = [one for one in place.iterdir() if PLAIN.fullmatch(one.name)] if place.is_dir() else []
    inside = [one for one in found if one.is_dir() and not one.is_symlink() and (one / "report.json").is_file()]
    return sorted(inside, key=lambda one: -(one / "report.json").stat().st_mtime)[:FOLDERS]


def _of_job(tenant: Tenant, job: JobRow) -> Run:
    name = str(job.args.get("pipeline", "default"))
    when = job.ended or job.started or job.created
    told = (job.result or {}).get("report")
    if job.state != "done" or not told:
        return Run(bench_of(job), name, when, job.state, None, None, job)
    folder = folder_of(tenant, job.id) / str((job.result or {}).get("folder", "run"))
    return Run(bench_of(job), name, when, "done", Report.from_json(told), folder if folder.is_dir() else None, job)


def _of_folder(path: Path) -> Run:
    told = (path / "report.json").stat()
    id, when = f"{OF_FOLDER}{path.name}", told.st_mtime
    try:
        report = _read(path, told.st_mtime_ns, told.st_size)
    except DataError:
        return Run(id, path.name, when, "failed", None, path)
    return Run(id, path.name, when, "done", report, path)


@lru_cache(maxsize=128)
def _read(path: Path, changed: int, size: int) -> Report:
    return read_report(path)


def headline(report: Report) -> str:
    """The metric that a table is read by: NDCG where there is one, else the first that is tested."""
    tested = [name for name in report.metrics if "[" not in name]
    return next((name for name in tested if name.startswith("ndcg")), next(iter(tested), ""))


def mean_of(report: Report, system: str, metric: str) -> float | None:
    """One mean of the table; None where it has none."""
    row = next((row for row in report.rows if row.system == system), None)
    value = None if row is None else row.values.get(metric)
    return None if value is None or value.mean != value.mean else value.mean


def best_of(report: Report, systems: Sequence[str], metric: str) -> str:
    """The system with the highest mean; "" when none has one."""
    means = {name: mean_of(report, name, metric) for name in systems}
    known = {name: mean for name, mean in means.items() if mean is not None}
    return max(known, key=lambda name: known[name], default="")


def _line(run: Run) -> RunLine:
    if run.report is None:
        return RunLine(run, run.systems)
    metric, report = headline(run.report), run.report
    best, floor = best_of(report, run.systems, metric), best_of(report, floors_of(report), metric)
    value = next((row.values[metric] for row in report.rows if row.system == best), None)
    return RunLine(run, run.systems, metric, best, value, floor, mean_of(report, floor, metric))
