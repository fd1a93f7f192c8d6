"""The erasure of a user: rows, pipelines in memory, and the files of every saved version."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hexarec.core import StateError
from hexarec.pipeline.pipeline import Pipeline
from hexarec.pipeline.save import load
from hexarec.serve.jobs.files import without_user
from hexarec.serve.live.publish import KIND, saved

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def erased(tenant: Tenant, user: str, *, scrub: bool = True) -> dict[str, int]:
    """Erase a user; rows removed by table, and saved pipelines written anew without them.

    Weights that were trained with the user's events among others stay, and are marked stale; a refit ends that.
    """
    counts = dict(tenant.shelf.erase_user(user))
    tenant.forget([user])
    counts["saved pipelines"] = forgotten(tenant, [user])
    counts["files of jobs"] = without_user(tenant, user)
    tenant.refresh()
    if scrub:
        tenant.shelf.scrub()
    return counts


def forgotten(tenant: Tenant, users: Sequence[str]) -> int:
    """Write every saved version of every pipeline anew without these users; how many."""
    return sum(_rewritten(tenant, one.name, users) for one in tenant.shelf.names(KIND)) if users else 0


def _rewritten(tenant: Tenant, name: str, users: Sequence[str]) -> int:
    """Write every version of a pipeline anew without the users, and remove the old files."""
    done = 0
    for version in tenant.shelf.versions(KIND, name):
        old = tenant.folder / str(version.body["path"])
        if not old.is_dir():
            continue
        pipeline = load(old)
        if not isinstance(pipeline, Pipeline):
            raise StateError(f"{old} holds no pipeline")
        new = saved(pipeline.forget(users), tenant.folder, name)
        tenant.shelf.rewrite(KIND, name, version.version, {**version.body, "path": new})
        shutil.rmtree(old)
        done += 1
    return done
