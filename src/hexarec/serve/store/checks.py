"""What may enter the store: ids, texts, numbers and JSON that SQLite and PostgreSQL keep alike."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from hexarec.core.errors import DataError, OptionError

LONGEST = 512
"""Bytes of the longest id."""
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_GREATEST = 2**63 - 1


def checked_name(name: str, what: str) -> str:
    """The name of a tenant or of a kind of document. Raises OptionError unless it is [a-z0-9_-]{1,64}."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(f"{what} {str(name)[:80]!r} is no name", hint="use 1 to 64 of a-z, 0-9, _ and -")
    return name


def checked_text(text: str, field: str) -> str:
    """The text itself. Raises DataError for one that a database cannot keep: a NUL, half a surrogate pair, no text."""
    if not isinstance(text, str):
        raise DataError(f"{str(text)[:80]!r} is no text", field=field)
    if "\0" in text:
        raise DataError("holds a NUL character", field=field, hint="remove U+0000, no database keeps it in a text")
    if not text.isascii():
        _encoded(text, field)
    return text


def _encoded(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise DataError("holds half a surrogate pair", field=field, hint="send valid Unicode") from None


def checked_id(one: str, field: str) -> str:
    """The id itself. Raises DataError for an empty one, one over 512 bytes, or one no database can keep."""
    checked_text(one, field)
    if not one:
        raise DataError("is empty", field=field, hint="give an id of at least one character")
    if len(one) * 4 > LONGEST and len(one.encode()) > LONGEST:
        raise DataError(f"is longer than {LONGEST} bytes", field=field, hint="send a hash of it instead")
    return one


def checked_user(one: str, field: str = "user") -> str:
    """The id of a user: as other ids, and not one that reads as an anonymous session."""
    if checked_id(one, field).startswith("session:"):
        raise DataError("a user's id may not begin with 'session:'", field=field, hint="send `session` instead")
    return one


def checked_number(value: float, field: str) -> float:
    """The finite number as a float. Raises DataError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{str(value)[:80]!r} is no finite number", field=field)
    return float(value)


def checked_count(value: int, field: str) -> int:
    """The whole number, from 0 to what a database keeps. Raises DataError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _GREATEST:
        raise DataError(f"{str(value)[:80]!r} is no whole number of at least 0", field=field)
    return value


def as_json(value: Any, field: str) -> str:
    """The value as JSON text that reads back equal (a tuple as a list). Raises DataError for what JSON cannot say."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be written as JSON: {error}", field=field) from None
    if not text.isascii():
        _encoded(text, field)
    return text


def plain(value: Any) -> Any:
    """The value as JSON has it: numbers of arrays as numbers, None for those that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__}")


def from_json(text: str | None) -> Any:
    """The value of a JSON column, None for none."""
    return None if text is None else json.loads(text)
