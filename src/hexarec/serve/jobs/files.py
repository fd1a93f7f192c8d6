"""What jobs keep on disk: a folder each, of which only the result outlives a job that is done, and no erased user."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core import StateError
from hexarec.serve import uploads

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

OF_USERS = ("data", "lists", "run")
"""Folders in which an unfinished job keeps what it knows of users."""
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


def pruned(scratch: Path, file: str | None) -> None:
    """Delete the folder of a job that has ended, but for the file that is its result."""
    for one in scratch.iterdir():
        if one.name != file:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    if file is None:
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


def without_user(tenant: Tenant, user: str) -> int:
    """Take an erased user out of the results of jobs; delete what unfinished jobs copied and what waits for an import.

    Files changed.
    """
    import polars as pl

    changed, folder = uploads.swept(tenant, time.time(), older=-1.0), folders_of(tenant)
    for scratch in folder.iterdir() if folder.is_dir() else ():
        for part in (scratch / name for name in OF_USERS):
            if part.is_dir():
                shutil.rmtree(part)  # the job, if it still runs, fails and says that its data are gone
                changed += 1
        for result in scratch.glob("*.parquet"):
            table = pl.read_parquet(result)
            if "user_id" in table.columns and (table["user_id"] == user).any():
                aside = result.with_suffix(".part")
                table.filter(pl.col("user_id") != user).write_parquet(aside)
                aside.replace(result)
                changed += 1
    return changed
