"""Measuring a pipeline beside the floors, and what that will cost, on what a tenant stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.eval.estimate import estimate
from hexarec.eval.experiment import Experiment
from hexarec.eval.opening import pipeline_of, with_stand_ins
from hexarec.eval.tasks import Ranking
from hexarec.serve.live.prompts import with_prompts
from hexarec.serve.store.checks import plain

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

RUN = "run"
"""The folder of a run inside that of its job; it outlives the job."""


def benched(tenant: Tenant, config: Mapping[str, Any], args: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Measure the pipeline; the report, and in the folder of the job the run with its lists."""
    folder = scratch / RUN
    report = _experiment(tenant, config, args).run(folder, resume=folder.exists())
    return {"report": plain(report.as_json()), "folder": RUN}


def estimated(tenant: Tenant, config: Mapping[str, Any], args: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """What `benched` with the same arguments will cost; no model is asked, one that is missing is stood in for."""
    config, notes = with_stand_ins(config)
    experiment = _experiment(tenant, config, args)
    asked = experiment.round()
    costs = {
        name: vars(
            estimate(system, asked.train, len(asked.queries), experiment.k, asked=asked, seed=args.get("seed", 0))
        )
        for name, system in experiment.systems.items()
    }
    return {"systems": plain(costs), "notes": notes, "title": asked.title}


def _experiment(tenant: Tenant, config: Mapping[str, Any], args: Mapping[str, Any]) -> Experiment:
    data = tenant.data()
    task = Ranking(data, max_users=args.get("max_users", 200), seed=args.get("seed", 0))
    more = ("calibration@10",) if "genres" in data.catalog.attributes else ()
    name = str(args.get("pipeline", "default"))
    system = pipeline_of(with_prompts(config, tenant.shelf))
    return Experiment(task, {name: system}, k=args.get("k", 10), metrics=(*task.metrics, *more))
