"""`hexarec batch`: lists, vectors and enrichment for everybody and everything, here or on Ray, resumable."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hexarec.cli.shared import Data, Seed

if TYPE_CHECKING:
    from hexarec.core import Dataset
    from hexarec.serve.jobs.shards import Each

app = typer.Typer(help="Bulk work in shards, here or on Ray: recommend, embed, enrich.", no_args_is_help=True)
Engine = Literal["local", "ray"]
Model = Annotated[Path, typer.Argument(help="A folder that `hexarec fit` wrote.")]
Out = Annotated[Path, typer.Option(help="The Parquet file to write.")]
EngineName = Annotated[Engine, typer.Option(help="local: this process; ray: a cluster.")]
Shard = Annotated[int, typer.Option(min=1, help="Users or items of a shard.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes of a local Ray cluster.")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster that runs already; a local one without it.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]


@app.command("recommend")
def recommend(
    model: Model, out: Out, k: Annotated[int, typer.Option("-k", min=1, help="Length of the lists.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Add a reason to every item.")] = False,
    engine: EngineName = "local", shard: Shard = 1_000, workers: Workers = None, address: Address = None,
    resume: Resume = False, data: Data = None,
) -> None:  # fmt: skip
    """A list for every user of the data set: user_id, rank, item_id, score, reason, degraded."""
    from hexarec.cli.shared import warn

    with _begun(out, resume, {"work": "recommend", "model": _hash(model), "k": k, "explain": explain, "shard": shard},
                engine, workers, address) as (scratch, each):  # fmt: skip
        from hexarec.serve.jobs.bulk import faults, kept
        from hexarec.serve.jobs.shards import RecommendShard, joined, through

        found = kept(lambda: _data(model, data), scratch / "data")
        work = RecommendShard(str(scratch / "data"), str(scratch / "lists"), shard, str(model.resolve()), k, explain)
        table = joined(through(work, found.n_users, each, "recommend"), out)
        for fault in faults(table):
            warn(f"degraded: {fault}")
    _say(out, f"lists of {table['user_id'].n_unique():,} of {found.n_users:,} users")


@app.command("embed")
def embed(
    model: Model, out: Out, encoder: Annotated[str, typer.Option(help="The text encoder.")] = "minilm",
    engine: EngineName = "local", shard: Shard = 1_000, workers: Workers = None, address: Address = None,
    resume: Resume = False, data: Data = None,
) -> None:  # fmt: skip
    """A vector of the words of every item that the model serves: item_id, vector."""
    with _begun(out, resume, {"work": "embed", "encoder": encoder, "shard": shard}, engine, workers,
                address) as (scratch, each):  # fmt: skip
        from hexarec.serve.jobs.bulk import kept
        from hexarec.serve.jobs.shards import EmbedShard, joined, through
        from hexarec.serve.live.enriched import items_of

        found = kept(lambda: items_of(_data(model, data)), scratch / "items")
        work = EmbedShard(str(scratch / "items"), str(scratch / "vectors"), shard, encoder)
        table = joined(through(work, found.n_items, each, "embed"), out)
    _say(out, f"vectors of {len(table):,} items")


@app.command("enrich")
def enrich(
    model: Model, out: Out, engine: EngineName = "local", shard: Shard = 1_000, workers: Workers = None,
    address: Address = None, resume: Resume = False, data: Data = None, seed: Seed = 0,
) -> None:  # fmt: skip
    """What the enrichers of the model make of every item: item_id, text and feature columns."""
    with _begun(out, resume, {"work": "enrich", "model": _hash(model), "shard": shard, "seed": seed}, engine, workers,
                address) as (scratch, each):  # fmt: skip
        from hexarec.core import StateError
        from hexarec.eval.opening import guarded
        from hexarec.pipeline.save import load
        from hexarec.serve.jobs.bulk import kept
        from hexarec.serve.jobs.enrich import as_table, enriched
        from hexarec.serve.jobs.shards import filed

        stages = guarded(load(model)).enrich_by
        if not stages:
            raise StateError(f"{model} enriches nothing", hint="add a stage under [[enrich]] and fit again")
        found = kept(lambda: _data(model, data), scratch / "data")
        table = filed(as_table(enriched(found, stages, scratch, shard=shard, seed=seed, each=each)), out)
    _say(out, f"{len(table.columns) - 1} columns of {len(table):,} items")


@contextlib.contextmanager
def _begun(
    out: Path, resume: bool, about: dict[str, Any], engine: Engine, workers: int | None, address: str | None
) -> Iterator[tuple[Path, Each]]:  # fmt: skip
    """The folder of the parts and the way to make them; the folder is deleted when all is done."""
    import shutil

    from hexarec.cli.progress import working
    from hexarec.cli.serving import needs_extra
    from hexarec.core import OptionError

    needs_extra()
    if engine == "local" and (workers or address):
        raise OptionError("--workers and --address are for --engine ray")
    if workers and address:
        raise OptionError("a cluster that runs already has its own workers", hint="leave --workers out")
    scratch = out.with_name(f"{out.name}.parts").resolve()
    _check_parts(scratch, out, resume, about)
    with working(), _engine(engine, workers, address) as each:
        yield scratch, each
    shutil.rmtree(scratch)


def _check_parts(scratch: Path, out: Path, resume: bool, about: dict[str, Any]) -> None:
    """Begin a folder of parts, or go on with one of the same work. Raises OptionError."""
    import json

    from hexarec.core import OptionError
    from hexarec.core.atomic import write_text

    note = scratch / "about.json"
    if out.exists():
        raise OptionError(f"{out} exists", hint="choose another name, or delete it")
    if note.is_file():
        if not resume:
            raise OptionError(f"{scratch} holds an unfinished run", hint="--resume goes on with it; or delete it")
        before = json.loads(note.read_text("utf-8"))
        if before != about:
            other = [name for name in about if before.get(name) != about[name]]
            raise OptionError(f"the unfinished run had other {', '.join(other)}", hint=f"delete {scratch}")
        return
    write_text(note, json.dumps(about))


@contextlib.contextmanager
def _engine(engine: Engine, workers: int | None, address: str | None) -> Iterator[Each]:
    if engine == "local":
        from hexarec.serve.jobs.shards import one_by_one

        yield one_by_one
        return
    from hexarec.serve.jobs.cluster import connected, on_ray

    with connected(workers, address):
        yield on_ray


def _data(model: Path, data: str | None) -> Dataset:
    from hexarec.cli.recommend import served

    return served(model, data)


def _hash(model: Path) -> str:
    """What tells one saved pipeline from another: the hashes in its manifest."""
    import json

    from hexarec.core import digest, manifest

    return digest(json.dumps(manifest(model)["files"], sort_keys=True))


def _say(out: Path, what: str) -> None:
    from hexarec.cli.shared import say

    say(f"written: {out}, {what}")
