"""Versions of a pipeline: fitted, written whole beside the old one, then made the active one in one step."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import Catalog, Dataset, StateError
from hexarec.eval.opening import guarded, pipeline_of
from hexarec.lm.address import withheld_in
from hexarec.pipeline.pipeline import Pipeline
from hexarec.pipeline.save import load, save
from hexarec.serve.live.artefacts import described
from hexarec.serve.live.catalogs import served_data
from hexarec.serve.live.generation import Generation
from hexarec.serve.live.memory import Memory, remembering
from hexarec.serve.live.standby import Standby
from hexarec.serve.store.rows import Versioned

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf

KIND = "pipeline"
KEPT = 5
"""Versions of a pipeline whose files stay, for the way back."""


def fitted_version(
    ready: Mapping[str, Any], config: Mapping[str, Any], data: Dataset, folder: Path, name: str, seed: int = 0
) -> dict[str, Any]:
    """Fit the pipeline of a configuration and write it to a new directory; returns the body of its version.

    ready: the configuration with its prompts in place; config: as it was written.

    The store learns of it only afterwards, so that a stop in between leaves a directory nobody reads.
    """
    # what is saved holds no password, so whoever serves it must have it from elsewhere: asked for before the fit
    pipeline = pipeline_of(withheld_in(ready)).fit(data, seed=seed)
    path = saved(pipeline, folder, name)
    return {
        "config": {key: part for key, part in withheld_in(config).items() if key not in ("data", "serve", "bench")},
        "path": path,
        "seed": seed,
        "events": len(data.interactions),
        "users": data.n_users,
        "items": data.n_items,
        "data_key": data.key,
        **described(pipeline),
    }


def saved(pipeline: Pipeline, folder: Path, name: str) -> str:
    """Write a fitted pipeline to a new directory of the folder; the directory's name."""
    path = folder / f"{name}-{secrets.token_hex(6)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(pipeline, path)
    return path.name


def generation_of(
    version: Versioned, folder: Path, catalog: Catalog, counts: Mapping[str, int], like: float | None,
    memory: Memory | None = None,
) -> Generation:  # fmt: skip
    """The saved pipeline of a version, serving this catalog. Raises StateError when its files do not fit."""
    name = str(version.body["path"])
    if Path(name).name != name or not name:
        raise StateError(f"pipeline {version.name} {version.version} names the path {name!r}, which is no plain name")
    pipeline = remembering(guarded(load(folder / name, served_data(catalog, version.name))), memory)
    return attached(version.name, version.version, pipeline, counts, like, name)


def attached(
    name: str, version: int, pipeline: Pipeline, counts: Mapping[str, int], like: float | None, path: str = ""
) -> Generation:
    """A generation of a pipeline that has its catalog; counts: events per item id, for the list of last resort."""
    ids = pipeline.catalog.items.ids.tolist()
    popular = np.array([counts.get(one, 0) for one in ids], np.float32)
    return Generation(name, version, pipeline, Standby.of(pipeline.catalog, popular), like, path)


def on_catalog(generation: Generation, catalog: Catalog, counts: Mapping[str, int]) -> Generation:
    """The same version serving a changed catalog; new items pass `extend` of each stage."""
    pipeline = generation.pipeline.attach(served_data(catalog, generation.name))
    return attached(generation.name, generation.version, pipeline, counts, generation.like, generation.path)


def pruned(shelf: Shelf, folder: Path, name: str, keep: int = KEPT) -> int:
    """Remove the files of all but the newest `keep` versions and the active one; how many. They stay listed."""
    done = 0
    for version in shelf.versions(KIND, name)[:-keep]:
        old = folder / str(version.body["path"])
        if not version.active and old.is_dir():
            removed(old)
            done += 1
    return done


def removed(folder: Path) -> None:
    """Remove a folder that another process may be removing too."""
    while folder.is_dir():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def forgotten(shelf: Shelf, folder: Path, name: str, users: Sequence[str]) -> int:
    """Write every saved version of a pipeline anew without these users, and remove the old files; versions written.

    Also those that are published meanwhile. A version that another process wrote anew for its own erasure is taken
    from what that one wrote, so that neither brings back whom the other took out.
    """
    done: set[int] = set()
    while left := [one for one in shelf.versions(KIND, name) if one.version not in done and _files(folder, one)]:
        done |= {one.version for one in left if _without(shelf, folder, one, users)}
    return len(done)


def _files(folder: Path, version: Versioned) -> bool:
    return (folder / str(version.body["path"])).is_dir()


def _without(shelf: Shelf, folder: Path, version: Versioned, users: Sequence[str]) -> bool:
    """Write one version anew without these users; False where somebody else did so first, for others."""
    old = folder / str(version.body["path"])
    try:
        pipeline = load(old)
    except (StateError, OSError):
        if shelf.get(KIND, version.name, version.version) == version and old.is_dir():
            raise
        return False
    new = saved(pipeline.forget(users), folder, version.name)
    if not shelf.rewrite(version, {**version.body, "path": new}):
        removed(folder / new)
        return False
    removed(old)
    return True
