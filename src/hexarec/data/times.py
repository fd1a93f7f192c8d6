"""Time columns of any make as unix seconds: the unit is guessed once, from the whole column."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

DAY = 86400.0
UNITS = (("seconds", 1.0, 1e11), ("milliseconds", 1e3, 1e14), ("microseconds", 1e6, 1e17), ("nanoseconds", 1e9, 1e20))
_SCALES = {name for name, _, _ in UNITS}
_STAMPS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S%.f", "%Y/%m/%d %H:%M")
_DATES = ("%Y-%m-%d", "%Y/%m/%d")
EARLY = 1e8  # below this "seconds" lie before March 1973: more likely an order or another unit


@dataclass(frozen=True)
class Times:
    """seconds: Float64, null where wrong. reason: text, null where right. unit: what the column was taken for."""

    seconds: pl.Series
    reason: pl.Series
    unit: str
    note: str = ""


def parse_times(column: pl.Series, *, clock: bool = True, now: float | None = None) -> Times:
    """Read a column of numbers or ISO 8601 text as unix seconds UTC; without a clock the numbers are only an order.

    A moment more than a day ahead of `now` (default: this moment) or before 1970 is wrong, and so is a number that
    makes sense only in another unit than the column's (milliseconds among seconds), with that reason.
    """
    import polars as pl

    raw = column.cast(pl.String).str.strip_chars()
    numbers = raw.cast(pl.Float64, strict=False)
    present = int((raw.fill_null("") != "").sum())
    numeric = int(numbers.is_not_null().sum())
    if not clock:
        return Times(numbers, _reasons(raw, numbers, None, clock=False), "order")
    latest = (time.time() if now is None else now) + DAY
    other: pl.Series | None = None
    if present and 2 * numeric < present:
        seconds, unit, note = _stamps(raw), "ISO 8601", ""
    else:
        seconds, unit, note = _scaled(numbers)
        other = _other_unit(numbers, seconds, unit, latest) if unit in _SCALES and not note else None
        mixed = 0 if other is None else len(other) - other.null_count()
        if mixed:
            note = f"time units are mixed: most times are in {unit}, {mixed:,} are not and are refused"
        if unit == "dates (YYYYMMDD)":
            seconds = raw.str.to_date("%Y%m%d", strict=False).cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    reason = _reasons(raw, seconds, latest, clock=True)
    if other is not None:
        reason = other.zip_with(other.is_not_null(), reason)
    return Times(seconds.zip_with(reason.is_null(), pl.Series([None], dtype=pl.Float64)), reason, unit, note)


def _scaled(numbers: pl.Series) -> tuple[pl.Series, str, str]:
    usable = numbers.filter(numbers.is_finite().fill_null(False))
    if not len(usable):
        return numbers, "seconds", ""
    middle = abs(float(usable.median() or 0.0))  # type: ignore[arg-type]
    if 19000101 <= float(usable.min() or 0) and float(usable.max() or 0) <= 21001231:  # type: ignore[arg-type]
        months = (usable.cast(int) // 100 % 100).is_between(1, 12) & (usable.cast(int) % 100).is_between(1, 31)
        if months.all():
            return numbers, "dates (YYYYMMDD)", ""
    name, scale = next(((unit, by) for unit, by, most in UNITS if middle < most), ("seconds", 1.0))
    note = ""
    if name == "seconds" and middle < EARLY:
        note = "most times lie before 1973: if the column is only an order, map it as order= instead of time="
    return numbers / scale, name, note


def _other_unit(numbers: pl.Series, seconds: pl.Series, unit: str, latest: float) -> pl.Series:
    """A reason for every number that is no likely moment in the unit of the column but one in another, else null."""
    import polars as pl

    frame = pl.DataFrame({"n": numbers, "t": seconds})
    odd = pl.col("n").is_finite() & (pl.col("n") > 0) & ~pl.col("t").is_between(EARLY, latest)
    made = pl.lit(None, dtype=pl.String)
    for name, scale, _ in UNITS:
        if name != unit:
            fits = odd & (pl.col("n") / scale).is_between(EARLY, latest)
            made = pl.when(fits).then(pl.lit(f"time is in {name}, the column in {unit}")).otherwise(made)
    return frame.select(made.alias("reason"))["reason"]


def _stamps(raw: pl.Series) -> pl.Series:
    import polars as pl

    plain = raw.str.replace("T", " ", literal=True).str.replace(r"\s*(Z|UTC)$", "+00:00")
    zoned = [plain.str.to_datetime(f + "%z", strict=False, time_unit="us", time_zone="UTC") for f in _STAMPS[:2]]
    bare = [plain.str.to_datetime(f, strict=False, time_unit="us").dt.replace_time_zone("UTC") for f in _STAMPS]
    days = [plain.str.to_date(f, strict=False).cast(pl.Datetime("us", "UTC")) for f in _DATES]
    found = (
        pl.DataFrame({str(i): s for i, s in enumerate(zoned + bare + days)}).select(pl.coalesce(pl.all())).to_series()
    )
    return found.dt.epoch("us") / 1e6


def _reasons(raw: pl.Series, seconds: pl.Series, latest: float | None, *, clock: bool) -> pl.Series:
    import polars as pl

    frame = pl.DataFrame({"raw": raw, "t": seconds})
    t = pl.col("t")
    chain = pl.when(pl.col("raw").fill_null("") == "").then(pl.lit("missing time"))
    made = chain.when(t.is_null()).then(pl.lit("time cannot be read"))
    made = made.when(~t.is_finite()).then(pl.lit("time is not a finite number"))
    if clock:
        made = made.when(t < 0).then(pl.lit("time is negative"))
        made = made.when(t > latest).then(pl.lit("time lies in the future"))
    return frame.select(made.otherwise(None).alias("reason"))["reason"].cast(pl.String)
