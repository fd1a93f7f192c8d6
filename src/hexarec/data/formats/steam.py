"""Steam crawls: lines of Python literals (reviews, owned games with hours, games). Parsed as literals, never evaluated.

Source: Kang and McAuley 2018; Pathak et al. 2017. Owned games carry no time, so a folder that has only them gives an
order, not a clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core.errors import DataError
from hexarec.data.files import inside, suffix
from hexarec.data.formats.base import NO, Fit, Options, Source, numbers
from hexarec.data.records import first_record, frame_of, phrases, records, words
from hexarec.data.tables import RawTables, Reject, event_frame, stacked

if TYPE_CHECKING:
    import polars as pl

LICENCE = "McAuley lab release of public Steam data: cite the papers, research use"
_POSTED = re.compile(r"Posted (.+?)\.?$")
Found = tuple[Any, Any, Any, Any, Any, Any, int]  # user, item, time, kind, value, text, line


def _role(path: Path) -> str:
    if suffix(path) not in ("json", "jsonl"):
        return ""
    one = first_record(path)
    if {"product_id", "text"} <= set(one) and {"username", "user_id"} & set(one):
        return "reviews"
    if {"user_id", "items"} <= set(one):
        return "owned"
    if {"user_id", "reviews"} <= set(one):
        return "nested"
    return "games" if {"app_name", "id"} <= set(one) else ""


def _parts(path: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {role: [] for role in ("reviews", "nested", "owned", "games")}
    for one in inside(path):
        if role := _role(one):
            found[role].append(one)
    return found


def _detect(path: Path) -> Fit:
    found = {role: files for role, files in _parts(path).items() if files}
    if not set(found) - {"games"}:
        return NO
    return Fit(0.95, "records of a Steam crawl (" + ", ".join(f"{r} in {f[0].name}" for r, f in found.items()) + ")")


def _review(row: Mapping[str, Any], line: int) -> list[Found]:
    user = words(row.get("user_id") or row.get("username"))
    return [(user, words(row.get("product_id")), words(row.get("date")), "review", None, words(row.get("text")), line)]


def _posted(text: Any) -> str | None:
    found = _POSTED.search(text) if isinstance(text, str) else None
    try:
        return datetime.strptime(found[1], "%B %d, %Y").date().isoformat() if found else words(text)
    except ValueError:
        return words(text)  # "Posted July 3." without a year: refused later, with its line


def _nested(row: Mapping[str, Any], line: int) -> list[Found]:
    made: list[Found] = []
    for one in row.get("reviews") or ():
        if isinstance(one, Mapping):
            kind = {True: "like", False: "dislike"}.get(one.get("recommend"), "review")  # type: ignore[arg-type]
            said = words(one.get("review"))
            made.append(
                (
                    words(row.get("user_id")),
                    words(one.get("item_id")),
                    _posted(one.get("posted")),
                    kind,
                    None,
                    said,
                    line,
                )
            )
    return made


def _owned(row: Mapping[str, Any], line: int) -> list[Found]:
    made: list[Found] = []
    for place, one in enumerate(row.get("items") or ()):
        if isinstance(one, Mapping):
            hours = numbers(one.get("playtime_forever"))
            made.append(
                (words(row.get("user_id")), words(one.get("item_id")), str(place), "purchase", hours, None, line)
            )
    return made


_ROWS = {"reviews": _review, "nested": _nested, "owned": _owned}


def _game(row: Mapping[str, Any]) -> dict[str, Any]:
    price = row.get("price")
    return {
        "item": words(row.get("id")),
        "title": words(row.get("title") or row.get("app_name")),
        "genres": phrases(row.get("genres")),
        "tags": phrases(row.get("tags")),
        "developer": words(row.get("developer")),
        "released": words(row.get("release_date")),
        "price": str(price) if isinstance(price, int | float) else None,
    }


def _names(path: Path, rejects: list[Reject]) -> pl.DataFrame:
    """The names of owned games, for a crawl without a table of games."""
    named: dict[str, tuple[str | None, int]] = {}
    for line, row in records(path, rejects):
        for one in row.get("items") or ():
            if isinstance(one, Mapping) and one.get("item_id") is not None:
                named.setdefault(words(one["item_id"]) or "", (words(one.get("item_name")), line))
    rows = [{"item": item, "title": title} for item, (title, _) in named.items()]
    return frame_of(rows, (line for _, line in named.values()), path.name)


def _read(path: Path, options: Options) -> RawTables:
    options.refuse_mapping("steam")
    parts = _parts(path)
    rejects: list[Reject] = []
    timed = parts["reviews"] + parts["nested"]
    notes = ["owned games are left out: they have no time, the reviews do"] if timed and parts["owned"] else []
    notes += [] if timed else ["owned games have no time: their order in the file stands in for it, and says little"]
    events = []
    for role in ("reviews", "nested") if timed else ("owned",):
        for one in parts[role]:
            rows = [found for line, row in records(one, rejects) for found in _ROWS[role](row, line)]
            events.append(_frame(rows, one.name))
    made = stacked(events)
    if made is None:
        raise DataError("no reviews or owned games of a Steam crawl", file=path.name)
    items = stacked([_games(one, rejects) for one in parts["games"]])
    if items is None and not timed:
        items = stacked([_names(one, []) for one in parts["owned"]])
        items = None if items is None else items.unique("item", keep="first", maintain_order=True)
    return RawTables(made, items, clock=bool(timed), licence=LICENCE, notes=tuple(notes), rejects=tuple(rejects))


def _frame(rows: list[Found], file: str) -> pl.DataFrame:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(7)]
    names = ("user", "item", "time", "kind", "value", "text")
    return event_frame(dict(zip(names, columns, strict=False)), file, columns[6])


def _games(path: Path, rejects: list[Reject]) -> pl.DataFrame:
    rows = [(line, _game(row)) for line, row in records(path, rejects)]
    return frame_of([row for _, row in rows], (line for line, _ in rows), path.name)


SOURCES = (Source("steam", "Steam reviews, owned games, games", _detect, _read, LICENCE),)
