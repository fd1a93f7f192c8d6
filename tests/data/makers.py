"""Small data sets and files that several data tests use."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users


def log_of(rows, n_users, n_items, *, clock=True, like=None, since=None):
    """rows: (user, item, time[, value]). Items i0.., users u0.."""
    columns = {
        "user": [r[0] for r in rows], "item": [r[1] for r in rows], "time": [float(r[2]) for r in rows],
        "value": [r[3] if len(r) > 3 else np.nan for r in rows],
    }  # fmt: skip
    if like is not None:
        columns["liked"] = [r[3] >= like for r in rows]
    catalog = Catalog.of([Item(f"i{n}", f"Title {n}") for n in range(n_items)])
    if since is not None:
        catalog.since[:] = since
    users = Users(IdTable.of(f"u{n}" for n in range(n_users)))
    return Dataset(catalog, Interactions.of(columns, n_users, clock=clock), users, name="tiny")


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    """A text file; gzipped when its name ends in .gz."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def lines(rows) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def sequence(data: Dataset, user: str) -> list[str]:
    """The item ids of one user in the order of the log."""
    row = int(data.users.ids.rows([user])[0])
    return data.catalog.ids(data.interactions.item[slice(*data.interactions.offsets[row : row + 2])])


def texts(data: Dataset) -> list[str]:
    """Texts of the events, None left out."""
    column = data.interactions.text
    return [] if column is None else [one for one in column if one]
