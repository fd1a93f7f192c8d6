"""Book-Crossing: `BX-Book-Ratings.csv` with books and users; semicolons, quotation marks, latin-1, no times.

Source: Ziegler et al. 2005. A rating of 0 means "seen, not rated" and becomes a view without a value.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import DataError
from hexarec.data.files import Table, delimited, head, inside
from hexarec.data.formats.base import NO, Fit, Options, Source
from hexarec.data.tables import RawTables, event_frame

if TYPE_CHECKING:
    import polars as pl

LICENCE = "freely available for research use when acknowledged"
_HEADERS = {
    "ratings": '"User-ID";"ISBN";"Book-Rating"',
    "books": '"ISBN";"Book-Title"',
    "users": '"User-ID";"Location"',
}


def _part(path: Path, role: str) -> Path | None:
    return next((one for one in inside(path) if head(one, 1).first.startswith(_HEADERS[role])), None)


def _detect(path: Path) -> Fit:
    found = _part(path, "ratings")
    return Fit(1.0, f"{found.name} has the header User-ID;ISBN;Book-Rating") if found else NO


def _placed(table: Table, path: Path, names: dict[str, str]) -> pl.DataFrame:
    import polars as pl

    named = {old: new for old, new in names.items() if old in table.frame.columns}
    frame = table.frame.select(list(named)).rename(named)
    absent = [pl.col(name).replace("NULL", None) for name in frame.columns]
    frame = frame.with_columns(*absent, pl.lit(path.name).alias("_file"), table.lines.alias("_line"))
    return frame.with_columns(pl.col("year").replace("0", None)) if "year" in frame.columns else frame


def _read(path: Path, options: Options) -> RawTables:
    import polars as pl

    options.refuse_mapping("book-crossing")
    data = _part(path, "ratings")
    if data is None:
        raise DataError("no table with the header User-ID;ISBN;Book-Rating", file=path.name)
    table = delimited(data, ";", escape="\\")
    rejects, encodings = list(table.rejects), {data.name: table.encoding}
    zero = table.frame["Book-Rating"].str.strip_chars() == "0"
    columns = pl.DataFrame({"value": table.frame["Book-Rating"], "zero": zero}).select(
        pl.when(~pl.col("zero")).then(pl.col("value")).alias("value"),
        pl.when(pl.col("zero")).then(pl.lit("view")).otherwise(pl.lit("rate")).alias("kind"),
        pl.int_range(pl.len()).cast(pl.String).alias("time"),
    )
    events = event_frame(
        {"user": table.frame["User-ID"], "item": table.frame["ISBN"], **columns.to_dict()}, data.name, table.lines
    )
    found = {}
    for role, names in (
        ("books", {"ISBN": "item", "Book-Title": "title", "Book-Author": "author",
                   "Year-Of-Publication": "year", "Publisher": "publisher"}),
        ("users", {"User-ID": "user", "Location": "location", "Age": "age"}),
    ):  # fmt: skip
        if part := _part(path, role) if path.is_dir() else None:
            read = delimited(part, ";", escape="\\")
            rejects += read.rejects
            encodings[part.name] = read.encoding
            found[role] = _placed(read, part, names)
    return RawTables(
        events, found.get("books"), found.get("users"), clock=False, like="value >= 7", licence=LICENCE,
        notes=("there are no times: the order in the file stands in for them, and says little",
               "a rating of 0 means not rated: it is read as a view"),
        rejects=tuple(rejects), encodings=encodings,
    )  # fmt: skip


SOURCES = (Source("book-crossing", "Book-Crossing", _detect, _read, LICENCE, "latin-1"),)
