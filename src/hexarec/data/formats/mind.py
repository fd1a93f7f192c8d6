"""MIND, the Microsoft news data set: `behaviors.tsv` (impressions and histories) and `news.tsv`.

Source: Wu et al. 2020. History clicks carry no time: they are set one second apart just before the first impression of
their user. The order of the items inside an impression was shuffled by the publisher, so no slot is kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import DataError
from hexarec.data.files import Table, bare_name, delimited, head, inside
from hexarec.data.formats.base import NO, Fit, Options, Source
from hexarec.data.tables import RawTables, Reject, event_frame, shortened, stacked

if TYPE_CHECKING:
    import polars as pl

LICENCE = "Microsoft Research licence terms for MIND: research use"
NOTE = "history clicks have no time of their own: they stand one second apart just before their user's first impression"
_BEHAVIOURS = ("impression", "user", "stamp", "history", "shown")
_NEWS = ("item", "category", "subcategory", "title", "text", "url", "title_entities", "text_entities")
_SHOWN = re.compile(r"^(\S+-[01])( \S+-[01])*$")


def _files(path: Path, name: str) -> list[Path]:
    if path.is_file():
        return [path] if name == "behaviors.tsv" or bare_name(path) == name else []
    folders = [path, *sorted(p for p in path.iterdir() if p.is_dir())]
    return [one for folder in folders for one in inside(folder) if bare_name(one) == name]


def _detect(path: Path) -> Fit:
    for one in _files(path, "behaviors.tsv"):
        fields = head(one, 1).first.split("\t")
        if len(fields) == 5 and _SHOWN.match(fields[4].strip()):
            return Fit(1.0, f"{one.name} has impressions written as id-0 id-1")
    return NO


def _moment() -> pl.Expr:
    """`11/15/2019 9:05:58 AM` as ISO 8601; what cannot be read stays as it is, and is refused later with its line."""
    import polars as pl

    parsed = pl.col("stamp").str.to_datetime("%m/%d/%Y %I:%M:%S %p", strict=False)
    return pl.coalesce(parsed.dt.strftime("%Y-%m-%dT%H:%M:%S"), pl.col("stamp")).alias("time")


def _behaviours(path: Path, rejects: list[Reject]) -> pl.DataFrame:
    import polars as pl

    table = delimited(path, "\t", _BEHAVIOURS, quote=None)
    rejects += table.rejects
    frame = table.frame.with_columns(_moment(), pl.lit(path.name).alias("_file"), table.lines.alias("_line"))
    good = frame["shown"].str.strip_chars().str.contains(_SHOWN.pattern).fill_null(False)
    rejects += [
        Reject(file, line, "impressions", "not a list of id-0 and id-1", shortened(shown))
        for file, line, shown in frame.filter(~good).select("_file", "_line", "shown").iter_rows()
    ]
    pairs = pl.col("shown").str.strip_chars().str.split(" ")
    return frame.filter(good).with_columns(
        pairs.list.eval(pl.element().str.head(-2)).alias("items"),
        pairs.list.eval(pl.element().str.tail(1).cast(pl.Float32)).alias("gains"),
        pl.col("history").str.strip_chars().str.split(" ").fill_null([]).alias("history"),
    )


def _clicks(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    long = frame.explode("items", "gains").filter(pl.col("gains") > 0)
    return pl.concat(
        [
            event_frame(
                {"user": part["user"], "item": part["items"], "time": part["time"], "kind": "click"},
                name,
                part["_line"],
            )
            for (name,), part in long.group_by("_file", maintain_order=True)
        ]
        or [event_frame({}, "", [])]
    )


def _past(frame: pl.DataFrame) -> pl.DataFrame:
    """The longest history of each user as click events before the first impression."""
    import polars as pl

    stamp = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False)
    timed = frame.with_columns(stamp.alias("at")).filter(
        pl.col("at").is_not_null() & (pl.col("history").list.len() > 0)
    )
    first = timed.group_by("user", maintain_order=True).agg(
        pl.col("at").min(),
        pl.col("history").sort_by(pl.col("history").list.len(), descending=True).first(),
        pl.col("_file").first(),
        pl.col("_line").first(),
    )
    n = pl.col("history").list.len()
    long = first.with_columns(pl.int_ranges(n.cast(pl.Int64), 0, -1).alias("back")).explode("history", "back")
    when = (pl.col("at") - pl.duration(seconds=pl.col("back"))).dt.strftime("%Y-%m-%dT%H:%M:%S").alias("time")
    long = long.with_columns(when)
    return pl.concat(
        [
            event_frame(
                {"user": part["user"], "item": part["history"], "time": part["time"], "kind": "click"},
                name,
                part["_line"],
            )
            for (name,), part in long.group_by("_file", maintain_order=True)
        ]
        or [event_frame({}, "", [])]
    )


def _news(path: Path) -> tuple[pl.DataFrame, Table]:
    import polars as pl

    table = delimited(path, "\t", _NEWS, quote=None)
    named = table.frame.select("item", "category", "subcategory", "title", "text")
    return named.with_columns(pl.lit(path.name).alias("_file"), table.lines.alias("_line")), table


def _read(path: Path, options: Options) -> RawTables:
    import polars as pl

    options.refuse_mapping("mind")
    rejects: list[Reject] = []
    logs = [_behaviours(one, rejects) for one in _files(path, "behaviors.tsv")]
    if not logs:
        raise DataError("there is no behaviors.tsv", file=path.name)
    log = pl.concat(logs)
    items = []
    for one in _files(path, "news.tsv"):
        frame, table = _news(one)
        items.append(frame)
        rejects += table.rejects
    news = stacked(items)
    if news is not None and len(items) > 1:  # the parts of the release repeat most articles word for word
        news = news.unique(["item", "category", "subcategory", "title", "text"], keep="first", maintain_order=True)
    return RawTables(
        events=pl.concat([_past(log), _clicks(log)]),
        items=news,
        impressions=log.select("user", "time", "items", "gains", "history", "_file", "_line"),
        licence=LICENCE,
        notes=(NOTE,),
        rejects=tuple(rejects),
    )


SOURCES = (Source("mind", "MIND news impressions", _detect, _read, LICENCE),)
