"""The kinds of jobs: what each needs, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError, StateError
from hexarec.pipeline.config import default_config
from hexarec.serve.jobs.bulk import embed_shards, recommend_shards
from hexarec.serve.jobs.enrich import enrich_shards
from hexarec.serve.jobs.importing import checked, imported
from hexarec.serve.jobs.learning import learned
from hexarec.serve.jobs.simulating import simulated
from hexarec.serve.live.prompts import with_prompts
from hexarec.serve.live.publish import KIND as PIPELINE

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

Work = Callable[["Tenant", Mapping[str, Any], Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Arg:
    """An argument of a job: its type, and for numbers the range that is taken."""

    type: type
    least: float = 0
    most: float = 2**53

    def check(self, name: str, value: Any) -> None:
        """Raise OptionError unless the value fits."""
        wanted = (int, float) if self.type is float else self.type
        if not isinstance(value, wanted) or isinstance(value, bool) != (self.type is bool):
            raise OptionError(f"{name} is {str(value)[:80]!r}, not {self.type.__name__}")
        if isinstance(value, int | float) and not self.least <= value <= self.most:
            raise OptionError(f"{name} is {value!r}, not between {self.least:g} and {self.most:g}")
        if isinstance(value, str) and not 0 < len(value) <= 200:
            raise OptionError(f"{name} has {len(value)} letters, not 1 to 200")


COMMON: dict[str, Arg] = {"tokens": Arg(int), "dollars": Arg(float)}
"""Arguments of every kind: the most it may spend on language models."""
NAME, CONFIG, SEED, SHARD = Arg(str), Arg(dict), Arg(int, 0, 2**31 - 1), Arg(int, 1, 1_000_000)
IMPORT: dict[str, Arg] = {
    "upload": NAME, "name": NAME, "mapping": CONFIG, "strict": Arg(bool),
    **dict.fromkeys(("format", "like", "encoding", "events", "items", "users"), NAME),
}  # fmt: skip
"""How an upload is to be read: see `uploads.Reading`."""
MEASURED: dict[str, Arg] = {
    "pipeline": NAME, "config": CONFIG, "max_users": Arg(int, 1), "k": Arg(int, 1, 1_000), "seed": SEED,
}  # fmt: skip
SIMULATE: dict[str, Arg] = {
    "pipelines": NAME, "users": Arg(int, 1, 10_000), "pages": Arg(int, 1, 20), "model": NAME, "seed": SEED,
}  # fmt: skip
"""Pipelines joined by commas; without a model the users follow rules."""


@dataclass(frozen=True)
class Kind:
    """One kind of job: its arguments and the work. A work resumes from its scratch folder."""

    about: str
    own: Mapping[str, Arg]
    work: Work

    @property
    def args(self) -> dict[str, Arg]:
        """All arguments by name."""
        return {**self.own, **COMMON}

    def check(self, args: Mapping[str, Any]) -> None:
        """Raise OptionError for an argument that is unknown, of another type, or out of its range."""
        for name, value in args.items():
            if name not in self.args:
                raise OptionError(f"no argument {name!r}", hint=f"arguments: {', '.join(self.args)}")
            self.args[name].check(name, value)


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
    from hexarec.serve.jobs.measure import benched

    return benched(tenant, _config(tenant, args, args.get("pipeline", "default")), args, scratch)


def _estimate(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    from hexarec.serve.jobs.measure import estimated

    return estimated(tenant, _config(tenant, args, args.get("pipeline", "default")), args, scratch)


def _learn(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    return learned(tenant, args.get("pipeline", "default"), days=args.get("days", 1.0))


def _recommend(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    return recommend_shards(tenant, args.get("pipeline", "default"), scratch, n=args.get("n", 10),
                            shard=args.get("shard", 1_000))  # fmt: skip


def _embed(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    return embed_shards(tenant, args.get("encoder", "minilm"), scratch, shard=args.get("shard", 1_000))


def _enrich(tenant: Tenant, args: Mapping[str, Any], scratch: Path) -> Mapping[str, Any]:
    from hexarec.eval.opening import pipeline_of

    name = args.get("pipeline", "default")
    pipeline = pipeline_of(with_prompts(_config(tenant, args, name), tenant.shelf))
    if not pipeline.enrich_by:
        raise StateError(f"the configuration of {name} enriches nothing", hint="add a stage under [[enrich]]")
    return enrich_shards(tenant, pipeline.enrich_by, scratch, shard=args.get("shard", 1_000), seed=args.get("seed", 0))


KINDS: dict[str, Kind] = {
    "fit": Kind(
        "fit a pipeline on everything stored and serve it", {"pipeline": NAME, "config": CONFIG, "seed": SEED}, _fit
    ),
    "import": Kind("take in files that were uploaded on the page, all of them or nothing", IMPORT, imported),
    "check": Kind("read files that were uploaded on the page, and say what an import would refuse", IMPORT, checked),
    "bench": Kind("measure a pipeline beside the floors", MEASURED, _bench),
    "estimate": Kind("say what a bench with these arguments will cost; no model is asked", MEASURED, _estimate),
    "learn": Kind(
        "let learning stages see what came of shown lists, and serve what they learned",
        {"pipeline": NAME, "days": Arg(float, 0, 36_500)},
        _learn,
    ),
    "enrich": Kind(
        "run the enrichers of a pipeline over the stored items and keep what they made",
        {"pipeline": NAME, "config": CONFIG, "shard": SHARD, "seed": SEED},
        _enrich,
    ),
    "simulate": Kind("let simulated users visit pipelines in service", SIMULATE, simulated),
    "embed": Kind("vectors of every item's words, as Parquet", {"encoder": NAME, "shard": SHARD}, _embed),
    "recommend": Kind(
        "lists for every user, as Parquet", {"pipeline": NAME, "n": Arg(int, 1, 1_000), "shard": SHARD}, _recommend
    ),
}
