"""What enrichers made of the stored items: kept as a data set of its own, and part of what pipelines are fitted on."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core import Catalog, Dataset, Features, IdTable
from hexarec.data.store import read_dataset, write_dataset
from hexarec.serve.live.catalogs import served_data

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf

KIND = "enriched"
ITEMS = "items"


def keep(shelf: Shelf, folder: Path, data: Dataset) -> int:
    """Keep texts and vectors of items; the number of this state. What was kept before the last one is deleted."""
    path = folder / f"{KIND}-{secrets.token_hex(6)}"
    write_dataset(items_of(data), path)
    made = shelf.put(KIND, ITEMS, {"path": path.name}, activate=True)
    for old in shelf.versions(KIND, ITEMS)[:-2]:
        shutil.rmtree(folder / str(old.body["path"]), ignore_errors=True)
    return made.version


def items_of(data: Dataset) -> Dataset:
    """The items of a data set with their features, in a lineage of their own: `onto` brings them back by id."""
    catalog = replace(data.catalog, items=IdTable.of(data.catalog.items.ids.tolist(), secrets.token_hex(8)))
    return replace(served_data(catalog, data.name), features=data.features)


def with_kept(data: Dataset, shelf: Shelf, folder: Path) -> Dataset:
    """The data set with the kept texts and vectors of its items; a text of an item that has changed is left out."""
    found = shelf.get(KIND, ITEMS)
    if found is None:
        return data
    kept = read_dataset(folder / str(found.body["path"])).onto(data.catalog.items)
    n = data.n_items
    if len(kept.catalog) > n:  # items that this server does not know yet
        return data
    made = replace(data, catalog=_with_texts(data.catalog, kept.catalog))
    for name, table in kept.features.items():
        made = made.with_features(name, Features(table.rows[:n], table.mask[:n], table.provenance))
    return made


def _with_texts(catalog: Catalog, kept: Catalog) -> Catalog:
    same = (catalog.titles == kept.titles) & (catalog.texts == kept.texts)
    for (variant, lang), column in kept.text.items():
        if (variant, lang) not in catalog.text:
            texts = column.copy()
            texts[~same] = None
            catalog = catalog.with_text(variant, lang, texts, kept.provenance.get(variant, {}))
    return catalog
