"""Bulk work in shards: pure functions of what is saved and of a number. The same here, in a job, and on Ray.

The file of a shard is written aside and renamed, so a worker that dies leaves nothing half-written, and a second start
makes only what is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import Catalog, Dataset, Features, OptionError, track
from hexarec.core.atomic import atomic_file
from hexarec.core.errors import BudgetError
from hexarec.core.state import load as load_stage
from hexarec.data.store import open_data, write_dataset
from hexarec.eval.opening import guarded
from hexarec.lm.open import open_encoder
from hexarec.parts.encoded import encoded, item_texts
from hexarec.pipeline.build import resolve
from hexarec.pipeline.pipeline import Pipeline
from hexarec.pipeline.save import load
from hexarec.serve.live.catalogs import served_data

if TYPE_CHECKING:
    import polars as pl

Call = Callable[[int], Path]
Each = Callable[[Call, Sequence[int]], Iterable[Path]]
"""How shards are worked through: a function and the numbers that are missing; yields finished files."""
FIELDS = ("title", "text")


@functools.lru_cache(maxsize=1)
def _data(path: str) -> Dataset:
    return open_data(path)


@functools.lru_cache(maxsize=1)
def _pipeline(path: str, data: str) -> Pipeline:
    made: Pipeline = guarded(load(path, _data(data)))
    return made


@functools.lru_cache(maxsize=1)
def _encoder(name: str) -> Any:
    made = open_encoder(name)
    if hasattr(made, "fit"):
        raise OptionError(f"{name} learns from all texts, so shards cannot share it", hint="use minilm")
    return made


@functools.lru_cache(maxsize=1)
def _stage(path: str) -> Any:
    return guarded(load_stage(path, resolve))


def let_go() -> None:
    """Forget what this process has opened for shards."""
    for one in (_data, _pipeline, _encoder, _stage):
        one.cache_clear()


@dataclass(frozen=True)
class Shards:
    """Rows in shards of `size`, each a file of the folder `out`. The fields travel to workers: paths and numbers."""

    data: str
    out: str
    size: int

    def path(self, number: int) -> Path:
        """Where shard `number` lies when it is finished."""
        return Path(self.out) / f"{number:06d}.parquet"

    def rows(self, number: int, total: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The rows of shard `number`."""
        return np.arange(number * self.size, min((number + 1) * self.size, total))

    def written(self, columns: Mapping[str, Any], number: int) -> Path:
        """Write the rows of a shard, whole or not at all."""
        import polars as pl

        path = self.path(number)
        with atomic_file(path) as part:
            pl.DataFrame(columns).write_parquet(part)
        return path


UNPAID = "the budget of "
"""How the reason begins why a model was not asked for want of tokens or money."""
LISTS: dict[str, str] = {"user_id": "String", "rank": "Int64", "item_id": "String", "score": "Float64",
                         "reason": "String", "degraded": "String"}  # fmt: skip


@dataclass(frozen=True)
class RecommendShard(Shards):
    """Lists for users: user_id, rank, item_id, score, reason, and what degraded in the batch they were made in."""

    pipeline: str = ""
    n: int = 10
    explain: bool = False

    def __call__(self, number: int) -> Path:
        """Make shard `number`. Raises BudgetError for lists that nobody paid for: they are no result."""
        import polars as pl

        data, pipeline = _data(self.data), _pipeline(self.pipeline, self.data)
        queries = data.queries(self.rows(number, data.n_users))
        answer = pipeline.recommend(queries, self.n, explain=self.explain)
        fault = "; ".join(f"{one.stage} {one.method}: {one.reason}" for one in answer.degraded) or None
        if unpaid := next((one.reason for one in answer.degraded if UNPAID in one.reason), None):
            raise BudgetError(unpaid.removeprefix("BudgetError: "))
        rows: dict[str, list[Any]] = {name: [] for name in LISTS}
        for i, user in enumerate(queries.user_ids()):
            ranked = answer.items[i]
            count = len(ranked.items)
            words = None if answer.reasons is None else answer.reasons[i].items
            rows["user_id"] += [user] * count
            rows["rank"] += range(1, count + 1)
            rows["item_id"] += queries.catalog.ids(ranked.items)
            rows["score"] += ranked.scores.astype(np.float64).tolist()
            rows["reason"] += [None] * count if words is None else [one.text for one in words]
            rows["degraded"] += [fault] * count
        typed = {name: pl.Series(name, column, getattr(pl, LISTS[name])) for name, column in rows.items()}
        return self.written(typed, number)


@dataclass(frozen=True)
class EmbedShard(Shards):
    """Vectors of the words of items: item_id, vector (list of float32)."""

    encoder: str = "minilm"

    def __call__(self, number: int) -> Path:
        """Make shard `number`. Raises OptionError for an encoder that learns from all texts."""
        import polars as pl

        catalog = _data(self.data).catalog
        rows, encoder = self.rows(number, len(catalog)), _encoder(self.encoder)
        rows = rows[catalog.alive[rows]]
        texts = item_texts(catalog, FIELDS)
        vectors = encoded(encoder, [texts[row] for row in rows])
        vector = pl.Series("vector", vectors.tolist(), pl.List(pl.Float32))
        return self.written({"item_id": catalog.ids(rows), "vector": vector}, number)


@dataclass(frozen=True)
class EnrichShard(Shards):
    """What an enricher makes of items that it sees alone: a stored data set of these items."""

    stage: str = ""

    def path(self, number: int) -> Path:
        """Where the data set of shard `number` lies when it is finished."""
        return Path(self.out) / f"{number:06d}"

    def __call__(self, number: int) -> Path:
        """Make shard `number`."""
        data = _data(self.data)
        made = _stage(self.stage).enrich(some_items(data, self.rows(number, data.n_items)))
        return write_dataset(made, self.path(number))


def some_items(data: Dataset, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Dataset:
    """A data set of these items alone, without log and users, with what is known of them."""
    whole = data.catalog
    items = [whole[one] for one in whole.ids(rows)]
    text = {key: column[rows] for key, column in whole.text.items()}
    catalog = replace(
        Catalog.of(items, lang=whole.lang), text=text, provenance=whole.provenance, alive=whole.alive[rows],
        since=whole.since[rows],
    )  # fmt: skip
    features = {name: _at(table, rows) for name, table in data.features.items() if len(table.rows) == len(whole)}
    return replace(served_data(catalog, data.name), features=features)


def _at(table: Features, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Features:
    """These rows of a feature table, with their `hashes` where it has such."""
    about = dict(table.provenance)
    if "hashes" in about:
        lines = about["hashes"].split("\n")
        about["hashes"] = "\n".join(lines[row] for row in rows.tolist())
    return Features(table.rows[rows], table.mask[rows], about)


def one_by_one(work: Call, numbers: Sequence[int]) -> Iterable[Path]:
    """The shards in this process, in order."""
    return map(work, numbers)


def through(work: Any, total: int, each: Each = one_by_one, label: str = "shards") -> list[Path]:
    """Every shard of `total` rows; those that exist already are not made again. Paths in order."""
    numbers = range(-(-total // work.size))
    missing = [one for one in numbers if not work.path(one).exists()]
    try:
        for _ in track(each(work, missing), label, total=len(missing)):
            pass
    finally:
        let_go()
    return [work.path(one) for one in numbers]


def joined(paths: Sequence[Path], out: Path) -> pl.DataFrame:
    """All shards as one table, in one Parquet file."""
    import polars as pl

    table = pl.concat([pl.read_parquet(path) for path in paths]) if paths else pl.DataFrame()
    return filed(table, out)


def filed(table: pl.DataFrame, out: Path) -> pl.DataFrame:
    """Write a table to a Parquet file, whole or not at all."""
    with atomic_file(out) as part:
        table.write_parquet(part)
    return table
