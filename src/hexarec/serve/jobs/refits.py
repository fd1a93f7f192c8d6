"""Refits on a schedule: a fit is queued when the newest version of a pipeline is old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hexarec.serve.live.publish import KIND as PIPELINE

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def queue_refits(tenant: Tenant, hours: float, now: float) -> list[str]:
    """Queue a fit of each pipeline whose newest version is older than this; the ids of these jobs.

    The id is made of the version and of how many times `hours` have passed since, so several servers that look at once
    queue one job, and a refit that failed is tried again when the time has passed once more.
    """
    shelf, queued = tenant.shelf, []
    busy = {job.args.get("pipeline", "default") for job in shelf.jobs(1_000)
            if job.kind == "fit" and job.state in ("waiting", "running")}  # fmt: skip
    for name in [one.name for one in shelf.names(PIPELINE)]:
        newest = shelf.versions(PIPELINE, name)[-1]
        periods = int((now - newest.created) / (3_600.0 * hours))
        if periods < 1 or name in busy:
            continue
        id = f"refit-{name}-{newest.version}-{periods}"
        if shelf.job(id) is None:
            shelf.add_job("fit", {"pipeline": name}, id=id)
            queued.append(id)
    return queued
