"""Columns of the data model as Parquet columns and back, exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError
from hexarec.core.ids import strings

if TYPE_CHECKING:
    import polars as pl

Column = NDArray[Any]


def text_series(name: str, values: Any) -> pl.Series:
    """Strings or None as a series. Raises DataError for text that UTF-8 cannot hold."""
    import polars as pl

    try:
        return pl.Series(name, list(values), dtype=pl.String)
    except UnicodeEncodeError as error:
        raise DataError(f"text that is not valid Unicode: {error.reason}", field=name, hint="clean the text") from None
    except (TypeError, ValueError):
        raise DataError("a text column holds something that is not text", field=name) from None


def kind_of(column: Column) -> str:
    """How a column is stored: float, bool, text, list (tuples of text) or json (a mixture)."""
    if column.dtype == np.float64:
        return "float"
    present = [one for one in column.tolist() if one is not None]
    if present and all(isinstance(one, bool) for one in present):
        return "bool"
    if all(isinstance(one, str) for one in present):
        return "text"
    if all(isinstance(one, tuple) and all(isinstance(part, str) for part in one) for one in present):
        return "list"
    return "json"


def to_series(name: str, column: Column) -> tuple[pl.Series, str]:
    """One attribute column as a series and the kind to read it back by. Raises DataError."""
    import polars as pl

    kind = kind_of(column)
    if kind == "float":
        return pl.Series(name, column, dtype=pl.Float64), kind
    if kind == "bool":
        return pl.Series(name, column.tolist(), dtype=pl.Boolean), kind
    if kind == "text":
        return text_series(name, column), kind
    if kind == "list":
        text_series(name, [part for one in column if one is not None for part in one])
        return pl.Series(name, [None if one is None else list(one) for one in column], dtype=pl.List(pl.String)), kind
    return text_series(name, [None if one is None else as_json(one, name) for one in column]), kind


def from_series(series: pl.Series, kind: str) -> Column:
    """What `to_series` wrote, as it was."""
    if kind == "float":
        return series.to_numpy().astype(np.float64)
    values = series.to_list()
    if kind == "list":
        return strings(None if one is None else tuple(one) for one in values)
    if kind == "json":
        return strings(None if one is None else _tuples(json.loads(one)) for one in values)
    if kind in ("bool", "text"):
        return strings(values)
    raise DataError(f"unknown kind of column {kind!r}", field=series.name, hint="it was stored by a newer version")


def as_json(value: Any, field: str) -> str:
    """A value as JSON. Raises DataError when it has no JSON form."""
    try:
        return json.dumps(value, ensure_ascii=True, default=_plain)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a value cannot be stored: {error}", field=field, hint="use text, numbers, lists, maps"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def columns_to_frame(columns: Mapping[str, Column], prefix: str) -> tuple[list[pl.Series], dict[str, str]]:
    """Attribute columns as series named prefix + name, and their kinds."""
    made = {name: to_series(prefix + name, column) for name, column in columns.items()}
    return [series for series, _ in made.values()], {name: kind for name, (_, kind) in made.items()}


def frame_to_columns(frame: pl.DataFrame, kinds: Mapping[str, str], prefix: str) -> dict[str, Column]:
    """Attribute columns of a frame by their kinds."""
    return {name: from_series(frame[prefix + name], kind) for name, kind in kinds.items()}


def codes(column: pl.Series, names: list[str]) -> NDArray[np.int32]:
    """The place of every value in `names`, -1 for null. Raises DataError for a value that is not there."""
    import polars as pl

    places = pl.DataFrame({"n": text_series("n", names), "p": pl.Series("p", range(len(names)), dtype=pl.Int32)})
    found = pl.DataFrame({"n": column}).join(places, on="n", how="left", maintain_order="left")
    if found["p"].null_count() > column.null_count():
        missing = found.filter(pl.col("p").is_null() & pl.col("n").is_not_null())["n"][0]
        raise DataError(f"{missing!r} is not in its table", field=column.name, hint="store the data set again")
    return found["p"].fill_null(-1).to_numpy().astype(np.int32)
