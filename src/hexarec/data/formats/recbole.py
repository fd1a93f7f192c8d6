"""RecBole atomic files: tab-separated `.inter`, `.item`, `.user` with `name:type` headers.

Source: the atomic file format of RecBole (Zhao et al. 2021). A field such as `item_id_list:token_seq` holds a whole
history: each user's longest one, with the target behind it, becomes a sequence without a clock.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import DataError
from hexarec.data.files import Table, delimited, head, inside, suffix
from hexarec.data.formats.base import NO, Fit, Options, Source
from hexarec.data.tables import RawTables, Reject, event_frame, stacked

if TYPE_CHECKING:
    import polars as pl

_FIELD = re.compile(r"^[^:\t]+:(token|token_seq|float|float_seq)$")
_KINDS = {"tag": "tag", "tag_value": "tag", "review": "review", "review_text": "review"}
_TITLES = ("title", "movie_title", "name", "item_name", "book_title", "app_name", "product_name")
_TEXTS = ("description", "text", "abstract", "plot")


def _files(path: Path, kind: str) -> list[Path]:
    if path.is_file():
        return [path] if suffix(path) == kind else []
    return [one for one in inside(path) if suffix(one) == kind]


def _detect(path: Path) -> Fit:
    found = _files(path, "inter")
    if not found and path.is_dir():
        return NO
    data = found[0] if found else path
    fields = head(data, 1).first.split("\t")
    if len(fields) > 1 and all(_FIELD.match(one) for one in fields):
        return Fit(1.0, f"{data.name} has name:type headers")
    return NO


def _typed(path: Path) -> tuple[Table, dict[str, str]]:
    """A file with its plain column names, and the type of each."""
    table = delimited(path, "\t", quote=None)
    types = {}
    for full in table.frame.columns:
        name, _, kind = full.partition(":")
        if not kind:
            raise DataError(
                f"the column {full!r} has no type", file=path.name, line=1, field=full, hint="write name:token"
            )
        types[name] = kind
    return Table(
        table.frame.rename(lambda full: full.partition(":")[0]), table.lines, table.encoding, table.rejects
    ), types


def _pick(names: list[str], *wanted: str, part: str = "") -> str:
    found = next((one for one in wanted if one in names), "")
    return found or next((one for one in names if part and part in one and not one.endswith("_list")), "")


def _log(path: Path, rejects: list[Reject]) -> tuple[pl.DataFrame, bool]:
    """The events of one `.inter` file and whether they have a clock."""
    table, types = _typed(path)
    rejects += table.rejects
    names, frame = list(types), table.frame
    user, item = _pick(names, "user_id", "session_id", part="user"), _pick(names, "item_id", part="item")
    if not user or not item:
        missing = "user_id" if not user else "item_id"
        raise DataError(f"there is no column {missing}", file=path.name, line=1, field=missing)
    history = next((n for n, kind in types.items() if n.endswith("_list") and kind == "token_seq"), "")
    if history:
        return _sequences(frame, table, path, (user, item, history)), False
    time, value = _pick(names, "timestamp", "time", part="time"), _pick(names, "rating", "label", "weight")
    said = next((n for n in names if n in _KINDS), "")
    columns = {"user": frame[user], "item": frame[item], "kind": "rate" if value else _KINDS.get(said, "click")}
    columns |= {ours: frame[theirs] for ours, theirs in (("time", time), ("value", value), ("text", said)) if theirs}
    if not time:
        columns["time"] = table.lines.cast(str)
    return event_frame(columns, path.name, table.lines), bool(time)


def _sequences(frame: pl.DataFrame, table: Table, path: Path, names: tuple[str, str, str]) -> pl.DataFrame:
    import polars as pl

    user, item, history = names
    whole = frame.select(
        pl.col(user).alias("user"),
        pl.concat_list(pl.col(history).fill_null("").str.split(" "), pl.col(item)).alias("item"),
        table.lines.alias("_line"),
    )
    whole = whole.with_columns(pl.col("item").list.eval(pl.element().filter(pl.element() != "")))
    longest = whole.sort(pl.col("item").list.len(), descending=True, maintain_order=True)
    longest = longest.unique("user", keep="first", maintain_order=True).sort("_line")
    long = longest.with_columns(pl.int_ranges(pl.col("item").list.len()).alias("time")).explode("item", "time")
    columns = {"user": long["user"], "item": long["item"], "time": long["time"].cast(pl.String), "kind": "click"}
    return event_frame(columns, path.name, long["_line"])


def _longest(events: list[pl.DataFrame]) -> pl.DataFrame:
    """Of several files with histories, each user's longest sequence: the shorter ones are its beginnings."""
    import polars as pl

    sizes = [frame.group_by("user").len().with_columns(pl.lit(i).alias("_from")) for i, frame in enumerate(events)]
    best = pl.concat(sizes).sort("len", descending=True, maintain_order=True).unique("user", keep="first")
    parts = [frame.join(best.filter(pl.col("_from") == i), on="user", how="semi") for i, frame in enumerate(events)]
    return pl.concat(parts)


def _split_tokens(name: str) -> pl.Expr:
    import polars as pl

    comma = pl.col(name).str.contains(",", literal=True)
    by_comma = pl.col(name).str.split(",").list.eval(pl.element().str.strip_chars(" '\"[]"))
    return pl.when(comma).then(by_comma).otherwise(pl.col(name).str.split(" ")).alias(name)


def _table(path: Path, key: str, rejects: list[Reject]) -> pl.DataFrame:
    """An `.item` or `.user` file: its key column renamed, titles and texts found, other sequences as lists."""
    import polars as pl

    table, types = _typed(path)
    rejects += table.rejects
    names = list(types)
    renamed = {_pick(names, f"{key}_id", part=key) or names[0]: key}
    if key == "item":
        found = {"title": _pick(names, *_TITLES), "text": _pick(names, *_TEXTS), "year": _pick(names, "release_year")}
        found["genres"] = _pick(names, "genres", "genre", "class")
        renamed |= {theirs: ours for ours, theirs in found.items() if theirs and theirs not in renamed}
    frame = table.frame.rename(renamed)
    kinds = {renamed.get(name, name): kind for name, kind in types.items()}
    lists = [
        _split_tokens(n)
        for n, kind in kinds.items()
        if kind == "token_seq" and n not in ("title", "text", "item", "user")
    ]
    return frame.with_columns(*lists, pl.lit(path.name).alias("_file"), table.lines.alias("_line"))


def _read(path: Path, options: Options) -> RawTables:
    options.refuse_mapping("recbole")
    rejects: list[Reject] = []
    read = [(one, *_log(one, rejects)) for one in (_files(path, "inter") or ([path] if path.is_file() else []))]
    if not read:
        raise DataError("there is no .inter file", file=path.name)
    clocks = {clock for _, _, clock in read}
    if len(clocks) > 1:
        raise DataError("some .inter files have times and others have none", file=path.name, hint="import them apart")
    frames = [frame for _, frame, _ in read]
    clock = clocks.pop()
    listed = not clock and len(frames) > 1
    made = _longest(frames) if listed else stacked(frames)
    assert made is not None
    notes = ("each user's longest history is taken; shorter ones are its beginnings",) if listed else ()
    items = stacked([_table(one, "item", rejects) for one in _files(path, "item")] if path.is_dir() else [])
    users = stacked([_table(one, "user", rejects) for one in _files(path, "user")] if path.is_dir() else [])
    return RawTables(made, items, users, clock=clock, notes=notes, rejects=tuple(rejects))


SOURCES = (Source("recbole", "RecBole atomic files", _detect, _read),)
