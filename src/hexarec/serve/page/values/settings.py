"""What the admin's page shows: keys with what they spent, sessions, the audit log, settings and their origin."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from hexarec.core import OptionError
from hexarec.serve.keys import living
from hexarec.serve.limits import day_of
from hexarec.serve.passes import SESSION, is_pass
from hexarec.serve.settings import Settings
from hexarec.serve.store.rows import AuditRow, KeyRow

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from hexarec.serve.store.shelf import Shelf

AUDIT_PAGE = 50
LIMITS = ("rate", "burst", "calls", "tokens", "dollars")
COUNTS = frozenset({"burst", "calls", "tokens"})


@dataclass(frozen=True)
class KeyLine:
    """One key. level: ok, or idle when it has ended; budgets: (name, spent today, most) of its daily limits."""

    key: KeyRow
    level: str
    state: str
    budgets: tuple[tuple[str, float, float], ...]


def key_lines(shelf: Shelf) -> list[KeyLine]:
    """The keys that somebody made, newest first."""
    today = day_of(time.time())
    return [_line(shelf, row, today) for row in reversed(shelf.keys()) if not is_pass(row)]


def _line(shelf: Shelf, row: KeyRow, today: str) -> KeyLine:
    spent = shelf.spent(row.id, today)
    budgets = tuple(
        (name, float(spent[name]), float(most))
        for name in ("calls", "tokens", "dollars")
        if (most := getattr(row, name)) is not None
    )
    good = living(row)
    state = "valid" if good else "revoked" if row.revoked is not None else "ended"
    return KeyLine(row, "ok" if good else "idle", state, budgets)


def sessions(shelf: Shelf) -> list[tuple[KeyRow, str]]:
    """Open sessions of the page, newest first, each with the name of its key; "" for one that came by a link."""
    rows = shelf.keys()
    names = {row.id: row.name for row in rows}
    open_ones = [row for row in rows if SESSION in row.scopes and living(row)]
    return [(row, names.get(row.name, row.name)) for row in reversed(open_ones)]


@dataclass(frozen=True)
class AuditPage:
    """Some links of the audit log, newest first. older: the number to go on from, 0 at the end."""

    rows: Sequence[AuditRow]
    whole: int
    older: int


def audit_page(shelf: Shelf, before: int = 0) -> AuditPage:
    """The links before a number; the newest without one."""
    whole = shelf.count("audit")
    end = min(before - 1, whole) if before else whole
    start = max(end - AUDIT_PAGE, 0)
    rows = shelf.audit_rows(start, end - start) if end > start else []
    return AuditPage(list(reversed(rows)), whole, start + 1 if start else 0)


@dataclass(frozen=True)
class Setting:
    """One setting of [serve]: its value as text, and whether a file, an option or the default says so."""

    name: str
    value: str
    origin: str


def setting_lines(settings: Settings) -> list[Setting]:
    """All settings, without the password in the address of the store."""
    values: dict[str, Any] = {one.name: getattr(settings, one.name) for one in fields(settings) if one.name != "origin"}
    if settings.store:
        values["store"] = make_url(settings.store).render_as_string(hide_password=True)
    return [Setting(name, _written(value), settings.origin.get(name, "default")) for name, value in values.items()]


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return (f"{value:g}" if isinstance(value, float) else str(value)) or "–"


def wanted_key(form: FormData) -> dict[str, Any]:
    """What a new key shall be, from the form. Raises OptionError that names the field."""
    name = str(form.get("name", "")).strip()
    if not 1 <= len(name) <= 100:
        raise OptionError("name: give one of 1 to 100 letters", hint="what the key is for")
    scopes = [str(one) for one in form.getlist("scope")]
    if not scopes:
        raise OptionError("scope: choose at least one")
    numbers: Mapping[str, float | None] = {one: _number(form, one) for one in ("days", *LIMITS)}
    return {"name": name, "scopes": scopes, **numbers}


def _number(form: FormData, name: str) -> float | None:
    given = str(form.get(name, "")).strip()
    if not given:
        return None
    try:
        value = int(given) if name in COUNTS else float(given)
    except ValueError:
        raise OptionError(f"{name}: {given[:40]!r} is no number") from None
    if not 0 < value <= (36_500 if name == "days" else 2**53):
        raise OptionError(f"{name}: {given[:40]} is not above 0, or too large")
    return value
