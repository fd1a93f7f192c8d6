"""Numbers with their units as the page writes them: the filters of its templates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

MISSING = "–"


def _known(function: Callable[[float], str]) -> Callable[[Any], str]:
    """The filter, which writes a dash for what is missing or no number."""

    def written(value: Any) -> str:
        if value is None or isinstance(value, str):
            return MISSING
        number = float(value)
        return function(number) if math.isfinite(number) else MISSING

    written.__doc__ = function.__doc__
    written.__name__ = function.__name__
    return written


@_known
def count(value: float) -> str:
    """12,345"""
    return f"{value:,.0f}"


@_known
def seconds(value: float) -> str:
    """340 ms, 1.2 s, 4 min 10 s, 3 h 5 min, 2 d 4 h"""
    if value < 0.9995:
        return f"{1000 * value:.0f} ms" if value >= 0.01 or value == 0 else f"{1000 * value:.1f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, hours = round(value / 60), round(value / 3_600)
    if round(value) < 3_600:
        return f"{round(value) // 60} min {round(value) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 1_440 else f"{hours // 24} d {hours % 24} h"


@_known
def dollars(value: float) -> str:
    """$0.0123, $1.20, $12,345"""
    if value == 0:
        return "$0"
    if abs(value) < 0.00005:
        return f"${value:.1e}"
    return f"${value:,.4f}" if abs(value) < 1 else f"${value:,.2f}" if abs(value) < 10_000 else f"${value:,.0f}"


@_known
def percent(value: float) -> str:
    """62 %, 0.3 %: of a share of one"""
    shown = 100 * value
    return f"{shown:.0f} %" if abs(shown) >= 10 or shown == round(shown) else f"{shown:.1f} %"


@_known
def number(value: float) -> str:
    """0.1234, 12.34, 1,234: a score, or any number whose unit stands elsewhere"""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 0.00005 or size >= 1e15:
        return f"{value:.1e}"
    places = 4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1 if size < 1_000 else 0
    return f"{value:,.{places}f}"


@_known
def size(value: float) -> str:
    """Bytes: 512 B, 12.3 kB, 4.5 MB"""
    if value < 1_000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1_000
        if value < 999.95 or unit == "GB":
            return f"{value:.1f} {unit}"
    return MISSING


@_known
def moment(value: float) -> str:
    """2026-11-26 05:57 UTC: of unix seconds"""
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value))
    except (ValueError, OverflowError, OSError):
        return MISSING


@_known
def iso(value: float) -> str:
    """2026-11-26T05:57:12Z: of unix seconds, for attributes that machines read"""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    except (ValueError, OverflowError, OSError):
        return MISSING


FILTERS: dict[str, Callable[[Any], str]] = {
    "count": count, "seconds": seconds, "dollars": dollars, "percent": percent, "number": number, "size": size,
    "moment": moment, "iso": iso,
}  # fmt: skip
