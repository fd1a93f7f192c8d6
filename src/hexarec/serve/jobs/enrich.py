"""Enriching in shards of items, where an enricher sees each item alone; as a whole where it learns from the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import Dataset, Features, StateError, fitted, save, track
from hexarec.data.store import open_data, write_dataset
from hexarec.pipeline.build import cards
from hexarec.serve.jobs.shards import Each, EnrichShard, filed, one_by_one, through
from hexarec.serve.live.enriched import items_of, keep

if TYPE_CHECKING:
    import polars as pl

    from hexarec.core import Enricher
    from hexarec.serve.live.tenant import Tenant

LEARNS_FROM = frozenset({"ratings", "reviews", "exposures", "graph", "dialogues"})


def enrich_shards(
    tenant: Tenant, stages: Sequence[Enricher], scratch: Path, *, shard: int, seed: int
) -> dict[str, Any]:  # fmt: skip
    """Enrich the stored items, keep the result for fits to come, and write it as Parquet in the job's folder."""
    before = tenant.data()
    made = enriched(before, stages, scratch, shard=shard, seed=seed)
    state = keep(tenant.shelf, tenant.folder, made)
    table = filed(as_table(made), scratch / "enriched.parquet")
    return {"file": "enriched.parquet", "rows": len(table), "columns": table.columns, "state": state}


def enriched(
    data: Dataset, stages: Sequence[Enricher], scratch: Path, *, shard: int, seed: int = 0, each: Each = one_by_one
) -> Dataset:  # fmt: skip
    """The data set after these enrichers, in order; what an earlier start left in `scratch` is not made again."""
    for place, stage in enumerate(track(list(stages), "enrich")):
        folder = scratch / f"enrich-{place}"
        if sees_items_alone(stage):
            data = _in_shards(data, stage, folder, shard, each)
        else:
            data = fitted(stage, data, seed).enrich(data)
    return data


def sees_items_alone(stage: Enricher) -> bool:
    """Whether what it makes of an item depends on that item alone: no log is needed, no encoder learns from texts."""
    where = f"{type(stage).__module__}:{type(stage).__qualname__}"
    known = next((card for card in cards().values() if card.where == where), None)
    encoder = getattr(stage, "encoder", None)
    return known is not None and not (known.needs & LEARNS_FROM) and not hasattr(encoder, "fit")


def _in_shards(data: Dataset, stage: Enricher, folder: Path, size: int, each: Each) -> Dataset:
    items, saved = folder / "items", folder / "stage"
    if not items.exists():
        write_dataset(items_of(data), items)
    if not saved.exists():
        save(stage, saved)
    kept = open_data(items)
    work = EnrichShard(str(items), str(folder / "shards"), size, str(saved))
    parts = [open_data(path) for path in through(work, kept.n_items, each, type(stage).__name__)]
    return _with_parts(data, kept, parts)


def _with_parts(data: Dataset, kept: Dataset, parts: Sequence[Dataset]) -> Dataset:
    """The data set with what the shards added to the items of `kept`, brought to its own rows."""
    if any(one.graph is not None for one in parts):
        raise StateError("an enricher that adds edges cannot be run in shards of items")
    made = kept
    for name in dict.fromkeys(name for one in parts for name in one.features):
        tables = [one.features[name] for one in parts]
        rows, mask = (np.concatenate([getattr(one, part) for one in tables]) for part in ("rows", "mask"))
        made = made.with_features(name, Features(rows, mask, _provenance([one.provenance for one in tables])))
    catalog = kept.catalog
    for variant, lang in dict.fromkeys(key for one in parts for key in one.catalog.text):
        column = np.concatenate([one.catalog.text[variant, lang] for one in parts])
        how = _provenance([one.catalog.provenance.get(variant, {}) for one in parts])
        catalog = catalog.with_text(variant, lang, column, how)
    moved = replace(made, catalog=catalog).onto(data.catalog.items)
    whole = replace(data.catalog, text=moved.catalog.text, provenance=moved.catalog.provenance)
    return replace(data, catalog=whole, features={**data.features, **moved.features})


def _provenance(parts: Sequence[Any]) -> dict[str, str]:
    """One provenance of all shards: equal values once, `hashes` one after the other."""
    made = dict(parts[0])
    if "hashes" in made:
        made["hashes"] = "\n".join(one["hashes"] for one in parts)
    return made


def as_table(data: Dataset) -> pl.DataFrame:
    """What enrichers know of items: item_id, a column per text (`text:variant:lang`) and per feature (lists)."""
    import polars as pl

    columns = [pl.Series("item_id", data.catalog.items.ids.tolist(), pl.String)]
    for (variant, lang), column in data.catalog.text.items():
        columns.append(pl.Series(f"text:{variant}:{lang}", column.tolist(), pl.String))
    for name, table in data.features.items():
        if len(table.rows) == data.n_items:
            rows = [row if known else None for row, known in zip(table.rows.tolist(), table.mask, strict=True)]
            columns.append(pl.Series(f"feature:{name}", rows, pl.List(pl.Float32)))
    return pl.DataFrame(columns)
