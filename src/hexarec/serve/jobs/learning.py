"""Learning from what came of shown lists: the learned pipeline is the next version, saved and served by everybody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hexarec.core import CapabilityError, StateError
from hexarec.serve.live.artefacts import described
from hexarec.serve.live.publish import KIND as PIPELINE
from hexarec.serve.live.publish import removed, saved
from hexarec.serve.policies import outcomes_of
from hexarec.serve.store.errors import ChangedError

if TYPE_CHECKING:
    from hexarec.pipeline.pipeline import Pipeline
    from hexarec.serve.live.tenant import Tenant


def learned(tenant: Tenant, name: str, *, days: float) -> dict[str, Any]:
    """Let a pipeline learn from the lists of the last days that it has not learned from; the result of the job.

    Raises CapabilityError when none of its stages learns, StateError when another version was published meanwhile.
    """
    now = time.time()
    users = list({one for one in tenant.shelf.event_columns()["user"] if one is not None})
    tenant.refresh()
    base = tenant.shelf.get(PIPELINE, name)
    served = tenant.recommender(name).current
    pipeline = served.pipeline
    if base is None or not _learns(pipeline):
        raise CapabilityError(f"no stage of {name} learns from shown lists", hint="diversity and bandits do")
    if served.path != base.body["path"]:
        raise StateError(f"{name} has another version by now", hint="start the job again")
    since = max(now - 86_400 * days, float(base.body.get("learned_until", 0.0)))
    exposures = outcomes_of(tenant, name, days=(now - since) / 86_400, now=now)
    if exposures is None:
        return {"pipeline": name, "version": base.version, "lists": 0}
    fresh = pipeline.learn(exposures)
    path = saved(fresh, tenant.folder, name)
    body = {**base.body, **described(fresh), "path": path, "learned_until": now}
    try:
        made = tenant.publish(name, body, now, users, after=base)
    except ChangedError:
        removed(tenant.folder / path)
        raise StateError(f"{name} has another version by now", hint="start the job again") from None
    return {"pipeline": name, "version": made.version, "lists": len(exposures)}


def _learns(pipeline: Pipeline) -> bool:
    return any(hasattr(one, "learn") for one in (*pipeline.retrieve_, pipeline.rank_, *pipeline.control_))
