"""Plain tables: CSV, TSV, JSON lines or Parquet (also .gz), with a mapping or column names that can be guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import DataError
from hexarec.data.files import Table, bare_name, delimited, delimiter_of, head, inside, reading, suffix
from hexarec.data.formats.base import NO, TABLES, Fit, Options, Source
from hexarec.data.formats.guess import EVENT_KEYS, EVENT_NAMES, ITEM_NAMES, KEYS, USER_NAMES, check_mapping, guess
from hexarec.data.formats.movielens import movies_dat, users_dat
from hexarec.data.records import first_record, frame_of, records
from hexarec.data.tables import RawTables, Reject, event_frame

if TYPE_CHECKING:
    import polars as pl

TYPED = ("jsonl", "ndjson", "json", "parquet")
_EVENTS = (
    "interactions",
    "events",
    "ratings",
    "clicks",
    "purchases",
    "log",
    "train",
    "reviews",
    "orders",
    "transactions",
)
_ITEMS = ("items", "movies", "books", "products", "articles", "news", "games", "catalog", "meta", "item_meta")
_USERS = ("users", "customers", "members")


def read_table(path: Path, encodings: dict[str, str]) -> Table:
    """Any plain table as columns; every value of a delimited file is text. Raises DataError."""
    kind = suffix(path)
    if kind == "parquet":
        return _parquet(path)
    if kind in ("jsonl", "ndjson", "json"):
        rejects: list[Reject] = []
        rows = list(records(path, rejects))
        if not rows:
            raise DataError(
                "there is no record in the file", file=path.name, hint="one JSON object per line is expected"
            )
        frame = frame_of([row for _, row in rows], (line for line, _ in rows), path.name)
        return Table(frame.drop("_file", "_line"), frame["_line"], "utf-8", tuple(rejects))
    if kind == "dat" and "::" in head(path, 1).first:
        with reading(fallback="latin-1"):  # a MovieLens table beside a log of another kind
            return movies_dat(path) if bare_name(path) == "movies.dat" else users_dat(path)
    if kind in TABLES or kind == "dat":
        top = head(path, 1).first
        table = delimited(path, "\t" if kind == "tsv" else delimiter_of(top))
        encodings[path.name] = table.encoding
        return table
    raise DataError(f"files of type .{kind} are not read", file=path.name, hint=f"give one of {', '.join(TABLES)}")


def _parquet(path: Path) -> Table:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"not a readable Parquet file: {str(error).splitlines()[0]}", file=path.name) from None
    return Table(_textual(frame), pl.Series("_line", range(1, len(frame) + 1), dtype=pl.Int64))


def _textual(frame: pl.DataFrame) -> pl.DataFrame:
    """Typed columns as text, lists as lists of text, moments as ISO 8601, so that all formats are checked alike."""
    import polars as pl

    made = []
    for column in frame.get_columns():
        if isinstance(column.dtype, pl.List):
            made.append(column.cast(pl.List(pl.String), strict=False))
        elif column.dtype in (pl.Datetime, pl.Date):
            made.append(column.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" if column.dtype == pl.Datetime else "%Y-%m-%d"))
        elif column.dtype == pl.Binary or isinstance(column.dtype, pl.Struct | pl.Array | pl.Object):
            continue  # neither an id, a time, a number nor words
        elif column.dtype == pl.Boolean:
            made.append(column)
        else:
            made.append(column.cast(pl.String, strict=False))
    return pl.DataFrame(made)


def _find(folder: Path, names: tuple[str, ...], kinds: tuple[str, ...] = TABLES) -> Path | None:
    there = [p for p in inside(folder) if suffix(p) in kinds]
    stems = {bare_name(p).rpartition(".")[0]: p for p in reversed(there)}
    return next((stems[name] for name in names if name in stems), None)


def _logs_of(path: Path) -> list[Path]:
    """The tables of events: the file, the one with a usual name, the only one, or parts that share one header."""
    if path.is_file():
        return [path]
    if named := _find(path, _EVENTS):
        return [named]
    there = [p for p in inside(path) if suffix(p) in TABLES and suffix(p) != "txt"]  # a README.txt is no table
    parts = [p for p in there if bare_name(p).rpartition(".")[0] not in (*_ITEMS, *_USERS)]
    headers = {tuple(_columns(p)) for p in parts}
    return parts if len(parts) == 1 or (len(headers) == 1 and headers != {()}) else []


def _columns(path: Path) -> list[str]:
    kind = suffix(path)
    if kind in ("json", "jsonl", "ndjson"):
        return list(first_record(path))
    if kind == "parquet":
        return _parquet(path).frame.columns
    top = head(path, 1).first
    return [one.strip('"') for one in top.split("\t" if kind == "tsv" else delimiter_of(top))] if top else []


def _detect(path: Path) -> Fit:
    logs = _logs_of(path)
    if not logs or suffix(logs[0]) not in (*TABLES, "dat"):
        return NO
    log = logs[0]
    if suffix(log) == "parquet":
        return Fit(0.4, f"{log.name} is a Parquet table")
    found = guess(_columns(log), EVENT_NAMES)
    if "user" in found and "item" in found:
        return Fit(0.5, f"{log.name} has columns for users ({found['user']}) and items ({found['item']})")
    return Fit(0.1, f"{log.name} is a table whose columns need a mapping")


def _wanted(mapping: Mapping[str, str], table: Table, file: str) -> dict[str, str]:
    """The full mapping of the log: what was said, then guesses; user and item must be there."""
    columns = table.frame.columns
    found = dict(mapping) | {k: v for k, v in guess(columns, EVENT_NAMES, mapping.values()).items() if k not in mapping}
    if "time" in mapping:
        found.pop("order", None)
    elif "order" in mapping or "time" in found:
        found.pop("time" if "order" in mapping else "order", None)
    for key in ("user", "item"):
        if key not in found:
            raise DataError(f"no column looks like the {key}", file=file, line=1, field=key, hint=_mend(key, columns))
    if found["user"] == found["item"]:
        raise DataError(
            f"user and item are both read from {found['user']!r}", file=file, field="item",
            hint="map them to two columns",
        )  # fmt: skip
    return found


def _mend(key: str, columns: Sequence[str]) -> str:
    """What may help where a column was not found."""
    if len(columns) == 1:
        return "its first line is not cut into columns: divide them by comma, tab, semicolon or bar"
    if _is_data(columns):
        return "its first line looks like data: put one with names above it, such as user,item,time"
    return f"say {key}=<column> in the mapping; the columns are {', '.join(columns[:20])}"


def _is_data(columns: Sequence[str]) -> bool:
    """Whether a header is all numbers, as the first row of a table without one is."""
    return all(re.fullmatch(r"-?\d+(\.\d+)?", name.strip()) for name in columns)


def _without_nan(ids: pl.Series, file: str) -> pl.Series:
    """Ids where a NaN of a typed file, which stands where one is missing, is null."""
    import polars as pl

    return ids.replace(["nan", "NaN"], [None, None]) if suffix(Path(file)) in TYPED and ids.dtype == pl.String else ids


def _all_events(tables: list[Table], found: Mapping[str, str], files: list[Path]) -> pl.DataFrame:
    """The events of every part; without a time, the order runs on from file to file."""
    import polars as pl

    starts = [sum(len(table.lines) for table in tables[:i]) for i in range(len(tables))]
    parts = zip(tables, files, starts, strict=True)
    return pl.concat([_events(table, found, file.name, start) for table, file, start in parts])


def _events(table: Table, found: Mapping[str, str], file: str, start: int) -> pl.DataFrame:
    import polars as pl

    def text(key: str) -> pl.Series | None:
        if key not in found:
            return None
        column = table.frame[found[key]]
        if isinstance(column.dtype, pl.List):
            raise DataError(f"the column {found[key]!r} holds lists", file=file, field=key)
        made = column.cast(pl.String)
        return _without_nan(made, file) if key in ("user", "item") else made

    order = text("time") if "time" in found else text("order")
    rows = pl.Series("time", range(start, start + len(table.lines)), dtype=pl.Int64).cast(pl.String)
    kind = text("kind")
    if kind is None and "value" in found:
        given = text("value")
        kind = pl.DataFrame({"v": given}).select(
            pl.when(pl.col("v").is_not_null()).then(pl.lit("rate")).otherwise(pl.lit("click")).alias("kind")
        )["kind"]
    columns = {
        "user": text("user"), "item": text("item"), "time": rows if order is None else order, "value": text("value"),
        "kind": "click" if kind is None else kind, "text": text("review"),
    }  # fmt: skip
    return event_frame(columns, file, table.lines)


def _item_table(table: Table, path: Path, mapping: Mapping[str, str], raw: _Raw) -> pl.DataFrame:

    names = table.frame.columns
    said = {k: v for k, v in mapping.items() if k in ITEM_NAMES and v in names}
    found = said | {k: v for k, v in guess(names, ITEM_NAMES, said.values()).items() if k not in said}
    if "item" not in found:
        raise DataError(
            "no column looks like the item id", file=path.name, line=1, field="item",
            hint=f"say item=<column> in the mapping; the columns are {', '.join(names[:20])}",
        )  # fmt: skip
    raw.guesses |= {f"{path.name}:{ours}": theirs for ours, theirs in found.items() if ours != theirs}
    return _renamed(table, found, path)


def _user_table(path: Path, mapping: Mapping[str, str], raw: _Raw) -> pl.DataFrame:
    table = raw.take(path)
    names = table.frame.columns
    found = {"user": mapping["user"]} if mapping.get("user") in names else guess(names, USER_NAMES)
    if "user" not in found:
        raise DataError("no column looks like the user id", file=path.name, line=1, field="user")
    return _renamed(table, found, path)


def _renamed(table: Table, found: Mapping[str, str], path: Path) -> pl.DataFrame:
    import polars as pl

    back = {theirs: ours for ours, theirs in found.items()}
    clash = [n for n in table.frame.columns if n in found and n not in back or n in ("_file", "_line")]
    frame = table.frame.drop(clash).rename(back)
    ids = [_without_nan(frame[key], path.name) for key in ("user", "item") if key in frame.columns]
    frame = frame.with_columns(ids)
    return frame.with_columns(pl.lit(path.name).alias("_file"), table.lines.alias("_line"))


class _Raw:
    """What reading several plain tables leaves beside their rows."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.encodings: dict[str, str] = {}
        self.guesses: dict[str, str] = {}
        self.notes: list[str] = []

    def take(self, path: Path) -> Table:
        """Read a table and remember its rejects."""
        table = read_table(path, self.encodings)
        self.rejects += table.rejects
        return table


def _from_logs(
    tables: list[Table], mapping: Mapping[str, str], found: Mapping[str, str], files: list[Path]
) -> pl.DataFrame | None:
    """Items described in the log itself: the columns a mapping names, or a title that can be guessed."""
    import polars as pl

    named = {k: v for k, v in mapping.items() if k in ITEM_NAMES and k != "item"}
    rest = guess(tables[0].frame.columns, ITEM_NAMES, [*found.values(), *named.values()])
    if not named and "title" not in rest:
        return None
    named = {"title": rest["title"]} | named if "title" in rest else named
    parts = [
        _renamed(replace(table, frame=table.frame.select(item=found["item"], **named)), {}, file)
        for table, file in zip(tables, files, strict=True)
    ]
    return pl.concat(parts).unique("item", keep="first", maintain_order=True)


def _read(path: Path, options: Options) -> RawTables:
    logs = _logs_of(path)
    if not logs:
        raise DataError(
            "the folder has no table of events", file=path.name,
            hint=f"give the file, or name it {', '.join(one + '.csv' for one in _EVENTS[:3])}",
        )  # fmt: skip
    raw = _Raw()
    tables = [raw.take(one) for one in logs]
    log, table = logs[0], tables[0]
    folder = path if path.is_dir() else None
    item_file = options.items or (folder and _find(folder, _ITEMS, (*TABLES, "dat")))
    user_file = options.users or (folder and _find(folder, _USERS, (*TABLES, "dat")))
    listed = raw.take(item_file) if item_file else None
    elsewhere = listed.frame.columns if listed else []
    own = {k: v for k, v in options.mapping.items() if k in EVENT_KEYS or listed is None or k not in KEYS}
    check_mapping(own, table.frame.columns, log.name)
    check_mapping(
        {k: v for k, v in options.mapping.items() if k not in own}, elsewhere, item_file.name if item_file else ""
    )
    found = _wanted({k: v for k, v in own.items() if k in EVENT_KEYS}, table, log.name)
    raw.guesses |= {k: v for k, v in found.items() if options.mapping.get(k) != v}
    clock = "time" in found
    if _is_data(table.frame.columns):
        raw.notes.append(f"the first line of {log.name} is all numbers; it was read as names, not as a row")
    if not clock and "order" not in found:
        raw.notes.append("there is no time: the order in the file stands in for it, and says little unless it was kept")
    if item_file and listed:
        items: pl.DataFrame | None = _item_table(listed, item_file, options.mapping, raw)
    else:
        items = _from_logs(tables, own, found, logs)
    users = _user_table(user_file, options.mapping, raw) if user_file else None
    return RawTables(
        _all_events(tables, found, logs), items, users, clock=clock, notes=tuple(raw.notes), rejects=tuple(raw.rejects),
        guesses=raw.guesses, encodings=raw.encodings,
    )  # fmt: skip


SOURCES = (Source("plain", "plain CSV, TSV, JSON lines or Parquet", _detect, _read),)
