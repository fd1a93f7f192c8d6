"""Files of one record per line: JSON, or Python literals as some crawls were printed. Never evaluated as code."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core.errors import DataError
from hexarec.data.files import LONG, head, text_lines, text_of
from hexarec.data.tables import Reject, shortened

if TYPE_CHECKING:
    import polars as pl

PATIENCE = 100  # lines that may be wrong before a file without one record is given up
Row = tuple[int, dict[str, Any]]


def parsed(line: str) -> dict[str, Any] | None:
    """One line as a record: JSON first, then a Python literal (`{u'id': True}`); None when it is neither."""
    try:
        made = json.loads(line)
    except (ValueError, RecursionError):
        try:
            made = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    return made if isinstance(made, dict) else None


def records(path: Path, rejects: list[Reject]) -> Iterator[Row]:
    """Numbered records of a file; a line that is no record goes to `rejects`. A JSON array of objects is read too."""
    if head(path).first.lstrip().startswith("["):
        yield from _array(path, rejects)
        return
    found = 0
    for number, line in text_lines(path):
        made = parsed(line)
        found += made is not None
        if number == PATIENCE and not found:
            raise DataError(
                f"none of the first {PATIENCE} lines is a record",
                file=path.name,
                hint="one JSON object per line is expected",
            )
        if made is None:
            rejects.append(Reject(path.name, number, "", "the line is not a record", shortened(line)))
        else:
            yield number, made


def _array(path: Path, rejects: list[Reject]) -> Iterator[Row]:
    text, _ = text_of(path)
    try:
        made = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not valid JSON: {error}",
            file=path.name,
            line=getattr(error, "lineno", None),
            hint="JSON lines are read too",
        ) from None
    for number, one in enumerate(made, 1):
        if isinstance(one, dict):
            yield number, one
        else:
            rejects.append(Reject(path.name, number, "", "the element is not an object", shortened(one)))


def first_record(path: Path) -> dict[str, Any]:
    """The first record of a file, or of the array it holds; {} when there is none at the start."""
    top = head(path)
    if top.first.lstrip().startswith("["):
        text = "\n".join(top.lines)
        try:
            made, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
        except (ValueError, RecursionError):
            return {}
        return made if isinstance(made, dict) else {}
    if not top.first.lstrip().startswith("{"):
        return {}
    first = head(path, 1, LONG).first
    return parsed(first) or {}


def words(value: Any) -> str | None:
    """A JSON value as text that can be stored: null stays null, lone surrogates become "?"."""
    if value is None:
        return None
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, list | tuple):
        text = "\n".join(one for one in (words(v) for v in value) if one)
    elif isinstance(value, Mapping):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return text.encode("utf-8", "replace").decode("utf-8")


def phrases(value: Any) -> list[str] | None:
    """A list of strings (nested lists are flattened, in order, without repeats); None when there is none."""
    found = _flat(value)
    return found if found is None else list(dict.fromkeys(found))


def _flat(value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        return [words(value) or ""]
    return [one for part in value for one in (_flat(part) or []) if one]


def frame_of(rows: Sequence[Mapping[str, Any]], lines: Iterable[int], file: str) -> pl.DataFrame:
    """Records as a frame: lists become flat lists of text with their repeats, truth values stay, all else is text."""
    import polars as pl

    names = dict.fromkeys(name for row in rows for name in row)
    made = {words(name) or "": _column(words(name) or "", [row.get(name) for row in rows]) for name in names}
    made["_file"] = pl.Series("_file", [file] * len(rows), dtype=pl.String)
    made["_line"] = pl.Series("_line", list(lines), dtype=pl.Int64)
    return pl.DataFrame(made)


def _column(name: str, values: list[Any]) -> pl.Series:
    import polars as pl

    present = [v for v in values if v is not None]
    if present and all(isinstance(v, list | tuple) for v in present):
        return pl.Series(name, [_flat(v) for v in values], dtype=pl.List(pl.String))
    if present and all(isinstance(v, bool) for v in present):
        return pl.Series(name, values, dtype=pl.Boolean)
    return pl.Series(name, [words(v) for v in values], dtype=pl.String)
