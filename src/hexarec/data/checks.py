"""Row checks: which events and items can be taken in, and one reason for each that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hexarec.core.interactions import KINDS
from hexarec.data.tables import PLACE, SHORT
from hexarec.data.times import Times

if TYPE_CHECKING:
    import polars as pl

MAX_ID = 1024  # bytes
_ALIASES = {
    "buy": "purchase", "order": "purchase", "transaction": "purchase", "rating": "rate", "viewed": "view",
    "read": "view", "pv": "view", "page_view": "view", "pageview": "view", "impression": "view", "watch": "view",
    "play": "view",
    "listen": "view", "clicks": "click", "addtocart": "click", "add_to_cart": "click", "cart": "click", "star": "like",
    "favorite": "like", "fav": "like", "thumbs_up": "like", "thumbs_down": "dislike", "skipped": "skip",
    "hidden": "hide",
}  # fmt: skip
_REJECT = ("_file", "_line", "column", "reason", "value")


def clean_id(name: str) -> pl.Expr:
    """An id without the blanks around it."""
    import polars as pl

    return pl.col(name).cast(pl.String).str.strip_chars().alias(name)


def id_reason(name: str) -> pl.Expr:
    """Why an id cannot be taken, null when it can."""
    import polars as pl

    column = pl.col(name)
    return (
        pl.when(column.is_null() | (column == ""))
        .then(pl.lit(f"missing {name}"))
        .when(column.str.contains("\0", literal=True))
        .then(pl.lit(f"{name} id contains a NUL character"))
        .when(column.str.len_bytes() > MAX_ID)
        .then(pl.lit(f"{name} id is longer than {MAX_ID} bytes"))
    )


def empty_rejects() -> pl.DataFrame:
    """A table of rejects without rows."""
    import polars as pl

    return pl.DataFrame(schema={name: pl.Int64 if name == "_line" else pl.String for name in _REJECT})


def rejected(frame: pl.DataFrame, column: pl.Expr, value: pl.Expr) -> pl.DataFrame:
    """Rows with a reason as rejects: file, line, column, reason, value cut short."""
    import polars as pl

    text = value.cast(pl.String)
    short = pl.when(text.str.len_chars() > SHORT).then(text.str.head(SHORT - 3) + "...").otherwise(text)
    return frame.select(*PLACE, column.alias("column"), "reason", short.alias("value")).cast({"_line": pl.Int64})


def check_events(events: pl.DataFrame, times: Times) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good events (user, item, time f64, kind, value f64, text, _file, _line) and rejects."""
    import polars as pl

    raw = events.with_columns(
        clean_id("user"),
        clean_id("item"),
        pl.col("value").str.strip_chars().replace("", None),
        times.seconds.alias("_seconds"),
        times.reason.alias("_when"),
    ).with_columns(pl.col("value").cast(pl.Float64, strict=False).alias("_value"))
    value = (
        pl.when(pl.col("value").is_not_null() & pl.col("_value").is_null())
        .then(pl.lit("value is not a number"))
        .when(pl.col("_value").is_not_null() & ~pl.col("_value").cast(pl.Float32).is_finite())
        .then(pl.lit("value is not a finite number"))
    )
    raw = raw.with_columns(id_reason("user").alias("_u"), id_reason("item").alias("_i"), value.alias("_v"))
    raw = raw.with_columns(pl.coalesce("_u", "_i", "_when", "_v").alias("reason"))
    wrong = raw.filter(pl.col("reason").is_not_null())

    def chosen(user: pl.Expr, item: pl.Expr, time: pl.Expr, rest: pl.Expr) -> pl.Expr:
        first = pl.when(pl.col("_u").is_not_null()).then(user).when(pl.col("_i").is_not_null()).then(item)
        return first.when(pl.col("_when").is_not_null()).then(time).otherwise(rest)

    column = chosen(pl.lit("user"), pl.lit("item"), pl.lit("time"), pl.lit("value"))
    seen = chosen(pl.col("user"), pl.col("item"), pl.col("time"), pl.col("value"))
    good = raw.filter(pl.col("reason").is_null()).select(
        "user", "item", pl.col("_seconds").alias("time"), "kind", pl.col("_value").alias("value"), "text", *PLACE
    )
    return good, rejected(wrong, column, seen)


def known_kinds(events: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Events with `kind` as one of ours, and how often each unknown one was read as a click."""
    import polars as pl

    lower = pl.col("kind").str.strip_chars().str.to_lowercase().fill_null("click")
    aliased = events.with_columns(lower.replace(_ALIASES).alias("kind"))
    strange = aliased.filter(~pl.col("kind").is_in(KINDS))["kind"].value_counts()
    made = aliased.with_columns(
        pl.when(pl.col("kind").is_in(KINDS)).then("kind").otherwise(pl.lit("click")).alias("kind")
    )
    return made, dict(strange.iter_rows())


def check_table(table: pl.DataFrame, key: str) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Rows of an item or user table with usable, unique ids; rejects; and how many exact repeats were dropped.

    Of rows that share an id the first is kept; later ones with other content are rejects.
    """
    import polars as pl

    raw = table.with_columns(clean_id(key)).with_columns(id_reason(key).alias("reason"))
    wrong = raw.filter(pl.col("reason").is_not_null())
    good = raw.filter(pl.col("reason").is_null()).drop("reason")
    first = good.unique(key, keep="first", maintain_order=True)
    bad = rejected(wrong, pl.lit(key), pl.col(key))
    if len(first) == len(good):
        return first, bad, 0
    content = [name for name in good.columns if name not in PLACE]
    row_hash = good.select(content).hash_rows()
    marked = good.with_columns(row_hash.alias("_hash"), pl.int_range(pl.len()).alias("_n"))
    heads = marked.unique(key, keep="first", maintain_order=True).select(key, pl.col("_hash").alias("_first"))
    later = marked.join(heads, on=key, maintain_order="left").filter(~pl.col("_n").is_in(_first_rows(marked, key)))
    other = later.filter(pl.col("_hash") != pl.col("_first"))
    twice = other.with_columns(pl.lit(f"duplicate {key} id with other content; the first is kept").alias("reason"))
    return first, pl.concat([bad, rejected(twice, pl.lit(key), pl.col(key))]), len(later) - len(other)


def without_nul(table: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, int]]]:
    """The table with NUL characters taken out of its texts, and how many values of each column held one."""
    import polars as pl

    names = [name for name, kind in table.schema.items() if kind == pl.String]
    held = [(name, int(table[name].str.contains("\0", literal=True).sum())) for name in names]
    found = [(name, n) for name, n in held if n]
    return table.with_columns(pl.col(name).str.replace_all("\0", "", literal=True) for name, _ in found), found


def _first_rows(marked: pl.DataFrame, key: str) -> list[int]:
    return marked.unique(key, keep="first", maintain_order=True)["_n"].to_list()
