"""What an import did: rows in, rows out, every reason a row was refused, every guess that was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

NAMES = {"_file": "file", "_line": "line"}


@dataclass(frozen=True)
class ImportReport:
    """rows: event rows found. accepted: those taken in. rejected: count by reason. rejects: one row each (file, line,
    column, reason, value). orphans: items that only events name. repeats: exact duplicate rows of item and user tables.
    """

    path: str
    format: str
    why: str
    rows: int
    accepted: int
    rejected: Mapping[str, int]
    rejects: pl.DataFrame
    time_unit: str
    like_rule: str
    orphans: int = 0
    repeats: int = 0
    guesses: Mapping[str, str] = field(default_factory=dict)
    encodings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    licence: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rejected rows themselves, as JSON values."""
        names = ("path", "format", "why", "rows", "accepted", "time_unit", "like_rule", "orphans", "repeats", "licence")
        made: dict[str, Any] = {name: getattr(self, name) for name in names}
        made |= {"rejected": dict(self.rejected), "guesses": dict(self.guesses), "encodings": dict(self.encodings)}
        return made | {"notes": list(self.notes), "seconds": round(self.seconds, 3)}

    def write_rejects(self, path: Path) -> None:
        """Every refused row as a JSON line: file, line, column, reason, value."""
        self.rejects.rename(NAMES).write_ndjson(path)

    def sentences(self) -> list[str]:
        """The report in plain words, one fact per line."""
        lost = sum(self.rejected.values())
        out = [
            f"read as {self.format}: {self.why}",
            f"{self.accepted:,} of {self.rows:,} events taken in, times in {self.time_unit}, liked: {self.like_rule}",
        ]
        if lost:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.rejected.items())
            out.append(f"{lost:,} rows refused: {reasons}")
        if self.orphans:
            out.append(
                f"{self.orphans:,} items occur in events but not in the item table; they were added without a title"
            )
        if self.guesses:
            out.append("columns guessed: " + ", ".join(f"{ours}={theirs}" for ours, theirs in self.guesses.items()))
        return out + list(self.notes)
