"""The erasure of a user: rows, pipelines in memory, and the files of every saved version and every job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hexarec.eval.diff import without_lists_of
from hexarec.serve.jobs.files import without_erased
from hexarec.serve.jobs.interviews import without_interviews
from hexarec.serve.live.enriched import KIND as ENRICHED
from hexarec.serve.live.publish import KIND, forgotten, removed
from hexarec.serve.settings import OWN, RUNS

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

ABANDONED = 86_400.0
"""Seconds after which a folder that no version names was left behind by a fit that died."""


def erased(tenant: Tenant, user: str, *, scrub: bool = True) -> dict[str, int]:
    """Erase a user; rows removed by table, and saved pipelines and results of jobs written anew without them.

    Weights that were trained with the user's events among others stay, and are marked stale; a refit ends that. A fit
    that runs meanwhile takes the user out when it is done.
    """
    with tenant.erasing:
        # fits know a visit without a name as a user of its own
        visits = {row["session"] for row in tenant.shelf.export_user(user) if row.get("session") is not None}
        everybody = [user, *(f"session:{one}" for one in sorted(visits))]
        counts = dict(tenant.shelf.erase_user(user))
        tenant.forget(everybody)
        names = {one.name for one in tenant.shelf.names(KIND)}
        counts["saved pipelines"] = sum(forgotten(tenant.shelf, tenant.folder, name, everybody) for name in names)
        counts["files of jobs"] = without_erased(tenant)
        counts["interviews"] = without_interviews(tenant, everybody)
        counts["runs beside"] = _without_in_runs(tenant, frozenset(everybody))
        _remove_abandoned(tenant)
        counts["homes set aside by a restore"] = _remove_set_aside(tenant)
    tenant.refresh()
    if scrub:
        tenant.shelf.scrub()
    return counts


def _without_in_runs(tenant: Tenant, erased: frozenset[str]) -> int:
    """Delete the lists of runs beside the store that asked about them; how many. Only the own tenant sees such runs.

    The ids of a run need not be those of the store. What is lost can be measured again, what is kept could be read.
    """
    place = tenant.folder.parent.parent / RUNS
    if tenant.name != OWN or not place.is_dir():
        return 0
    return sum(without_lists_of(one, erased.__contains__) for one in place.iterdir() if one.is_dir())


def _remove_set_aside(tenant: Tenant) -> int:
    """Remove what restores have set aside: it holds whoever was there before; how many."""
    found = list(tenant.folder.parent.parent.glob("before-restore-*"))
    for folder in found:
        removed(folder)
    return len(found)


def _remove_abandoned(tenant: Tenant) -> None:
    """Remove folders of pipelines and enriched items that no version names."""
    names = {(kind, one.name) for kind in (KIND, ENRICHED) for one in tenant.shelf.names(kind)}
    named = {str(version.body["path"]) for name in names for version in tenant.shelf.versions(*name)}
    for folder in tenant.folder.iterdir() if tenant.folder.is_dir() else ():
        if folder.is_dir() and folder.name not in named and time.time() - folder.stat().st_mtime > ABANDONED:
            removed(folder)
