"""What jobs keep on disk: a folder each, of which only the result outlives the job, and no erased user."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core import StateError
from hexarec.eval.diff import without_lists_of

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

OF_USERS = ("data", "lists", "run")
"""Folders in which a job keeps what it knows of users."""


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


def without_user(tenant: Tenant, user: str) -> int:
    """Take an erased user out of the results of jobs, and delete what unfinished jobs copied; files changed."""
    import polars as pl

    changed, folder = 0, folders_of(tenant)
    for scratch in folder.iterdir() if folder.is_dir() else ():
        for part in (scratch / name for name in OF_USERS):
            if (part / "report.json").is_file():
                changed += without_lists_of(part, user)
            elif part.is_dir():
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
