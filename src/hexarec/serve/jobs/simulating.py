"""The job `simulate`: pipelines in service before simulated users; its curves can be read while they grow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import Dataset, OptionError, UserModel, current, run, track
from hexarec.core.run import Emit
from hexarec.eval.opening import guarded
from hexarec.eval.simulation import MEASURES, Simulation
from hexarec.lm.kinds import KINDS
from hexarec.lm.open import check_lm, open_lm
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.serve.exposure import tag_columns
from hexarec.serve.jobs.interviews import CURVES, marked, without, write_curves

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

USERS = 200
BATCHES = 12
WATCHED = 4
"""Most users of a batch whom a model plays: with an embedded one it takes half a minute, and then the curves grow."""
CALIBRATED = 20
"""Held-out likes, and as many items not met, that set the yes of a model: a small one says yes to all or to nothing."""
PER_PAGE = 4
PAGE, END = 5.5, 1.0
"""Questions of a page beside one an item (how many to take up, their ratings, three on the mood), and of an end."""
WRITTEN = 2
"""Questions of a page to a model that answers in JSON."""
SECONDS = 1.0
"""Of a question to an embedded model, of the time of one core; 120 questions to SmolLM2 took 310 on a third of one."""
SAID = 8
"""Interviews that are kept of each pipeline."""


@dataclass(frozen=True)
class Cost:
    """What a run will take, roughly. seconds: None where nobody knows how fast the model answers."""

    calls: int
    seconds: float | None


def cost_of(args: Mapping[str, Any], n_users: int, labels: bool) -> Cost:
    """Of a run played by a model; half of the visits are taken to end before the last page.

    args: as the kind of job takes them. n_users: of the data; more are not asked. labels: whether the model gives them.
    """
    users, pages = min(int(args.get("users", USERS)), n_users), int(args.get("pages", 5))
    backend, calibrated = _asked(labels)
    page = PER_PAGE + PAGE if backend == "label" else WRITTEN
    visits = len(_names(args)) * users
    calls = round(2 * calibrated + visits * ((1 + pages) / 2 * page + END))
    embedded = str(args.get("model", "")).startswith("gguf:")
    return Cost(calls, SECONDS * calls if embedded else None)


def labels_of(model: str) -> bool:
    """Whether a model gives labels, by its name alone; of a server, whether a probe found it.

    Raises OptionError for a name that opens no model.
    """
    from hexarec.lm.probe import remembered

    check_lm(model)
    return "label" in (remembered(model) or KINDS[model.partition(":")[0]].can)


def _asked(labels: bool) -> tuple[str, int]:
    """The form in which a model is asked, and how many held-out likes calibrate it."""
    return ("label", CALIBRATED) if labels else ("json", 0)


def batches_of(users: int, model: str) -> int:
    """Parts of a run, after each of which its curves grow."""
    return min(users, max(BATCHES, math.ceil(users / WATCHED)) if model else BATCHES)


def _names(args: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in str(args.get("pipelines", "")).split(",") if one.strip()))


def simulated(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Let simulated users visit pipelines. Batches that an earlier start finished are not made again.

    Raises OptionError for no pipeline, MissingError for an unknown one, DataError where users cannot be simulated.
    """
    names, model, pages = _names(args), str(args.get("model", "")), int(args.get("pages", 5))
    if not names:
        raise OptionError("no pipeline was chosen", hint="pipelines: names of pipelines in service, joined by commas")
    began = time.time()
    tenant.refresh()
    systems = {name: tenant.recommender(name).current.pipeline for name in names}
    data = tenant.data()
    for _ in track([0], "users"):
        people = _people(data, model, pages, int(args.get("seed", 0)))
    users = min(int(args.get("users", USERS)), data.n_users)
    work = Simulation(
        data, people, users, batches_of(users, model), pages, PER_PAGE, seed=int(args.get("seed", 0)),
        tag=next(iter(tag_columns(data.catalog)), ""),
    )  # fmt: skip
    made = read_curves(scratch) or {name: _nothing() for name in systems}
    for number in track(range(work.batches), "visits"):
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


def _people(data: Dataset, model: str, pages: int, seed: int) -> UserModel:
    """Fitted. At the last page everybody leaves and is asked; without that who stayed says nothing."""
    like = data.interactions.smallest_liked
    common: dict[str, Any] = {"likes": 4.0 if like is None else like, "max_pages": pages}
    if not model:
        return Agent4Rec(mind="rules", **common).fit(data, seed=seed)
    lm = guarded(open_lm(model))
    backend, calibrated = _asked("label" in lm.can)
    made = Agent4Rec(lm, backend=backend, taste="counted", calibrated=calibrated, **common)  # type: ignore[arg-type]
    with run(emit=_but_progress(current().emit)):
        return made.fit(data, seed=seed)


def _but_progress(emit: Emit) -> Emit:
    """Hears all but the steps inside a step: progress counts those of the run."""
    return lambda event: None if event.get("kind") == "progress" else emit(event)


def _nothing() -> dict[str, Any]:
    return {"visits": [], "values": {name: [] for name in MEASURES}, "said": [], "failed": 0}


def _add(curve: dict[str, Any], work: Simulation, system: Any, number: int, tenant: Tenant) -> None:
    with run(emit=_but_progress(current().emit)):
        batch = work.visited(system, number)
    for name in MEASURES:
        curve["values"][name] += batch.values[name]
    curve["visits"].append(len(curve["values"][MEASURES[0]]))
    curve["failed"] = curve.get("failed", 0) + batch.failed  # a run that an older version began has no number
    curve["said"] = [*curve["said"], *marked(tenant, batch.said, batch.who)][:SAID]


def read_curves(scratch: Path) -> dict[str, Any]:
    """The curves so far; nothing before the first batch."""
    path = scratch / CURVES
    made: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return made
