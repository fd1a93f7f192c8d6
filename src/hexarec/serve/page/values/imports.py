"""The import wizard: how an upload is read, its first rows under a mapping, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from hexarec.core import KINDS, Dataset
from hexarec.core.errors import HexarecError
from hexarec.data.formats import sources
from hexarec.data.formats.guess import KEYS
from hexarec.data.formats.plain import read_table
from hexarec.serve.page.figures import comma_separated
from hexarec.serve.uploads import Reading, Upload

ROWS = 8
REFUSED = 50
TEXTS = ("format", "like", "encoding", "events", "items", "users")


@dataclass(frozen=True)
class Rows:
    """The first rows of a table file as they stand in it. marks: what each column is read as, "" for nothing."""

    file: str
    columns: Sequence[str]
    marks: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Event:
    """One event as it will be taken in."""

    user: str
    item: str
    title: str
    time: float | None
    kind: str
    value: float | None
    liked: bool


@dataclass(frozen=True)
class Preview:
    """What came of reading. wrong, hint: the one error of files that cannot be read; whole: whether all rows were."""

    whole: bool
    wrong: str = ""
    hint: str = ""
    format: str = ""
    why: str = ""
    unit: str = ""
    like: str = ""
    orphans: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    guesses: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[str] = KEYS
    notes: Sequence[str] = ()
    counts: Mapping[str, int] | None = None
    rejected: Sequence[Mapping[str, Any]] = ()
    lost: int = 0
    events: Sequence[Event] = ()
    raw: Sequence[Rows] = ()


def formats() -> list[tuple[str, str]]:
    """Names and titles of the known formats."""
    return [(one.name, one.title) for one in sources()]


def reading_of(given: Mapping[str, str]) -> Reading:
    """The reading that the fields of the wizard describe."""
    mapping = {key: given[f"map_{key}"] for key in KEYS if given.get(f"map_{key}", "").strip()}
    return Reading(mapping=mapping, strict=bool(given.get("strict")), **{k: given.get(k, "").strip() for k in TEXTS})


def fields_of(given: Mapping[str, str]) -> dict[str, str]:
    """The fields of the wizard, all of them, at most 200 letters each."""
    names = (*TEXTS, "name", "strict", *(f"map_{key}" for key in KEYS))
    return {name: given.get(name, "").replace("\0", "")[:200] for name in names}


def preview(upload: Upload, how: Reading) -> Preview:
    """The data set that the first lines make under this reading."""
    raw = _raw(upload, how)
    try:
        made = upload.read(how, sample=True)
    except HexarecError as error:
        return Preview(False, error.message, error.hint, raw=raw)
    report, data = made.report, made.dataset
    if report.format == "plain" and raw:
        raw = [_marked(raw[0], {**report.guesses, **how.mapping}), *raw[1:]]
    refused = list(report.rejects.head(REFUSED).iter_rows(named=True))
    counts = {"events": len(data.interactions), "users": data.n_users, "items": data.n_items}
    return Preview(
        False, format=report.format, why=report.why, unit=report.time_unit, like=report.like_rule,
        orphans=report.orphans, reasons=report.rejected, guesses=report.guesses, notes=report.notes, counts=counts,
        rejected=refused, lost=sum(report.rejected.values()), events=_events(data), raw=raw,
    )  # fmt: skip


def checked(upload: Upload, how: Reading, result: Mapping[str, Any], refused: Path) -> Preview:
    """The preview with what reading every row has found. refused: the file of refused rows."""
    rows = [_reject(row) for row in islice(_lines(refused), REFUSED)]
    counts = {name: int(result[name]) for name in ("events", "users", "items")}
    return replace(
        preview(upload, how), whole=True, counts=counts, lost=int(result["rejected"]), orphans=int(result["orphans"]),
        reasons=result["reasons"], notes=result["notes"], rejected=rows,
    )  # fmt: skip


def _lines(refused: Path) -> Iterator[dict[str, Any]]:
    with refused.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _reject(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the file under the names of the importer's table."""
    return {**row, "_file": row["file"], "_line": row["line"]}


def columns_of(upload: Upload) -> list[str]:
    """The columns of all files that are plain tables, each once."""
    return list(dict.fromkeys(name for one in _raw(upload, Reading()) for name in one.columns))


def _raw(upload: Upload, how: Reading) -> list[Rows]:
    made = []
    for path in sorted((upload.folder / "sample").iterdir()):
        try:
            frame = read_table(path, {}).frame.head(ROWS)
        except Exception:  # a file of another kind: the reading itself tells what is wrong
            continue
        rows = [["" if value is None else str(value)[:80] for value in row] for row in frame.iter_rows()]
        made.append(Rows(path.name, frame.columns, [""] * len(frame.columns), rows))
    return sorted(made, key=lambda one: one.file != how.events)


def _marked(rows: Rows, mapping: Mapping[str, str]) -> Rows:
    back = {theirs: ours for ours, theirs in mapping.items() if ":" not in ours}
    return Rows(rows.file, rows.columns, [back.get(name, "") for name in rows.columns], rows.rows)


def _events(data: Dataset) -> list[Event]:
    log = data.interactions
    return [
        Event(
            str(data.users.ids.ids[log.user[i]]), str(data.catalog.items.ids[log.item[i]]),
            str(data.catalog.titles[log.item[i]]), float(log.time[i]) if log.clock else None, KINDS[log.kind[i]],
            None if log.value[i] != log.value[i] else float(log.value[i]), bool(log.liked[i]),
        )
        for i in range(min(ROWS, len(log)))
    ]  # fmt: skip


def rejects_csv(refused: Path) -> str:
    """Every row of a file of refused rows: file, line, column, reason, value."""
    columns = ("file", "line", "column", "reason", "value")
    return comma_separated(columns, [tuple(row[name] for name in columns) for row in _lines(refused)])
