"""Cells: what one system with one seed answered and spent; kept on disk so that a stopped run goes on."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hexarec.core import DataError, Lists, current
from hexarec.core.atomic import atomic_file

CELLS = "cells"
"""The folder of a run in which its cells lie."""


@dataclass(frozen=True)
class Cell:
    """lists: what was answered. Seconds are wall time; costs are ledger snapshots; degraded counts failed stages."""

    system: str
    seed: int
    lists: Lists
    fit_seconds: float
    seconds: float
    fit_cost: Mapping[str, float]
    cost: Mapping[str, float]
    degraded: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def _write(path: Path, lists: Lists, about: Mapping[str, Any]) -> None:
    """Lists and what belongs to them, whole or not at all."""
    fields = {f"field:{n}": c for n, c in lists.fields.items() if c.dtype != object}
    note = json.dumps({"key": lists.key, "notes": list(lists.notes), **about}, ensure_ascii=False)
    with atomic_file(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            offsets=lists.offsets,
            items=lists.items,
            scores=lists.scores,
            about=np.frombuffer(note.encode(), np.uint8),
            allow_pickle=False,
            **fields,
        )
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, n_items: int | None = None) -> tuple[Lists, dict[str, Any]]:
    """Raises DataError naming the file when it is damaged."""
    try:
        return _unpacked(path, n_items)
    except (ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error, OSError) as error:
        raise DataError(
            f"a damaged cell: {type(error).__name__}: {error}", file=str(path), hint="delete it and resume"
        ) from None


def _unpacked(path: Path, n_items: int | None) -> tuple[Lists, dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes().decode())
        fields = {name[6:]: file[name] for name in file.files if name.startswith("field:")}
        lists = Lists(
            about.pop("key"), file["offsets"], file["items"], file["scores"], fields, tuple(about.pop("notes"))
        )
    columns = (lists.scores, *fields.values())
    if (
        lists.offsets[0] != 0 or (np.diff(lists.offsets) < 0).any() or lists.offsets[-1] != len(lists.items)
        or any(len(one) != len(lists.items) for one in columns) or (lists.notes and len(lists.notes) != len(lists))
    ):  # fmt: skip
        raise ValueError("its columns do not fit each other")
    if n_items is not None and len(lists.items) and not 0 <= lists.items.min() <= lists.items.max() < n_items:
        raise ValueError("it names items that the catalog lacks")
    return lists, about


@dataclass
class CellStore:
    """Finished cells and blocks of unfinished ones under `folder`/cells; without a folder nothing is kept.

    n_items: rows of the catalog, where it is known; a cell that names others is damaged.
    """

    folder: str | Path | None
    resume: bool = False
    n_items: int | None = None
    _costs: dict[str, dict[str, float]] = field(default_factory=dict)

    def _path(self, name: str) -> Path:
        return Path(self.folder or ".") / CELLS / name

    def _found(self, name: str) -> tuple[Lists, dict[str, Any]] | None:
        if self.folder is None or not self.resume or not self._path(name).exists():
            return None
        try:
            return _read(self._path(name), self.n_items)
        except DataError as error:
            current().emit({"kind": "note", "text": f"{error.message}; it is measured again"})
            return None

    def finished(self, key: str) -> Cell | None:
        """A cell measured before, when resuming."""
        found = self._found(f"{key}.npz")
        if found is None:
            return None
        lists, about = found
        return Cell(lists=lists, **about)

    def finish(self, key: str, cell: Cell) -> None:
        """Keep a finished cell; its blocks are no longer needed."""
        if self.folder is None:
            return
        about = {name: value for name, value in vars(cell).items() if name != "lists"}
        _write(self._path(f"{key}.npz"), cell.lists, about)
        for path in self._path("").glob(f"{key}-*.npz"):
            path.unlink(missing_ok=True)

    def block(self, key: str, start: int) -> tuple[Lists, float, int] | None:
        """A block answered before, when resuming."""
        found = self._found(f"{key}-{start}.npz")
        if found is None:
            return None
        lists, about = found
        self._add(key, about["cost"])
        return lists, about["seconds"], about["degraded"]

    def keep_block(self, key: str, start: int, lists: Lists, seconds: float, degraded: int) -> None:
        """Keep one answered block, with what the run has spent on it."""
        if self.folder is None:
            return
        spent = current().ledger.snapshot()
        known = self._costs.get(f"{key}:live", {})
        cost = {name: value - known.get(name, 0.0) for name, value in spent.items()}
        self._costs[f"{key}:live"] = spent
        _write(self._path(f"{key}-{start}.npz"), lists, {"seconds": seconds, "degraded": degraded, "cost": cost})

    def _add(self, key: str, cost: Mapping[str, float]) -> None:
        total = self._costs.setdefault(key, {})
        for name, value in cost.items():
            total[name] = total.get(name, 0.0) + value

    def total_cost(self, key: str, live: Mapping[str, float]) -> dict[str, float]:
        """What the cell cost: this run's ledger and what resumed blocks had cost."""
        before = self._costs.get(key, {})
        return {name: value + before.get(name, 0.0) for name, value in live.items()}
