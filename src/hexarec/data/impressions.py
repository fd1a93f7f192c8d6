"""Impressions as exposures: what was shown, what was clicked, and the history that was known at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hexarec.core import KINDS, Dataset, Exposures, History, Lists, Queries
from hexarec.core.ragged import offsets_of, positions, segments
from hexarec.data.times import parse_times

if TYPE_CHECKING:
    import polars as pl


def build_exposures(data: Dataset, shown: pl.DataFrame) -> tuple[Exposures | None, list[str]]:
    """Exposures of the impressions whose time can be read, and notes; ids must be in the data set.

    The history is the one the row states; its clicks carry no time and stand one second apart before the impression.
    An item shown twice in one list counts once, with its larger gain.
    """
    import polars as pl

    when = parse_times(shown["time"])
    lost = int(when.seconds.is_null().sum())
    notes = [f"{lost:,} impressions have no readable time and are left out"] if lost else []
    rows = shown.with_columns(when.seconds.alias("now")).filter(pl.col("now").is_not_null())
    if not len(rows):
        return None, notes
    flat = rows.with_row_index("_row").select("_row", "items", "gains").explode("items", "gains")
    best = flat.group_by("_row", "items", maintain_order=True).agg(pl.col("gains").max())
    items = data.catalog.rows(best["items"].to_list())
    gains = best["gains"].to_numpy().astype(np.float32)
    offsets = offsets_of(np.bincount(best["_row"].to_numpy(), minlength=len(rows)))
    lists = Lists(data.catalog.key, offsets, items, np.full(len(items), np.nan, np.float32), {"gain": gains})
    now = rows["now"].to_numpy()
    queries = Queries.of(
        data.catalog,
        data.users.ids,
        data.users.ids.rows(rows["user"].to_list()),
        _history(data, rows["history"], now),
        now=now,
        lang=data.catalog.lang,
    )
    return Exposures(queries, lists, policy="logged", source="log"), notes


def _history(data: Dataset, column: pl.Series, now: np.ndarray) -> History:
    lengths = column.list.len().fill_null(0).to_numpy().astype(np.int64)
    offsets = offsets_of(lengths)
    names = column.filter(column.list.len() > 0).explode().to_list()
    n = len(names)
    back = lengths[segments(offsets)] - positions(offsets)
    return History(
        offsets,
        data.catalog.rows(names),
        now[segments(offsets)] - back,
        np.full(n, KINDS.index("click"), np.int8),
        np.full(n, np.nan, np.float32),
        np.ones(n, bool),
    )
