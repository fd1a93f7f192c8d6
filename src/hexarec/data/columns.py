"""From checked frames to a catalog and users: titles, texts, languages, and attributes with their types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, IdTable, Users, strings
from hexarec.data.tables import PLACE

if TYPE_CHECKING:
    import polars as pl

_LANG = re.compile(r"^(title|text|description)_([a-z]{2})$")
_YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$"
_LISTS = ("genres", "categories", "keywords", "tags")
_CODES = ("zip", "zip_code", "postcode", "phone", "isbn", "barcode", "ean")
SCRIPTS = {
    "ja": r"[\p{Hiragana}\p{Katakana}]", "zh": r"\p{Han}", "ko": r"\p{Hangul}", "ar": r"\p{Arabic}",
    "ru": r"\p{Cyrillic}",
    "hi": r"\p{Devanagari}", "he": r"\p{Hebrew}", "el": r"\p{Greek}", "th": r"\p{Thai}", "en": r"\p{Latin}",
}  # fmt: skip


def script_shares(texts: Any) -> dict[str, float]:
    """Share of non-empty texts per leading script, named by the language it most often writes, largest first."""
    import polars as pl

    frame = pl.DataFrame({"t": pl.Series("t", list(texts), dtype=pl.String)}).filter(pl.col("t").fill_null("") != "")
    if not len(frame):
        return {}
    counts = frame.select(pl.col("t").str.count_matches(pattern).alias(lang) for lang, pattern in SCRIPTS.items())
    # two kana make a Japanese text, and a few Latin letters do not make a Chinese title English
    weighted = counts.with_columns(pl.col("ja") * 3, pl.col("zh") * 2).to_numpy()
    lead = np.where(weighted.max(1) > 0, weighted.argmax(1), -1)
    shares = {lang: float((lead == i).mean()) for i, lang in enumerate(SCRIPTS)}
    return dict(sorted(((k, v) for k, v in shares.items() if v), key=lambda pair: -pair[1]))


def guess_lang(texts: Any) -> str:
    """The language most titles seem to be written in, by script alone; English when nothing speaks against it."""
    return next(iter(script_shares(texts)), "en")


def _filled(column: pl.Series) -> NDArray[np.object_]:
    import polars as pl

    if isinstance(column.dtype, pl.List):
        column = column.list.unique(maintain_order=True).list.join("\n")
    return strings(column.cast(pl.String).str.strip_chars().fill_null("").to_list())


def _numeric(column: pl.Series) -> pl.Series | None:
    """The column as numbers when every present value is one and none is a code such as 00123."""
    import polars as pl

    text = column.str.strip_chars().replace("", None)
    numbers = text.cast(pl.Float64, strict=False)
    if text.is_null().all() or int(numbers.is_null().sum()) != int(text.is_null().sum()):
        return None
    coded = text.str.contains(r"^0\d").fill_null(False).any() or not numbers.drop_nulls().is_finite().all()
    return None if coded else numbers


def attribute(name: str, column: pl.Series) -> NDArray[Any]:
    """One attribute column: float64 with NaN for absent numbers, else objects (str, bool, tuple of str or None).

    A list column holds text, as the readers make it; each value of a list stands in the tuple once.
    """
    import polars as pl

    if isinstance(column.dtype, pl.List):
        return strings(None if row is None or not len(row) else tuple(dict.fromkeys(row)) for row in column.to_list())
    if column.dtype == pl.Boolean:
        return strings(column.to_list())
    text = column.cast(pl.String)
    if name in _LISTS and text.str.contains("|", literal=True).any():
        split = text.str.split("|").to_list()
        return strings(
            None if row is None else tuple(dict.fromkeys(one.strip() for one in row if one.strip())) or None
            for row in split
        )
    if name in _LISTS:
        return strings(None if not one else (one,) for one in text.str.strip_chars().to_list())
    numbers = None if name in _CODES else _numeric(text)
    if numbers is None and name == "year":  # "unknown" here and there must not turn all years into words
        cast = text.cast(pl.Float64, strict=False)
        numbers = cast if 10 * int(cast.is_not_null().sum()) > 9 * int(text.is_not_null().sum()) else None
    if numbers is not None:
        return numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
    return strings(text.str.strip_chars().replace("", None).to_list())


def _years(titles: pl.Series) -> NDArray[np.float64] | None:
    """The year at the end of "Title (1995)", when at least half of the titles have one."""
    import polars as pl

    found = titles.str.extract(_YEAR, 1).cast(pl.Float64, strict=False)
    if not len(found) or 2 * int(found.is_not_null().sum()) < len(found):
        return None
    return found.fill_null(float("nan")).to_numpy().astype(np.float64)


def build_catalog(items: pl.DataFrame, since: NDArray[np.float64] | None = None) -> Catalog:
    """The catalog of a checked item table; `title_zh` and `text_zh` become its words in that language."""
    import polars as pl

    n = len(items)
    blank = pl.Series("", [""], dtype=pl.String).new_from_index(0, n)
    titles = _filled(items["title"] if "title" in items.columns else blank)
    texts = _filled(items["text"] if "text" in items.columns else blank)
    other: dict[tuple[str, str], NDArray[np.object_]] = {}
    attributes: dict[str, NDArray[Any]] = {}
    for name in items.columns:
        if name in ("item", "title", "text", "since", *PLACE):
            continue
        if found := _LANG.match(name):
            kind = "title" if found[1] == "title" else "text"
            other[kind, found[2]] = strings(one or None for one in _filled(items[name]).tolist())
        else:
            attributes[name] = attribute(name, items[name])
    if "year" not in attributes and "title" in items.columns:
        years = _years(pl.Series(titles.tolist(), dtype=pl.String))
        if years is not None:
            attributes["year"] = years
    return Catalog(
        IdTable.of(items["item"].to_list()),
        titles,
        texts,
        {name: column for name, column in attributes.items() if _says_something(column)},
        other,
        alive=np.ones(n, bool),
        since=np.full(n, -np.inf) if since is None else since,
        lang=guess_lang(titles[:2000]),
    )


def _says_something(column: NDArray[Any]) -> bool:
    if column.dtype == np.float64:
        return bool((~np.isnan(column)).any())
    return any(one is not None for one in column)


def build_users(users: pl.DataFrame) -> Users:
    """The users of a checked user table, with their stated attributes."""
    made = {name: attribute(name, users[name]) for name in users.columns if name not in ("user", *PLACE)}
    return Users(
        IdTable.of(users["user"].to_list()), {n: column for n, column in made.items() if _says_something(column)}
    )
