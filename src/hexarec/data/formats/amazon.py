"""Amazon reviews: 2014 and 2018 (headerless ratings, JSON lines), 2023 (CSV with a header, JSON lines).

Source: McAuley et al. 2015; Ni et al. 2019; Hou et al. 2024. The 2014 files say user,item,rating,time and the 2018 ones
item,user,rating,time: the order is decided from the values. Some 2014 files hold Python literals instead of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core.errors import DataError
from hexarec.data.files import Table, delimited, head, inside, suffix
from hexarec.data.formats.base import NO, Fit, Options, Source, numbers
from hexarec.data.records import first_record, frame_of, phrases, records, words
from hexarec.data.tables import RawTables, Reject, event_frame, stacked

if TYPE_CHECKING:
    import polars as pl

LICENCE = "McAuley lab release of Amazon reviews: cite the paper, research use"
ASIN = r"^(B[0-9A-Z]{9}|[0-9]{9}[0-9X])$"
_RATING = re.compile(r"^[0-9A-Za-z]+,[0-9A-Za-z]+,[1-5](\.0)?,\d{8,13}$")
_HEADER_2023 = "user_id,parent_asin,rating,timestamp"
_ROLES = ("ratings", "ratings23", "reviews", "reviews23", "items")


def _role(path: Path) -> str:
    """What part of an Amazon release a file is, or ""."""
    kind = suffix(path)
    if kind == "csv":
        top = head(path, 3)
        if top.first.startswith(_HEADER_2023):
            return "ratings23"
        return "ratings" if top.lines and all(_RATING.match(line) for line in top.lines) else ""
    if kind not in ("json", "jsonl"):
        return ""
    one = first_record(path)
    if {"reviewerID", "asin"} <= set(one):
        return "reviews"
    if {"user_id", "parent_asin", "rating"} <= set(one):
        return "reviews23"
    return "items" if ("asin" in one or "parent_asin" in one) and ("title" in one or "main_category" in one) else ""


def _parts(path: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {role: [] for role in _ROLES}
    for one in inside(path):
        if role := _role(one):
            found[role].append(one)
    return found


def _detect(path: Path) -> Fit:
    found = {role: files for role, files in _parts(path).items() if files}
    if not set(found) - {"items"}:
        return NO
    said = ", ".join(f"{role} in {files[0].name}" for role, files in found.items())
    return Fit(0.95, f"columns of an Amazon release ({said})")


def _columns_of(frame: pl.DataFrame) -> tuple[str, str, str]:
    """Which of the first two headerless columns is the item, and why: product codes first, then fewer distinct."""
    shares = [float(frame[name].str.contains(ASIN).fill_null(False).mean() or 0) for name in ("a", "b")]  # type: ignore[arg-type]
    if abs(shares[0] - shares[1]) > 0.1:
        item = "a" if shares[0] > shares[1] else "b"
        why = f"{max(shares):.0%} of its values are product codes"
    else:
        item = "a" if frame["a"].n_unique() < frame["b"].n_unique() else "b"
        why = "it has fewer distinct values"
    order = "item,user,rating,time (2018)" if item == "a" else "user,item,rating,time (2014)"
    return (
        ("b", "a", f"columns taken as {order}: {why}")
        if item == "a"
        else ("a", "b", f"columns taken as {order}: {why}")
    )


def _ratings(path: Path) -> tuple[pl.DataFrame, Table, str]:
    table = delimited(path, ",", ("a", "b", "r", "t"), quote=None)
    user, item, note = _columns_of(table.frame)
    columns = {"user": table.frame[user], "item": table.frame[item], "value": table.frame["r"], "kind": "rate"}
    return event_frame({**columns, "time": table.frame["t"]}, path.name, table.lines), table, f"{path.name}: {note}"


def _ratings23(path: Path) -> tuple[pl.DataFrame, Table, str]:
    table = delimited(path, ",")
    columns = {
        "user": table.frame["user_id"], "item": table.frame["parent_asin"], "value": table.frame["rating"],
        "time": table.frame["timestamp"], "kind": "rate",
    }  # fmt: skip
    note = (
        f"{path.name}: the column history repeats other rows and is not read"
        if "history" in table.frame.columns
        else ""
    )
    return event_frame(columns, path.name, table.lines), table, note


def _review(row: Mapping[str, Any], new: bool) -> tuple[Any, ...]:
    names = ("user_id", "parent_asin", "timestamp", "rating", "title", "text") if new else (
        "reviewerID", "asin", "unixReviewTime", "overall", "summary", "reviewText"
    )  # fmt: skip
    user, item, time, value, title, text = (row.get(name) for name in names)
    said = "\n".join(part for part in (words(title), words(text)) if part)
    return words(user), words(item), numbers(time), numbers(value), said or None


def _reviews(path: Path, rejects: list[Reject], *, new: bool) -> pl.DataFrame:
    rows, lines = [], []
    for line, row in records(path, rejects):
        rows.append(_review(row, new))
        lines.append(line)
    columns = dict(zip(("user", "item", "time", "value", "text"), map(list, zip(*rows, strict=True)), strict=True))
    return event_frame({**columns, "kind": "review"}, path.name, lines)


def _product(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of a meta file in our names; 2014, 2018 and 2023 differ in spelling only."""
    described = row.get("description") or row.get("features")
    price = re.search(r"\d+(?:\.\d+)?", str(row.get("price") or "").replace(",", ""))
    return {
        "item": words(row.get("parent_asin") or row.get("asin")),
        "title": words(row.get("title")),
        "text": words(described),
        "brand": words(row.get("brand") or row.get("store")),
        "price": price[0] if price else None,
        "categories": phrases(row.get("categories") or row.get("category") or row.get("main_category")),
    }


def _read(path: Path, options: Options) -> RawTables:
    options.refuse_mapping("amazon")
    parts = _parts(path)
    rejects: list[Reject] = []
    notes: list[str] = []
    events: list[pl.DataFrame] = []
    for role in ("reviews", "reviews23"):
        events += [_reviews(one, rejects, new=role == "reviews23") for one in parts[role]]
    rated = parts["ratings"] + parts["ratings23"]
    if events and rated:
        notes.append("rating tables are left out: the review files hold the same events with their words")
    for one in [] if events else rated:
        frame, table, note = (_ratings if one in parts["ratings"] else _ratings23)(one)
        events.append(frame)
        rejects += table.rejects
        notes += [note] if note else []
    made = stacked(events)
    if made is None:
        raise DataError(
            "no ratings or reviews of an Amazon release", file=path.name, hint="give the rating or review file"
        )
    items = stacked([_products(one, rejects) for one in parts["items"]])
    return RawTables(made, items, licence=LICENCE, notes=tuple(notes), rejects=tuple(rejects))


def _products(path: Path, rejects: list[Reject]) -> pl.DataFrame:
    rows = [(line, _product(row)) for line, row in records(path, rejects)]
    return frame_of([row for _, row in rows], (line for line, _ in rows), path.name)


SOURCES = (Source("amazon", "Amazon reviews 2014, 2018 or 2023", _detect, _read, LICENCE),)
