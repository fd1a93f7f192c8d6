"""What jobs keep on disk: a folder each, of which only the result outlives a job that is done, and no erased user."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import StateError
from hexarec.core.atomic import PARTS, atomic_file
from hexarec.eval.diff import without_lists_of
from hexarec.serve import uploads
from hexarec.serve.live.publish import removed

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

OF_USERS = ("data", "lists", "run")
"""Folders in which a job keeps what it knows of users."""
REJECTS = "rejects.jsonl"
"""Where an import keeps the rows that it refused."""
KEPT = 7 * 86_400.0
"""Seconds for which a job that failed or was cancelled keeps what it needs to go on."""


def folder_of(tenant: Tenant, job: str) -> Path:
    """The folder of a job."""
    if Path(job).name != job or not job:
        raise StateError(f"the job id {job[:80]!r} is no plain name")
    return folders_of(tenant) / job


def folders_of(tenant: Tenant) -> Path:
    """Where the folders of a tenant's jobs lie."""
    return tenant.folder.parent.parent / "jobs" / tenant.name


def pruned(scratch: Path, result: str | None) -> None:
    """Delete the folder of a job that has ended, but for the file, or folder, that is its result."""
    for one in scratch.iterdir():
        if one.name != result:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    if result is None:
        scratch.rmdir()


def swept(tenant: Tenant, now: float) -> int:
    """Delete uploads that waited too long, and folders of jobs that failed or were cancelled long ago; how many."""
    folder, gone = folders_of(tenant), uploads.swept(tenant, now)
    for scratch in list(folder.iterdir()) if folder.is_dir() else ():
        job = tenant.shelf.job(scratch.name)
        if job is not None and job.state in ("failed", "cancelled") and now - (job.ended or now) > KEPT:
            shutil.rmtree(scratch)
            gone += 1
    return gone


def without_erased(tenant: Tenant) -> int:
    """Take the erased out of the results of jobs; delete what unfinished jobs copied and what waits for an import.

    Refused rows are deleted whole: nobody can tell whose they are. Files changed. Out of a result goes whoever was
    erased since its job began: who came back before that is in it rightly.
    """
    changed, folder = uploads.swept(tenant, time.time(), older=-1.0), folders_of(tenant)
    for scratch in folder.iterdir() if folder.is_dir() else ():
        for part in (scratch / name for name in OF_USERS):
            if (part / "report.json").is_file():
                changed += without_lists_of(part, _erased_since(tenant, scratch.name))
            elif part.is_dir():
                removed(part)  # the job, if it still runs, fails and says that its data are gone
                changed += 1
        changed += _without_parts(tenant, scratch)
        for result in scratch.glob("*.parquet"):
            changed += _without_erased(tenant, result)
        if (scratch / REJECTS).is_file():
            (scratch / REJECTS).unlink(missing_ok=True)
            changed += 1
    return changed


def _without_parts(tenant: Tenant, scratch: Path) -> int:
    """Delete what a worker that died has half written; how many. A job that runs may be writing its own."""
    row = tenant.shelf.job(scratch.name)
    parts = [] if row is not None and row.state == "running" else list(scratch.glob(PARTS))
    for part in parts:
        removed(part)
    return len(parts)


def _without_erased(tenant: Tenant, result: Path) -> bool:
    """Look again after every write: another process may have written the file for an erasure of its own."""
    import polars as pl

    changed = False
    while True:
        table = pl.read_parquet(result)
        gone = _erased_in(tenant, result.parent.name, table)
        if not gone:
            return changed
        with contextlib.suppress(FileNotFoundError):  # another erasure took the part for what a dead worker left
            with atomic_file(result) as part:
                table.filter(~pl.col("user_id").is_in(gone)).write_parquet(part)
        changed = True


def _erased_in(tenant: Tenant, job: str, table: Any) -> list[str]:
    """The users in the result of a job who were erased since it began."""
    if "user_id" not in table.columns:
        return []
    erased = _erased_since(tenant, job)
    return [user for user in table["user_id"].unique().to_list() if erased(user)]


def _erased_since(tenant: Tenant, job: str) -> Callable[[str], bool]:
    """Whether a user was erased since a job began."""
    row = tenant.shelf.job(job)
    since = 0.0 if row is None or row.started is None else row.started
    fresh = {mark for mark, at in tenant.shelf.tombstones() if at >= since}
    return lambda user: bool(fresh) and tenant.shelf.pseudonym(user) in fresh
