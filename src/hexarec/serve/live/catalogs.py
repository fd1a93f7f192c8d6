"""Between the rows of the store and the data set that pipelines serve and fit on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users
from hexarec.core.catalog import column_of
from hexarec.core.interactions import KINDS, NOT_LIKED
from hexarec.serve.errors import MissingError
from hexarec.serve.store.rows import EventRow, ItemRow, UserRow

CHUNK = 5_000


def item_of(row: ItemRow) -> Item:
    """The item of a row; lists in attributes become tuples."""
    attributes = {name: tuple(value) if isinstance(value, list) else value for name, value in row.attributes.items()}
    return Item(row.id, row.title, row.text, attributes, dict(row.titles), dict(row.texts))


def catalog_of(rows: Sequence[ItemRow], *, lang: str, key: str = "") -> Catalog:
    """The rows as a catalog in their order; deleted ones are tombstones."""
    made = Catalog.of([item_of(row) for row in rows], lang=lang, key=key)
    alive = np.array([not row.deleted for row in rows], bool)
    since = np.array([-np.inf if row.since is None else row.since for row in rows], np.float64)
    return replace(made, alive=alive, since=since)


def on_sale(catalog: Catalog, item: str) -> int:
    """The row of an item. Raises MissingError for one that the catalog lacks, or that was deleted."""
    row = int(catalog.rows([item])[0])
    if row < 0 or not catalog.alive[row]:
        raise MissingError(f"no item {item[:80]!r}")
    return row


def grown(catalog: Catalog, changed: Sequence[ItemRow]) -> Catalog:
    """The catalog of the same lineage after these rows changed: new ids behind, known ids in their place."""
    if not changed:
        return catalog
    fresh = [row for row in changed if row.id not in catalog.items]
    known = {row.id: row for row in changed if row.id in catalog.items}
    made = _rewritten(catalog, known) if known else catalog
    if fresh:
        made = made.extend([item_of(row) for row in fresh])
    rows = made.rows([row.id for row in changed])
    alive, since = made.alive.copy(), made.since.copy()
    alive[rows] = [not row.deleted for row in changed]
    since[rows] = [-np.inf if row.since is None else row.since for row in changed]
    return replace(made, alive=alive, since=since)


def _rewritten(catalog: Catalog, known: dict[str, ItemRow]) -> Catalog:
    """Every column again, with the changed rows in it; what enrichers wrote about unchanged rows stays."""
    items = [item_of(known[one.id]) if one.id in known else one for one in catalog]
    made = Catalog.of(items, lang=catalog.lang, key=catalog.key)
    rows = catalog.rows(list(known))
    kept = {}
    for (variant, lang), column in catalog.text.items():
        if variant not in ("title", "text"):
            written = column.copy()
            written[rows] = None
            kept[variant, lang] = written
    return replace(made, text={**made.text, **kept}, provenance=catalog.provenance, alive=catalog.alive,
                   since=catalog.since)  # fmt: skip


def dataset_of(
    catalog: Catalog, columns: dict[str, list[Any]], users: Sequence[UserRow], *, name: str, like: float | None
) -> Dataset:
    """All stored events of known items as a data set to fit on. `like`: the smallest rating that says liked."""
    ids = IdTable.of(
        dict.fromkeys([*(user.id for user in users), *(one for one in columns["user"] if one is not None)])
    )
    item = catalog.rows(columns["item"])
    user = ids.rows([one or "" for one in columns["user"]])
    keep = (item >= 0) & (user >= 0)
    kind = np.array([KINDS.index(one) for one in columns["kind"]], np.int8)
    value = np.array([np.nan if one is None else one for one in columns["value"]], np.float32)
    liked = ~np.isin(kind, [KINDS.index(one) for one in NOT_LIKED])
    if like is not None:
        liked &= ~(value < like)
    time = np.array(columns["time"], np.float64)
    table: dict[str, Any] = {
        "user": user, "item": item, "time": time, "kind": kind, "value": value, "liked": liked,
    }  # fmt: skip
    rule = "every event" if like is None else f"value >= {like:g}"
    log = Interactions.of({key: column[keep] for key, column in table.items()}, len(ids), like_rule=rule)
    stated = {user.id: user.attributes for user in users}
    names = dict.fromkeys(key for attributes in stated.values() for key in attributes)
    attributes = {key: column_of([stated.get(one, {}).get(key) for one in ids.ids.tolist()]) for key in names}
    return Dataset(catalog, log, Users(ids, attributes), name=name)


def served_data(catalog: Catalog, name: str) -> Dataset:
    """A data set of the catalog alone: what a pipeline needs to serve, where histories come with the queries."""
    empty = Interactions.of({"user": [], "item": [], "time": []}, 0)
    return Dataset(catalog, empty, Users(IdTable.of([])), name=name)


def item_rows(catalog: Catalog) -> list[ItemRow]:
    """The catalog's items as rows of the store."""
    made = []
    for row, item in enumerate(catalog):
        attributes = {key: list(value) if isinstance(value, tuple) else value for key, value in item.attributes.items()}
        since = float(catalog.since[row])
        made.append(
            ItemRow(item.id, item.title, item.text, attributes, dict(item.titles), dict(item.texts),
                    None if since == -np.inf else since, 0, not bool(catalog.alive[row]))
        )  # fmt: skip
    return made


def user_rows(data: Dataset) -> list[UserRow]:
    """The users of a data set with what they stated."""
    columns = data.users.attributes
    made = []
    for row, one in enumerate(data.users.ids.ids.tolist()):
        values = {name: column[row] for name, column in columns.items()}
        stated = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        made.append(UserRow(one, {k: v for k, v in stated.items() if v is not None and v == v}))
    return made


def event_rows(data: Dataset, key: str = "") -> Iterator[list[EventRow]]:
    """The log as rows of the store, in chunks; ids are made of key (the name without one) and the place in the log, so
    an import repeats nothing."""
    log, users, items = data.interactions, data.users.ids.ids, data.catalog.items.ids
    for start in range(0, len(log), CHUNK):
        stop = min(start + CHUNK, len(log))
        yield [
            EventRow(
                id=f"import-{key or data.name}-{i}",
                item=items[log.item[i]],
                time=float(log.time[i]),
                kind=KINDS[log.kind[i]],
                user=users[log.user[i]],
                value=None if log.value[i] != log.value[i] else float(log.value[i]),
                text="" if log.text is None else (log.text[i] or ""),
                source=log.sources[log.source[i]],
            )
            for i in range(start, stop)
        ]
