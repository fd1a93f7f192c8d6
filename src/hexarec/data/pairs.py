"""Labelled pairs from a file: who, with which history, was asked about which item, and what came of it."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import KINDS, Dataset, Exposures, History, IdTable, Lists, Queries
from hexarec.core.errors import DataError
from hexarec.core.ragged import offsets_of, positions, segments
from hexarec.data.formats.plain import read_table
from hexarec.data.times import parse_times

if TYPE_CHECKING:
    from hexarec.data.files import Table

NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "uid"),
    "history": ("history", "history_item_id", "history_movie_id", "clicked", "past"),
    "history_label": ("history_label", "history_rating", "history_gain"),
    "item": ("item", "item_id", "movie_id", "itemid", "iid"),
    "label": ("label", "gain", "rating", "click", "clicked_item"),
    "time": ("time", "timestamp", "ts"),
}
NEEDED = ("user", "item", "label")


def exposures_from(
    path: str | Path, data: Dataset, *, mapping: Mapping[str, str] | None = None, lang: str | None = None
) -> Exposures:
    """Labelled pairs of a CSV, TSV, JSON lines or Parquet file as exposures, one question with one shown item a row.

    Columns: user, item, label (above 0 = liked, empty = unknown), and where they are known history (item ids, oldest
    first: a JSON list, or ids divided by blanks, commas or |), history_label (one number per item of the history; all
    liked without it) and time. mapping: ours -> theirs where a column goes by another name. Users the data set lacks
    are appended to its table; items must be in its catalog. What a row states of the past is all that is known of it:
    without a column history it is what the log holds before `time`.

    Raises DataError naming file, line and column: a missing column, an item the catalog lacks, a label that is no
    number, a history and its labels of unequal length.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("no such file", file=str(path), hint="check the path")
    table = read_table(place, {})
    if table.rejects:
        wrong = table.rejects[0]
        raise DataError(f"{wrong.reason} ({len(table.rejects)} such rows)", file=place.name, line=wrong.line)
    rows = _Rows(place.name, table, _columns(place.name, table.frame.columns, mapping or {}))
    if not len(table.lines):
        raise DataError("there are no pairs, only a header or nothing", file=place.name)
    return _exposures(rows, data, lang)


def _columns(file: str, there: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Ours -> theirs. Raises DataError for a name nobody knows and for a column that must be there."""
    lower = {name.lower(): name for name in reversed(there)}
    found = {ours: lower[next(n for n in names if n in lower)] for ours, names in NAMES.items() if {*names} & {*lower}}
    for ours, theirs in mapping.items():
        if ours not in NAMES or theirs not in there:
            what = f"there is no column {theirs!r}" if ours in NAMES else f"pairs have no {ours!r}"
            hint = f"columns are {', '.join(there)}; pairs have {', '.join(NAMES)}"
            raise DataError(what, file=file, line=1, field=ours, hint=hint)
        found[ours] = theirs
    for ours in NEEDED:
        if ours not in found:
            hint = f"call it {' or '.join(NAMES[ours][:2])}; the columns are {', '.join(there)}"
            raise DataError(f"no column looks like the {ours}", file=file, line=1, field=ours, hint=hint)
    return found


class _Rows:
    """The columns of a file of pairs, and errors that name the line."""

    def __init__(self, file: str, table: Table, found: Mapping[str, str]) -> None:
        self.file, self.lines, self.found, self.frame = file, table.lines.to_list(), found, table.frame

    def wrong(self, row: int, column: str, message: str, hint: str = "") -> DataError:
        """An error at a row."""
        return DataError(message, file=self.file, line=self.lines[row], field=self.found[column], hint=hint)

    def text(self, column: str) -> list[str]:
        """A column as text without blanks around it, "" where there is nothing."""
        import polars as pl

        made = self.frame[self.found[column]].cast(pl.String).str.strip_chars()
        return [one or "" for one in made.to_list()]

    def lists(self, column: str) -> list[list[str]]:
        """A column of lists: as they are, or read from text."""
        return [_listed(value) for value in self.frame[self.found[column]].to_list()]

    def number(self, row: int, column: str, text: str) -> float:
        """A label: empty or NaN is unknown. Raises DataError for what is no number."""
        if text.casefold() in ("true", "false"):
            return float(text.casefold() == "true")
        try:
            value = float(text) if text else float("nan")
            if math.isinf(value):
                raise ValueError
        except ValueError:
            raise self.wrong(row, column, f"the label {text!r} is no number", "write 1 or 0") from None
        return value


def _listed(value: Any) -> list[str]:
    """Ids of one cell: a list, a JSON or Python list as text, or words divided by blanks, commas, ; or |."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            for read in (json.loads, ast.literal_eval):
                try:
                    return _listed(read(text))
                except (ValueError, SyntaxError, RecursionError):
                    continue
        return [one for one in re.split(r"[\s,;|]+", text) if one]
    return [] if value is None else [str(one) for one in value]


def _exposures(rows: _Rows, data: Dataset, lang: str | None) -> Exposures:
    names = rows.text("user")
    for row in (row for row, name in enumerate(names) if not name):
        raise rows.wrong(row, "user", "missing user")
    users = data.users.ids.extend(list(dict.fromkeys(names)))
    labels = np.array([rows.number(row, "label", text) for row, text in enumerate(rows.text("label"))], np.float32)
    item = _items(rows, data, "item", rows.text("item"), np.arange(len(names)))
    now = _moments(rows) if "time" in rows.found else np.full(len(names), np.inf)
    key = data.catalog.key
    shown = Lists(key, np.arange(len(item) + 1), item, np.full(len(item), np.nan, np.float32), {"gain": labels})
    user = users.rows(names)
    queries = Queries.of(
        data.catalog, users, user, _past(rows, data, users, user, now), now=now, lang=lang or data.catalog.lang
    )
    return Exposures(queries, shown, policy="logged", source="log")


def _items(rows: _Rows, data: Dataset, column: str, ids: Sequence[str], of: NDArray[np.int64]) -> NDArray[np.int32]:
    """Catalog rows of ids; of: the row of the file each comes from. Raises DataError for the first unknown one."""
    found = data.catalog.rows(ids)
    lost = np.flatnonzero(found < 0)
    if len(lost):
        raise rows.wrong(
            int(of[lost[0]]), column, f"{data.name} lacks the item {ids[lost[0]]!r} ({len(lost)} such)",
            "import the items first, or leave these pairs out",
        )  # fmt: skip
    return found


def _moments(rows: _Rows) -> NDArray[np.float64]:
    import polars as pl

    made = parse_times(pl.Series("time", rows.text("time"), dtype=pl.String))
    wrong = np.flatnonzero(made.seconds.is_null().to_numpy())
    if len(wrong):
        raise rows.wrong(int(wrong[0]), "time", str(made.reason[int(wrong[0])]))
    return made.seconds.to_numpy().astype(np.float64)


def _past(rows: _Rows, data: Dataset, users: IdTable, user: NDArray[np.int32], now: NDArray[np.float64]) -> History:
    """The stated history of each row, else what the log holds of the user before the moment."""
    if "history" not in rows.found:
        met = user < data.n_users
        if not data.n_users:
            return History.empty(len(user))
        past = data.queries(np.where(met, user, 0), now=now).history
        return past.where(met[segments(past.offsets)])
    stated = rows.lists("history")
    offsets = offsets_of(np.array([len(one) for one in stated], np.int64))
    of = segments(offsets)
    item = _items(rows, data, "history", [one for each in stated for one in each], of)
    value = _labels_of(rows, stated) if "history_label" in rows.found else np.full(len(item), np.nan, np.float32)
    back = np.diff(offsets)[of] - positions(offsets)  # a stated past has an order and no moments: a second apart
    time = np.where(np.isfinite(now), now, 0.0)[of] - back.astype(np.float64)
    return History(
        offsets, item, time, np.full(len(item), KINDS.index("rate"), np.int8), value, np.isnan(value) | (value > 0)
    )


def _labels_of(rows: _Rows, stated: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """The label of every item of the histories, flat."""
    said = rows.lists("history_label")
    for row, (items, labels) in enumerate(zip(stated, said, strict=True)):
        if len(items) != len(labels):
            raise rows.wrong(row, "history_label", f"{len(labels)} labels for {len(items)} items of the history")
    flat = [(row, one) for row, each in enumerate(said) for one in each]
    return np.array([rows.number(row, "history_label", one) for row, one in flat], np.float32)
