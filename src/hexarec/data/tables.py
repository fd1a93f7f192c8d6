"""What a reader hands over: raw rows as text, with the file and line of each, before anything is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

EVENT = ("user", "item", "time", "kind", "value", "text")
PLACE = ("_file", "_line")
SHORT = 80  # characters of a wrong value that a report repeats


@dataclass(frozen=True)
class Reject:
    """One row that was not taken in: where it stands, which column is wrong, why, and the value cut short."""

    file: str
    line: int
    column: str
    reason: str
    value: str = ""


def shortened(value: Any) -> str:
    """A value as it stands in a report: at most 80 characters."""
    text = "" if value is None else str(value)
    return text if len(text) <= SHORT else text[: SHORT - 3] + "..."


@dataclass(frozen=True)
class RawTables:
    """Rows as a source holds them.

    events: columns user, item, time, kind, value, text (text; absent values null) and _file, _line. items: item,
    title, text and any attributes. users: user and any attributes. impressions: user, time, items (list), gains
    (list), history (list), _file, _line. clock: whether `time` is a moment, not just an order. like: the rule this
    source suggests. guesses: our column name -> the one it was read from. encoding: of each file read.
    """

    events: pl.DataFrame
    items: pl.DataFrame | None = None
    users: pl.DataFrame | None = None
    impressions: pl.DataFrame | None = None
    clock: bool = True
    like: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()
    guesses: Mapping[str, str] = field(default_factory=dict)
    encodings: Mapping[str, str] = field(default_factory=dict)


def event_frame(columns: Mapping[str, Any], file: str, lines: Any) -> pl.DataFrame:
    """An events frame: the columns given (series, lists or one constant each), the others null."""
    import polars as pl

    n = len(lines)
    made: dict[str, pl.Series] = {}
    for name in EVENT:
        values = columns.get(name)
        if isinstance(values, pl.Series):
            made[name] = values.alias(name)
        elif isinstance(values, list):
            made[name] = pl.Series(name, values, dtype=pl.String)
        else:
            made[name] = pl.Series(name, [values], dtype=pl.String).new_from_index(0, n)
    made["_file"] = pl.Series("_file", [file], dtype=pl.String).new_from_index(0, n)
    made["_line"] = pl.Series("_line", lines, dtype=pl.Int64)
    return pl.DataFrame(made)


def empty_events() -> pl.DataFrame:
    """An events frame without rows."""
    return event_frame({}, "", [])


def stacked(frames: list[pl.DataFrame]) -> pl.DataFrame | None:
    """Frames one below the other, missing columns null; None for no frames."""
    import polars as pl

    return pl.concat(frames, how="diagonal_relaxed") if frames else None
