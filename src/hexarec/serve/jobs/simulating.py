"""The job `simulate`: pipelines in service before simulated users; its curves can be read while they grow."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import Dataset, OptionError, UserModel, track
from hexarec.eval.opening import guarded
from hexarec.eval.simulation import MEASURES, Simulation
from hexarec.lm.open import open_lm
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.serve.exposure import tag_columns
from hexarec.serve.jobs.interviews import CURVES, marked, without, write_curves

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

BATCHES = 12
SAID = 8
"""Interviews that are kept of each pipeline."""


def simulated(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Let simulated users visit pipelines. Batches that an earlier start finished are not made again.

    Raises OptionError for no pipeline, MissingError for an unknown one, DataError where users cannot be simulated.
    """
    names = [one.strip() for one in str(args.get("pipelines", "")).split(",") if one.strip()]
    if not names:
        raise OptionError("no pipeline was chosen", hint="pipelines: names of pipelines in service, joined by commas")
    began = time.time()
    tenant.refresh()
    systems = {name: tenant.recommender(name).current.pipeline for name in dict.fromkeys(names)}
    data = tenant.data()
    for _ in track([0], "users"):
        people = _people(data, str(args.get("model", "")), int(args.get("seed", 0)))
    work = Simulation(
        data, people, int(args.get("users", 200)), BATCHES, int(args.get("pages", 5)), seed=int(args.get("seed", 0)),
        tag=next(iter(tag_columns(data.catalog)), ""),
    )  # fmt: skip
    made = read_curves(scratch) or {name: _nothing() for name in systems}
    for number in track(range(BATCHES), "visits"):
        for name, system in systems.items():
            if len(made[name]["visits"]) <= number:
                _add(made[name], work, system, number, tenant)
                with tenant.erasing:
                    made = without(made, _erased(tenant, began))
                    write_curves(scratch / CURVES, made)
    return {"users": made[names[0]]["visits"][-1], "pages": work.pages, "curves": made}


def _erased(tenant: Tenant, since: float) -> set[str]:
    """The marks of who was erased since then: their interviews may be in memory still."""
    return {mark for mark, at in tenant.shelf.tombstones() if at >= since}


def _people(data: Dataset, model: str, seed: int) -> UserModel:
    like = data.interactions.smallest_liked
    common: dict[str, Any] = {"likes": 4.0 if like is None else like}
    if not model:
        return Agent4Rec(mind="rules", **common).fit(data, seed=seed)
    lm = guarded(open_lm(model))
    backend = "label" if "label" in lm.can else "json"
    return Agent4Rec(lm, backend=backend, taste="counted", **common).fit(data, seed=seed)  # type: ignore[arg-type]


def _nothing() -> dict[str, Any]:
    return {"visits": [], "values": {name: [] for name in MEASURES}, "said": []}


def _add(curve: dict[str, Any], work: Simulation, system: Any, number: int, tenant: Tenant) -> None:
    batch = work.visited(system, number)
    for name in MEASURES:
        curve["values"][name] += batch.values[name]
    curve["visits"].append(len(curve["values"][MEASURES[0]]))
    curve["said"] = [*curve["said"], *marked(tenant, batch.said, batch.who)][:SAID]


def read_curves(scratch: Path) -> dict[str, Any]:
    """The curves so far; nothing before the first batch."""
    path = scratch / CURVES
    made: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return made
