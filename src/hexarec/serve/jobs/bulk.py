"""Bulk work in shards: lists for every user, vectors of every item. The same functions here, in a job, and on Ray.

A shard is a pure function of what is saved and of its number; its file is written aside and renamed, so a worker that
dies leaves nothing half-written, and a second start does only what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import OptionError, current, track
from hexarec.data.store import open_data, write_dataset
from hexarec.lm.open import open_encoder
from hexarec.parts.encoded import item_texts
from hexarec.pipeline.save import load
from hexarec.serve.live.publish import KIND as PIPELINE

if TYPE_CHECKING:
    import polars as pl

    from hexarec.core import Dataset
    from hexarec.serve.live.tenant import Tenant

Each = Callable[[Callable[[int], Path], Sequence[int]], Iterable[Path]]
"""How shards are worked through: a function and the numbers that are missing; yields finished files."""


@dataclass(frozen=True)
class RecommendShard:
    """Lists for one shard of users: user_id, rank, item_id, score, reason. Its fields travel: paths and numbers."""

    pipeline: str
    data: str
    out: str
    n: int = 10
    size: int = 1_000
    explain: bool = False

    def __call__(self, number: int) -> Path:
        """Make shard `number`."""
        data = open_data(self.data)
        users = np.arange(number * self.size, min((number + 1) * self.size, data.n_users))
        pipeline = load(self.pipeline, data)
        queries = data.queries(users)
        answer = pipeline.recommend(queries, self.n, explain=self.explain)
        rows: dict[str, list[Any]] = {"user_id": [], "rank": [], "item_id": [], "score": [], "reason": []}
        for i, user in enumerate(queries.user_ids()):
            ranked = answer.items[i]
            count = len(ranked.items)
            rows["user_id"] += [user] * count
            rows["rank"] += range(1, count + 1)
            rows["item_id"] += data.catalog.ids(ranked.items)
            rows["score"] += ranked.scores.tolist()
            words = None if answer.reasons is None else answer.reasons[i].items
            rows["reason"] += [None] * count if words is None else [one.text for one in words]
        return _written(rows, Path(self.out), number)


@dataclass(frozen=True)
class EmbedShard:
    """Vectors of the words of one shard of items: item_id, vector (list of float32)."""

    encoder: str
    data: str
    out: str
    size: int = 1_000

    def __call__(self, number: int) -> Path:
        """Make shard `number`."""
        catalog = open_data(self.data).catalog
        rows = np.arange(number * self.size, min((number + 1) * self.size, len(catalog)))
        encoder = open_encoder(self.encoder)
        if hasattr(encoder, "fit"):
            raise OptionError(f"{self.encoder} learns from all texts, so shards cannot share it", hint="use minilm")
        texts = item_texts(catalog, ("title", "text"))
        vectors = encoder.encode([texts[row] for row in rows])
        return _written(
            {"item_id": catalog.ids(rows), "vector": [one.tolist() for one in vectors]}, Path(self.out), number
        )


def _written(rows: Mapping[str, Any], folder: Path, number: int) -> Path:
    import polars as pl

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:06d}.parquet"
    aside = path.with_suffix(f".{os.getpid()}.part")
    pl.DataFrame(rows).write_parquet(aside)
    aside.replace(path)
    return path


def one_by_one(work: Callable[[int], Path], numbers: Sequence[int]) -> Iterable[Path]:
    """The shards in this process, in order."""
    return map(work, numbers)


def on_ray(work: Callable[[int], Path], numbers: Sequence[int]) -> Iterable[Path]:
    """The shards on Ray, as they finish; a shard whose worker died is made again. Needs `connected`."""
    import ray

    remote: Any = ray.remote(max_retries=5, num_cpus=1)(_called)
    waiting = [remote.remote(work, number) for number in numbers]
    while waiting:
        current().check()
        done, waiting = ray.wait(waiting, num_returns=1, timeout=1.0)
        yield from ray.get(done)


def _called(work: Callable[[int], Path], number: int) -> Path:
    """One shard on a worker of Ray, which sends functions by name and their fields as values."""
    return work(number)


def through(work: Any, total: int, each: Each = one_by_one, label: str = "shards") -> list[Path]:
    """Every shard of `total` rows; those whose file exists already are not made again. Paths in order."""
    folder = Path(work.out)
    numbers = range(-(-total // work.size))
    missing = [one for one in numbers if not (folder / f"{one:06d}.parquet").exists()]
    for _ in track(each(work, missing), label, total=len(missing)):
        pass
    return [folder / f"{one:06d}.parquet" for one in numbers]


def gathered(paths: Sequence[Path]) -> pl.DataFrame:
    """All shards as one table."""
    import polars as pl

    return pl.concat([pl.read_parquet(path) for path in paths]) if paths else pl.DataFrame()


def recommend_shards(tenant: Tenant, pipeline: str, scratch: Path, *, n: int, shard: int) -> dict[str, Any]:
    """Lists for every stored user by the served version of a pipeline; one Parquet file in the job's folder."""
    version = tenant.shelf.get(PIPELINE, pipeline)
    if version is None:
        raise OptionError(f"no pipeline {pipeline!r}", hint="fit one first")
    data = _kept(tenant.data(), scratch / "data")
    work = RecommendShard(str(tenant.folder / str(version.body["path"])), str(scratch / "data"),
                          str(scratch / "lists"), n, shard)  # fmt: skip
    paths = through(work, data.n_users, label="recommend")
    return _joined(paths, scratch / "lists.parquet") | {"users": data.n_users, "version": version.version}


def embed_shards(tenant: Tenant, encoder: str, scratch: Path, *, shard: int) -> dict[str, Any]:
    """Vectors of every stored item's words; one Parquet file in the job's folder."""
    data = _kept(tenant.data(), scratch / "data")
    work = EmbedShard(encoder, str(scratch / "data"), str(scratch / "vectors"), shard)
    paths = through(work, data.n_items, label="embed")
    return _joined(paths, scratch / "vectors.parquet") | {"items": data.n_items, "encoder": encoder}


def _kept(data: Dataset, folder: Path) -> Dataset:
    """The data set of this job, the same one after a resume."""
    if folder.exists():
        return open_data(folder)
    write_dataset(data, folder)
    return data


def _joined(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    table = gathered(paths)
    aside = out.with_suffix(".part")
    table.write_parquet(aside)
    aside.replace(out)
    return {"file": out.name, "rows": len(table)}
