"""Two catalogs with rich text: Amazon Industrial and Scientific, and MovieLens latest-small with plots from ReDial."""

from __future__ import annotations

import ast
import csv
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users, ragged
from hexarec.data.importer import import_data

MOST = 500  # characters of a description
CASES = ("valid.csv", "test.csv")


def industrial(folder: Path) -> Dataset:
    """Amazon Industrial and Scientific (MiniOneRec's files): what the histories of validation and test cases hold.

    The training file is not published, so that this log is smaller than the papers'; order only, no clock.
    """
    held = json.loads((folder / "Industrial_and_Scientific.item.json").read_text("utf-8"))
    items = [Item(key, one["title"], _plain(one["description"]), {"brand": one["brand"]}) for key, one in held.items()]
    catalog = Catalog.of(items)
    sequences: dict[str, list[str]] = {}
    for name in CASES:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                past = sequences.setdefault(row["user_id"], [str(i) for i in ast.literal_eval(row["history_item_id"])])
                past.append(row["item_id"])
    rows = [catalog.rows(past) for past in sequences.values()]
    lengths = np.array([len(row) for row in rows])
    columns = {
        "user": np.repeat(np.arange(len(rows)), lengths),
        "item": np.concatenate(rows),
        "time": ragged.positions(ragged.offsets_of(lengths)).astype(np.float64),
    }
    log = Interactions.of(columns, len(rows), clock=False)
    return Dataset(catalog, log, Users(IdTable.of(sequences)), name="Amazon Industrial")


def _plain(description: str) -> str:
    """The description, a list written as Python, as text without markup."""
    try:
        parts = [str(one) for one in ast.literal_eval(description)]
    except (SyntaxError, ValueError):
        parts = [description]
    return unescape(re.sub(r"<[^>]+>", " ", " ".join(parts)))[:MOST]


def films(folder: Path) -> Dataset:
    """MovieLens latest-small; films that ReDial's table has (78.8 % of the ratings) with plot, director and stars."""
    data = import_data(folder / "ml_latest_small").dataset
    table = json.loads((folder / "redial_opendialkg_ievalm" / "redial" / "id2info.json").read_text("utf-8"))
    by_imdb = {one["imdb_id"]: one for one in table.values() if one.get("imdb_id")}
    known: list[dict[str, Any]] = [by_imdb.get(str(key)) or {} for key in data.catalog.attributes["imdb"]]
    plots = np.array([one.get("plot") or "" for one in known], object)
    people = {name: _column([tuple(one.get(name) or ()) for one in known]) for name in ("director", "star")}
    attributes = {**data.catalog.attributes, **people}
    return replace(
        data, catalog=replace(data.catalog, texts=plots, attributes=attributes), name="MovieLens latest-small"
    )


def _column(values: list[tuple[str, ...]]) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made
