"""Bulk jobs over what a tenant stores: lists for every user, vectors of every item."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import Dataset, OptionError
from hexarec.data.store import open_data, write_dataset
from hexarec.serve.jobs.shards import EmbedShard, RecommendShard, joined, through
from hexarec.serve.live.catalogs import served_data
from hexarec.serve.live.publish import KIND as PIPELINE

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def recommend_shards(tenant: Tenant, pipeline: str, scratch: Path, *, n: int, shard: int) -> dict[str, Any]:
    """Lists for every stored user by the version in service; one Parquet file in the job's folder."""
    version = tenant.shelf.get(PIPELINE, pipeline)
    if version is None:
        raise OptionError(f"no pipeline {pipeline!r}", hint="fit one first")
    data = kept(tenant.data, scratch / "data")
    work = RecommendShard(str(scratch / "data"), str(scratch / "lists"), shard,
                          str(tenant.folder / str(version.body["path"])), n)  # fmt: skip
    paths = through(work, data.n_users, label="recommend")
    table = joined(paths, scratch / "lists.parquet")
    told = {"file": "lists.parquet", "rows": len(table), "users": data.n_users, "version": version.version}
    return told | {"degraded": faults(table)}


def embed_shards(tenant: Tenant, encoder: str, scratch: Path, *, shard: int) -> dict[str, Any]:
    """Vectors of every stored item's words; one Parquet file in the job's folder."""
    data = kept(lambda: served_data(tenant.data().catalog, tenant.name), scratch / "items")
    work = EmbedShard(str(scratch / "items"), str(scratch / "vectors"), shard, encoder)
    table = joined(through(work, data.n_items, label="embed"), scratch / "vectors.parquet")
    return {"file": "vectors.parquet", "rows": len(table), "items": data.n_items, "encoder": encoder}


def kept(make: Any, folder: Path) -> Dataset:
    """The data set of a piece of work: written at the first start, the same one after a resume."""
    if not folder.exists():
        write_dataset(make(), folder)
    return open_data(folder)


def faults(table: Any) -> list[str]:
    """What degraded in the batches of lists, each reason once."""
    if "degraded" not in table.columns:
        return []
    return sorted(table["degraded"].drop_nulls().unique().to_list())
