"""MovieLens: 100K (`u.data`), 1M and 10M (`ratings.dat`, `::`), latest and 20M+ (`ratings.csv`).

Source: Harper and Konstan 2015, the README files of the data sets.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import DataError
from hexarec.data.files import Table, bare_name, delimited, find, head, separated
from hexarec.data.formats.base import NO, Fit, Options, Source
from hexarec.data.tables import RawTables, Reject, event_frame

if TYPE_CHECKING:
    import polars as pl

LICENCE = "GroupLens terms: research use with acknowledgement, no redistribution without permission"
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman",
    "unemployed", "writer",
)  # fmt: skip
_NO_GENRE = "(no genres listed)"
_RATING_TSV = re.compile(r"^\d+\t\d+\t[1-5]\t\d{8,10}$")
_RATING_DAT = re.compile(r"^\d+::\d+::[\d.]+::\d+$")


class _Sheets:
    """Collects tables while a folder is read: frames, rejects, encodings."""

    def __init__(self) -> None:
        self.events: list[pl.DataFrame] = []
        self.rejects: list[Reject] = []
        self.encodings: dict[str, str] = {}

    def note(self, table: Table, path: Path) -> Table:
        """Remember what reading this file brought besides rows."""
        self.rejects += table.rejects
        self.encodings[path.name] = table.encoding
        return table

    def add(self, table: Table, path: Path, user: str, item: str, time: str, value: str = "", text: str = "") -> None:
        """Add the rows of a table as ratings, or as tags when a text column is named."""
        frame = self.note(table, path).frame
        columns = {
            "user": frame[user], "item": frame[item], "time": frame[time],
            "value": frame[value] if value else None, "text": frame[text] if text else None,
            "kind": "tag" if text else "rate",
        }  # fmt: skip
        self.events.append(event_frame(columns, path.name, table.lines))

    def tables(self, items: pl.DataFrame | None, users: pl.DataFrame | None, *notes: str) -> RawTables:
        """Everything as raw tables."""
        import polars as pl

        return RawTables(
            events=pl.concat(self.events), items=items, users=users, licence=LICENCE, notes=notes,
            rejects=tuple(self.rejects), encodings=self.encodings,
        )  # fmt: skip


def _placed(frame: pl.DataFrame, table: Table, path: Path) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.lit(path.name).alias("_file"), table.lines.alias("_line"))


def _piped(name: str) -> pl.Expr:
    import polars as pl

    split = pl.col(name).str.split("|").list.eval(pl.element().filter(~pl.element().is_in([_NO_GENRE, ""])))
    return pl.when(split.list.len() > 0).then(split).alias("genres")


# ---- 100K -----------------------------------------------------------------------------------------------------------


def _detect_100k(path: Path) -> Fit:
    if path.is_dir():
        return Fit(1.0, "the folder has u.data") if find(path, "u.data") else NO
    top = head(path, 3)
    named = top.name in ("u.data",) or top.name.endswith((".base", ".test"))
    if top.lines and all(_RATING_TSV.match(line) for line in top.lines):
        return Fit(0.95 if named else 0.8, "rows of user, item, rating 1-5 and time, divided by tabs, no header")
    return NO


def _read_100k(path: Path, options: Options) -> RawTables:
    options.refuse_mapping("ml-100k")
    data = path if path.is_file() else find(path, "u.data")
    if data is None:
        raise DataError("the folder has no u.data", file=path.name)
    sheets = _Sheets()
    sheets.add(delimited(data, "\t", ("u", "i", "r", "t"), quote=None), data, "u", "i", "t", "r")
    items = users = None
    if path.is_dir() and (film := find(path, "u.item")):
        items = _items_100k(film, sheets)
    if path.is_dir() and (people := find(path, "u.user")):
        names = ("user", "age", "gender", "occupation", "zip_code")
        table = sheets.note(delimited(people, "|", names, quote=None), people)
        users = _placed(table.frame, table, people)
    return sheets.tables(items, users)


def _items_100k(path: Path, sheets: _Sheets) -> pl.DataFrame:
    import polars as pl

    names = ("item", "title", "released", "video", "url", *GENRES)
    table = sheets.note(delimited(path, "|", names, quote=None), path)
    flags = [pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in GENRES[1:]]
    genres = pl.concat_list(flags).list.drop_nulls()
    made = table.frame.select("item", "title", "released", pl.when(genres.list.len() > 0).then(genres).alias("genres"))
    return _placed(made, table, path)


# ---- 1M and 10M -----------------------------------------------------------------------------------------------------


def _detect_dat(path: Path) -> Fit:
    data = find(path, "ratings.dat") if path.is_dir() else path
    if data is None:
        return NO
    top = head(data, 3)
    if top.lines and all(_RATING_DAT.match(line) for line in top.lines):
        return Fit(1.0, "rows of user::item::rating::time")
    return NO


def movies_dat(path: Path) -> Table:
    """The film table of MovieLens 1M and 10M: item, title, genres."""
    table = separated(path, "::", ("item", "title", "raw_genres"))
    frame = _placed(table.frame.with_columns(_piped("raw_genres")).drop("raw_genres"), table, path)
    return Table(frame, table.lines, table.encoding, table.rejects)


def users_dat(path: Path) -> Table:
    """The user table of MovieLens 1M; age is the lower end of a band, occupation a word."""
    import polars as pl

    table = separated(path, "::", ("user", "gender", "age", "job", "zip_code"))
    jobs = {str(i): name for i, name in enumerate(OCCUPATIONS)}
    frame = table.frame.with_columns(pl.col("job").replace_strict(jobs, default=pl.col("job")).alias("occupation"))
    return Table(_placed(frame.drop("job"), table, path), table.lines, table.encoding, table.rejects)


def _read_dat(path: Path, options: Options) -> RawTables:
    options.refuse_mapping("ml-1m")
    data = path if path.is_file() else find(path, "ratings.dat")
    if data is None:
        raise DataError("the folder has no ratings.dat", file=path.name)
    sheets = _Sheets()
    sheets.add(separated(data, "::", ("u", "i", "r", "t")), data, "u", "i", "t", "r")
    items = users = None
    if film := find(path, "movies.dat"):
        items = sheets.note(movies_dat(film), film).frame
    if people := find(path, "users.dat"):
        users = sheets.note(users_dat(people), people).frame
    if tags := find(path, "tags.dat"):
        sheets.add(separated(tags, "::", ("u", "i", "tag", "t")), tags, "u", "i", "t", text="tag")
    return sheets.tables(items, users)


# ---- latest, 20M, 25M, 32M ------------------------------------------------------------------------------------------


def _detect_csv(path: Path) -> Fit:
    data = find(path, "ratings.csv") if path.is_dir() else path
    if data is not None and head(data, 1).first == "userId,movieId,rating,timestamp":
        return Fit(1.0, "the header is userId,movieId,rating,timestamp")
    return NO


def _read_csv(path: Path, options: Options) -> RawTables:
    import polars as pl

    options.refuse_mapping("ml-latest")
    data = path if path.is_file() else find(path, "ratings.csv")
    if data is None:
        raise DataError("the folder has no ratings.csv", file=path.name)
    sheets = _Sheets()
    sheets.add(delimited(data, ","), data, "userId", "movieId", "timestamp", "rating")
    items = None
    if film := find(path, "movies.csv"):
        table = sheets.note(_headed(film, "movieId", "title", "genres"), film)
        items = _placed(table.frame.with_columns(_piped("genres")).rename({"movieId": "item"}), table, film)
        if links := find(path, "links.csv"):
            ids = _headed(links, "movieId", "imdbId").frame.select(pl.col("movieId").alias("item"), "imdbId")
            prefixed = pl.when(pl.col("imdbId").is_not_null()).then("tt" + pl.col("imdbId")).alias("imdb")
            items = items.join(
                ids.unique("item").select("item", prefixed), on="item", how="left", maintain_order="left"
            )
    if tags := find(path, "tags.csv"):
        table = _headed(tags, "userId", "movieId", "tag", "timestamp")
        sheets.add(table, tags, "userId", "movieId", "timestamp", text="tag")
    return sheets.tables(items, None)


def _headed(path: Path, *wanted: str) -> Table:
    table = delimited(path, ",")
    missing = [name for name in wanted if name not in table.frame.columns]
    if missing:
        raise DataError(
            f"there is no column {missing[0]!r}", file=bare_name(path), line=1, field=missing[0],
            hint=f"the columns are {', '.join(table.frame.columns)}",
        )  # fmt: skip
    return table


SOURCES = (
    Source("ml-100k", "MovieLens 100K", _detect_100k, _read_100k, LICENCE, "latin-1"),
    Source("ml-1m", "MovieLens 1M or 10M", _detect_dat, _read_dat, LICENCE, "latin-1"),
    Source("ml-latest", "MovieLens latest, 20M, 25M or 32M", _detect_csv, _read_csv, LICENCE, "latin-1"),
)
