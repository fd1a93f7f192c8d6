"""The kinds of jobs: what each needs, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.pipeline.config import default_config
from hexarec.serve.jobs.bulk import embed_shards, recommend_shards
from hexarec.serve.live.publish import KIND as PIPELINE
from hexarec.serve.policies import outcomes_of

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

Work = Callable[["Tenant", Mapping[str, Any], Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Kind:
    """One kind of job: its arguments with their types, and the work. A work resumes from its scratch folder."""

    about: str
    args: Mapping[str, type]
    work: Work

    def check(self, args: Mapping[str, Any]) -> None:
        """Raise OptionError for an argument that is unknown or of another type."""
        for name, value in args.items():
            if name not in self.args:
                raise OptionError(f"no argument {name!r}", hint=f"arguments: {', '.join(self.args) or 'none'}")
            wanted = self.args[name]
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise OptionError(f"{name} is {value!r}, not {wanted.__name__}")


def _config(tenant: Tenant, args: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The configuration to fit: the one given, else that of the served version, else the default one."""
    if "config" in args:
        return dict(args["config"])
    active = tenant.shelf.get(PIPELINE, name)
    return default_config() if active is None else dict(active.body["config"])


def _fit(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    name = args.get("pipeline", "default")
    made = tenant.fit(name, _config(tenant, args, name), seed=args.get("seed", 0))
    return {"pipeline": name, "version": made.version, "items": made.body["items"], "events": made.body["events"]}


def _bench(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    from hexarec.eval.experiment import Experiment
    from hexarec.eval.opening import pipeline_of
    from hexarec.eval.tasks import Ranking

    name = args.get("pipeline", "default")
    system = pipeline_of(_config(tenant, args, name))
    data = tenant.data()
    task = Ranking(data, max_users=args.get("max_users", 200), seed=args.get("seed", 0))
    folder = scratch / "run"
    report = Experiment(task, {name: system}, k=args.get("k", 10)).run(folder, resume=folder.exists())
    return {"report": report.as_json()}


def _learn(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    name = args.get("pipeline", "default")
    exposures = outcomes_of(tenant, name, days=args.get("days", 1.0))
    if exposures is not None:
        tenant.learn(name, exposures)
    return {"pipeline": name, "lists": 0 if exposures is None else len(exposures)}


def _recommend(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    return recommend_shards(tenant, args.get("pipeline", "default"), scratch, n=args.get("n", 10),
                            shard=args.get("shard", 1_000))  # fmt: skip


def _embed(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    return embed_shards(tenant, args.get("encoder", "minilm"), scratch, shard=args.get("shard", 1_000))


KINDS: dict[str, Kind] = {
    "fit": Kind(
        "fit a pipeline on everything stored and serve it", {"pipeline": str, "config": dict, "seed": int}, _fit
    ),
    "bench": Kind(
        "measure a pipeline beside the floors",
        {"pipeline": str, "config": dict, "max_users": int, "k": int, "seed": int},
        _bench,
    ),  # fmt: skip
    "learn": Kind("let learning stages see what came of shown lists", {"pipeline": str, "days": float}, _learn),
    "recommend": Kind("lists for every user, as Parquet", {"pipeline": str, "n": int, "shard": int}, _recommend),
    "embed": Kind("vectors of every item's words", {"encoder": str, "shard": int}, _embed),
}
