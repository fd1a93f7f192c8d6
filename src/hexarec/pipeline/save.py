"""Pipelines on disk: a directory whose manifest is written last, and that refuses what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hexarec.core import Dataset, StateError, manifest
from hexarec.core import load as load_state
from hexarec.core import save as save_state
from hexarec.pipeline.build import resolve
from hexarec.pipeline.pipeline import Pipeline


def save(pipeline: Pipeline, path: str | Path) -> Path:
    """Write a fitted pipeline to the directory `path`. The data set is not part of it."""
    fitted = pipeline._fitted()
    meta: dict[str, Any] = {
        "name": pipeline.name,
        "catalog": fitted.items_.key,
        "items": len(fitted.items_),
        "data_key": fitted.data_key_,
        "seed": fitted.seed_,
    }
    return save_state(pipeline, path, meta)


def load(path: str | Path, data: Dataset | None = None) -> Pipeline:
    """Read a saved pipeline and let it serve `data`; rows of another lineage are mapped by id.

    Raises StateError when a file is missing or damaged, or the directory holds something else.
    """
    made = load_state(path, resolve)
    if not isinstance(made, Pipeline):
        raise StateError(f"{path} holds a {type(made).__name__}, not a pipeline")
    return made if data is None else made.attach(data)


__all__ = ["load", "manifest", "save"]
