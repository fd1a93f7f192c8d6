"""What a reader of one foreign format is: a name, a guess how well it fits, and a way to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hexarec.core.errors import DataError
from hexarec.data.tables import RawTables

TABLES = ("csv", "tsv", "txt", "jsonl", "ndjson", "json", "parquet")
"""Suffixes of plain tables."""


@dataclass(frozen=True)
class Options:
    """What the caller said beside the path. items, users: files of their own for these tables."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    items: Path | None = None
    users: Path | None = None

    def refuse_mapping(self, name: str) -> None:
        """Raise DataError when a mapping was given to a format whose columns are fixed."""
        if self.mapping:
            raise DataError(
                f"the format {name} has fixed columns, so a mapping has no meaning",
                field=next(iter(self.mapping)),
                hint="leave the mapping out, or say format='plain'",
            )


@dataclass(frozen=True)
class Fit:
    """How sure a reader is that a path is its own, from 0 to 1, and why."""

    confidence: float
    reason: str = ""


NO = Fit(0.0)


@dataclass(frozen=True)
class Source:
    """A reader. detect: path -> Fit, cheap, reads at most the first lines. read: (path, options) -> RawTables.

    fallback: the encoding of files of this format that are not UTF-8; without one they are refused.
    """

    name: str
    title: str
    detect: Callable[[Path], Fit]
    read: Callable[[Path, Options], RawTables]
    licence: str = ""
    fallback: str = ""


def numbers(value: Any) -> str | None:
    """A number out of a record as text, null for anything that is none (a list, a word)."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict | tuple):
        return None
    return str(value)
