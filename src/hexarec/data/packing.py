"""The tables of a data set as Parquet frames and back: log, catalog, users, exposures, graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import (
    KINDS,
    Catalog,
    Dataset,
    Exposures,
    Filter,
    Graph,
    History,
    IdTable,
    Interactions,
    Lists,
    Queries,
    Users,
    strings,
)
from hexarec.core.errors import DataError
from hexarec.core.ragged import offsets_of
from hexarec.data.encode import as_json, codes, columns_to_frame, frame_to_columns, text_series

if TYPE_CHECKING:
    import polars as pl

Frame = tuple["pl.DataFrame", dict[str, Any]]


def pack_events(data: Dataset) -> Frame:
    """The log with ids, one row per event in its own order."""
    import polars as pl

    log = data.interactions
    users, items = (text_series("id", table.ids) for table in (data.users.ids, data.catalog.items))
    kinds, sources = (pl.Series("k", list(names), dtype=pl.String) for names in (KINDS, log.sources))
    frame = pl.DataFrame(
        {
            "user_id": users.gather(log.user), "item_id": items.gather(log.item), "time": log.time,
            "kind": kinds.gather(log.kind.astype(np.int32)), "value": log.value, "liked": log.liked,
            "weight": log.weight, "source": sources.gather(log.source.astype(np.int32)),
        }
    )  # fmt: skip
    if log.text is not None:
        frame = frame.with_columns(text_series("text", log.text))
    return frame, {"sources": list(log.sources), "clock": log.clock, "like_rule": log.like_rule}


def unpack_events(frame: pl.DataFrame, about: Mapping[str, Any], users: Users, catalog: Catalog) -> Interactions:
    """The log as it was."""
    return Interactions.of(
        {
            "user": codes(frame["user_id"], users.ids.ids.tolist()),
            "item": codes(frame["item_id"], catalog.items.ids.tolist()),
            "time": frame["time"].to_numpy(),
            "kind": codes(frame["kind"], list(KINDS)),
            "value": frame["value"].to_numpy(),
            "liked": frame["liked"].to_numpy(),
            "weight": frame["weight"].to_numpy(),
            "source": codes(frame["source"], list(about["sources"])),
            "sources": tuple(about["sources"]),
            "text": strings(frame["text"].to_list()) if "text" in frame.columns else None,
        },
        len(users),
        clock=bool(about["clock"]),
        like_rule=str(about["like_rule"]),
    )


def pack_items(catalog: Catalog) -> Frame:
    """The catalog, one row per item, tombstones included."""
    import polars as pl

    series = [
        text_series("item_id", catalog.items.ids),
        text_series("title", catalog.titles),
        text_series("text", catalog.texts),
        pl.Series("alive", catalog.alive, dtype=pl.Boolean),
        pl.Series("since", catalog.since, dtype=pl.Float64),
    ]
    made, kinds = columns_to_frame(catalog.attributes, "attribute:")
    words = [text_series(f"words:{i}", column) for i, column in enumerate(catalog.text.values())]
    about = {
        "key": catalog.key,
        "lang": catalog.lang,
        "attributes": kinds,
        "words": [list(key) for key in catalog.text],
        "provenance": {name: dict(how) for name, how in catalog.provenance.items()},
    }
    return pl.DataFrame(series + made + words), about


def unpack_items(frame: pl.DataFrame, about: Mapping[str, Any]) -> Catalog:
    """The catalog as it was."""
    return Catalog(
        IdTable.of(frame["item_id"].to_list(), about["key"]),
        strings(frame["title"].to_list()),
        strings(frame["text"].to_list()),
        frame_to_columns(frame, about["attributes"], "attribute:"),
        {(v, lang): strings(frame[f"words:{i}"].to_list()) for i, (v, lang) in enumerate(about["words"])},
        about["provenance"],
        alive=frame["alive"].to_numpy().copy(),
        since=frame["since"].to_numpy().copy(),
        lang=about["lang"],
    )


def pack_users(users: Users) -> Frame:
    """The users, one row each."""
    import polars as pl

    made, kinds = columns_to_frame(users.attributes, "attribute:")
    return pl.DataFrame([text_series("user_id", users.ids.ids), *made]), {"key": users.ids.key, "attributes": kinds}


def unpack_users(frame: pl.DataFrame, about: Mapping[str, Any]) -> Users:
    """The users as they were."""
    table = IdTable.of(frame["user_id"].to_list(), about["key"])
    return Users(table, frame_to_columns(frame, about["attributes"], "attribute:"))


def _nested(values: np.ndarray, offsets: np.ndarray) -> pl.Series:
    """A ragged column as one list per row."""
    import polars as pl

    flat = pl.DataFrame({"v": text_series("v", values) if values.dtype == object else pl.Series(values)})
    rows = pl.Series("r", np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), dtype=pl.Int64)
    grouped = flat.with_columns(rows).group_by("r", maintain_order=True).agg("v")
    every = pl.DataFrame({"r": pl.Series(range(len(offsets) - 1), dtype=pl.Int64)})
    filled = every.join(grouped, on="r", how="left", maintain_order="left")["v"]
    return filled.fill_null(pl.Series([[]], dtype=filled.dtype).first())


_HISTORY = ("item", "time", "kind", "value", "liked")


def pack_exposures(shown: Exposures) -> Frame:
    """Impressions, one row per question, lists as list columns. Rows of the catalog are stored as row numbers.

    Notes and evidence of the lists (how they were made) are left out, and with them the field that points there.
    """
    import polars as pl

    asked, lists, past = shown.queries, shown.shown.dropping("why"), shown.queries.history
    for name, column in lists.fields.items():
        if column.dtype == object and not all(one is None or isinstance(one, str) for one in column):
            raise DataError("this field of the exposures cannot be stored", field=name, hint="drop the field first")
    frame = pl.DataFrame(
        {
            "user_id": text_series("user_id", [None if r < 0 else asked.users.ids[r] for r in asked.user]),
            "now": asked.now, "lang": text_series("lang", asked.lang), "seed": asked.seed,
            "exclude": _nested(asked.exclude, asked.exclude_offsets), "items": _nested(lists.items, lists.offsets),
            "scores": _nested(lists.scores, lists.offsets),
        }
    )  # fmt: skip
    more = [_nested(getattr(past, name), past.offsets).alias(f"history:{name}") for name in _HISTORY]
    more += [_nested(column, lists.offsets).alias(f"field:{name}") for name, column in lists.fields.items()]
    if asked.text is not None:
        more.append(text_series("text", asked.text))
    if asked.where is not None:
        more.append(pl.Series("where", asked.where, dtype=pl.Int32))
    if asked.context is not None:
        more.append(text_series("context", [None if c is None else as_json(c, "context") for c in asked.context]))
    about = {
        "policy": shown.policy, "source": shown.source, "fields": {n: c.dtype.str for n, c in lists.fields.items()},
        "users_key": asked.users.key, "filters": [_tree(one) for one in asked.filters],
    }  # fmt: skip
    return frame.with_columns(more), about


def _tree(where: Filter) -> Any:
    if where.parts:
        return {where.op: [_tree(part) for part in where.parts]}
    value = list(where.value) if isinstance(where.value, tuple) else where.value
    return {"field": where.field, "op": where.op, "value": value}


def _flat(column: pl.Series, dtype: Any) -> np.ndarray:
    values = column.filter(column.list.len() > 0).explode()
    return strings(values.to_list()) if np.dtype(dtype) == object else values.to_numpy().astype(dtype)


def unpack_exposures(frame: pl.DataFrame, about: Mapping[str, Any], users: Users, catalog: Catalog) -> Exposures:
    """The exposures as they were."""

    def offsets(name: str) -> np.ndarray:
        return offsets_of(frame[name].list.len().to_numpy().astype(np.int64))

    types = (np.int32, np.float64, np.int8, np.float32, np.bool_)
    past = {n: _flat(frame[f"history:{n}"], dtype) for n, dtype in zip(_HISTORY, types, strict=True)}
    named = frame["user_id"].to_list()
    table = users.ids
    if table.key != about["users_key"]:
        table = IdTable.of(dict.fromkeys(one for one in named if one is not None), about["users_key"])
    history = History(offsets("history:item"), **past)
    asked = Queries.of(catalog, table, table.rows([one or "" for one in named]), history, now=frame["now"].to_numpy())
    asked = replace(
        asked.excluding(_flat(frame["exclude"], np.int32), offsets("exclude")),
        text=strings(frame["text"].to_list()) if "text" in frame.columns else None,
        filters=tuple(Filter.parse(tree) for tree in about["filters"]),
        where=frame["where"].to_numpy().astype(np.int32) if "where" in frame.columns else None,
        context=_contexts(frame) if "context" in frame.columns else None,
        lang=strings(frame["lang"].to_list()),
        seed=frame["seed"].to_numpy().astype(np.int64),
    )
    fields = {name: _flat(frame[f"field:{name}"], dtype) for name, dtype in about["fields"].items()}
    items, scores = _flat(frame["items"], np.int32), _flat(frame["scores"], np.float32)
    lists = Lists(catalog.key, offsets("items"), items, scores, fields)
    return Exposures(asked, lists, policy=about["policy"], source=about["source"])


def _contexts(frame: pl.DataFrame) -> np.ndarray:
    return strings(None if one is None else json.loads(one) for one in frame["context"].to_list())


def pack_graph(graph: Graph) -> Frame:
    """The edges, one row each."""
    import polars as pl

    columns = {name: getattr(graph, name) for name in ("head", "tail", "relation", "p")}
    words = [text_series(name, getattr(graph, name)) for name in ("reason", "source")]
    about = {
        "relations": list(graph.relations),
        "entities": list(graph.entities),
        "key": graph.key,
        "items": graph.n_items,
    }
    return pl.DataFrame(columns).with_columns(words), about


def unpack_graph(frame: pl.DataFrame, about: Mapping[str, Any]) -> Graph:
    """The graph as it was."""
    types = {"head": np.int32, "tail": np.int32, "relation": np.int16, "p": np.float32}
    return Graph(
        **{name: frame[name].to_numpy().astype(dtype) for name, dtype in types.items()},
        reason=strings(frame["reason"].to_list()),
        source=strings(frame["source"].to_list()),
        relations=tuple(about["relations"]),
        entities=tuple(about["entities"]),
        key=about["key"],
        n_items=int(about["items"]),
    )
