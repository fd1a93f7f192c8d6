"""Readers of foreign formats, and the choice between them."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

from hexarec.core.errors import DataError
from hexarec.data.files import ARCHIVES, inside, suffix
from hexarec.data.formats.base import TABLES, Fit, Options, Source

__all__ = ["Fit", "Options", "Source", "detect", "source_named", "sources"]


@lru_cache(maxsize=1)
def sources() -> tuple[Source, ...]:
    """All readers; the plain one, which takes any table, last."""
    from hexarec.data.formats import amazon, bookcrossing, mind, movielens, plain, recbole, steam

    modules = (movielens, amazon, mind, steam, recbole, bookcrossing, plain)
    return tuple(source for module in modules for source in module.SOURCES)


def source_named(name: str) -> Source:
    """The reader of this name. Raises DataError with the list of real ones."""
    names = {source.name: source for source in sources()}
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise DataError(
            f"unknown format {name!r}" + (f", did you mean {near[0]!r}?" if near else ""),
            field="format",
            hint=f"use one of {', '.join(names)}",
        )
    return names[name]


def detect(path: Path) -> tuple[Source, Fit]:
    """The reader that fits best, and why. Raises DataError when none does."""
    if not path.exists():
        raise DataError("no such file or folder", file=str(path), hint="check the path")
    fits = [(source, source.detect(path)) for source in sources()]
    source, fit = max(fits, key=lambda pair: pair[1].confidence)
    if fit.confidence <= 0:
        raise DataError(
            "no reader knows this layout" + _inner(path),
            file=path.name,
            hint=_mend(path),
        )
    return source, fit


def _mend(path: Path) -> str:
    """What may help with a layout nobody knows: unpack it, or name one table of several."""
    files = inside(path)
    packed = [one.name for one in files if suffix(one) in ARCHIVES]
    tables = [one.name for one in files if suffix(one) in (*TABLES, "dat")]
    if packed and not tables:
        return f"unpack {packed[0]} and give its folder"
    if len(tables) > 1:
        named = ", ".join(tables[:6]) + (f" and {len(tables) - 6} more" if len(tables) > 6 else "")
        return f"it holds {named}: give the file with the events, and a table of items with items='FILE'"
    return "give a CSV, JSON lines or Parquet file with a mapping such as user=user_id,item=sku,time=ts"


def _inner(path: Path) -> str:
    """Which folder inside would be known, as a suggestion."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")) if path.is_dir() else []
    known = [one for one in folders if any(source.detect(one).confidence > 0.1 for source in sources())]
    return f", did you mean {path.name}/{known[0].name}?" if known else ""
