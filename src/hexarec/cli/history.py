"""Histories of users never seen: files and titles, grounded in the catalog."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hexarec.core import KINDS, Catalog, DataError, Event
from hexarec.parts.named_items import Grounder

NAMES = ("item", "item_id", "id", "title", "name")
FORMS = ".csv with a column item or title, .jsonl with such keys (or plain strings), or .txt with one a line"


@dataclass(frozen=True)
class Named:
    """One thing somebody liked, as it was written."""

    words: str
    kind: str = "like"
    value: float = float("nan")
    time: float | None = None


def grounded(catalog: Catalog, named: Sequence[Named]) -> tuple[list[Event], list[str]]:
    """Events of a history, and notes on what was guessed or not found. Raises DataError when nothing was found."""
    finder = Grounder(catalog)
    events: list[Event] = []
    notes: list[str] = []
    for place, one in enumerate(named):
        item, note = finder.find(one.words)
        notes += [note] if note else []
        if item is not None:
            events.append(Event("", item, float(place) if one.time is None else one.time, one.kind, one.value))
    if named and not events:
        raise DataError("; ".join(notes[:3]), hint="give titles or ids of the catalog")
    return events, notes


def read_history(path: Path) -> list[Named]:
    """The entries of a history file, oldest first: by time where every entry has one, else as written.

    Raises DataError naming file and line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise DataError("no such file", file=str(path), hint=FORMS) from None
    except UnicodeDecodeError:
        raise DataError("the file is not UTF-8", file=str(path), hint=FORMS) from None
    readers = {".csv": _csv, ".jsonl": _jsonl, ".txt": _txt}
    if path.suffix.lower() not in readers:
        raise DataError(f"cannot read a history from {path.suffix or 'this'}", file=str(path), hint=FORMS)
    made = list(readers[path.suffix.lower()](text, str(path)))
    if not made:
        raise DataError("the history is empty", file=str(path), hint=FORMS)
    if any(one.time is None for one in made):
        return [replace(one, time=None) for one in made]
    return sorted(made, key=lambda one: one.time or 0.0)


def _txt(text: str, file: str) -> Iterator[Named]:
    yield from (Named(line.strip()) for line in text.splitlines() if line.strip())


def _csv(text: str, file: str) -> Iterator[Named]:
    reader = csv.DictReader(text.splitlines())
    if not any(name in NAMES for name in _lower(reader.fieldnames or ())):
        raise DataError("no column item or title", file=file, line=1, hint=FORMS)
    try:
        for row in reader:
            yield _named(row, file, reader.line_num)
    except csv.Error as error:
        raise DataError(f"not a table: {error}", file=file, line=reader.line_num) from None


def _jsonl(text: str, file: str) -> Iterator[Named]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}", file=file, line=number) from None
        if not isinstance(row, str | dict):
            raise DataError("neither a string nor an object", file=file, line=number, hint=FORMS)
        yield Named(row) if isinstance(row, str) else _named(row, file, number)


def _lower(names: Sequence[str]) -> list[str]:
    return [str(name).strip().lower() for name in names]


def _named(row: Mapping[str, Any], file: str, number: int) -> Named:
    values = {str(name).strip().lower(): value for name, value in row.items() if value not in (None, "")}
    words = next((str(values[name]) for name in NAMES if name in values), "")
    if not words:
        raise DataError("no item and no title", file=file, line=number, hint=FORMS)
    numbers: dict[str, float | None] = {}
    for ours, names in (("value", ("value", "rating", "stars")), ("time", ("time", "timestamp"))):
        said = next((values[name] for name in names if name in values), None)
        try:
            numbers[ours] = None if said is None else float(said)
            if said is not None and not math.isfinite(float(said)):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            hint = "seconds since 1970; without times the order of the file counts" if ours == "time" else ""
            raise DataError(
                f"{str(said)[:40]!r} is not a finite number", file=file, line=number, field=ours, hint=hint
            ) from None
    kind = str(values.get("kind", values.get("event", "like" if numbers["value"] is None else "rate"))).lower()
    if kind not in KINDS:
        raise DataError(f"unknown kind {kind!r}", file=file, line=number, field="kind", hint=", ".join(KINDS))
    value = float("nan") if numbers["value"] is None else numbers["value"]
    return Named(words, kind, value, numbers["time"])
