"""The form of a new experiment: what its fields say, and at which field something is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.datastructures import FormData

from hexarec.core import KINDS, OptionError
from hexarec.core.errors import HexarecError
from hexarec.metrics.trial import check_plan
from hexarec.serve import trials
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.rules import Rule

T = TypeVar("T")
USUAL: dict[str, tuple[str, ...]] = {
    "kind": ("ab",), "share": ("50",), "event": ("click",), "window": ("24",), "stop": ("once",),
}  # fmt: skip
STOPS = ("once", "always", "looks")
"""When the effect may be looked at: once at a time fixed beforehand, always (tau), at planned looks."""
FIELDS = ("name", "kind", "control", "variant", "share", "event", "window", "stop", "tau", "looks", "users", "stop_if",
          *(f"guard_{one}" for one in trials.GUARDS))  # fmt: skip
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MOST_RULES = 20


@dataclass
class Draft:
    """A form that was sent. given: texts by field; wrong: message and hint by field, "" for the whole."""

    given: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(USUAL))
    wrong: dict[str, tuple[str, str]] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """The text of a field, without blanks around it."""
        return next(iter(self.given.get(name, ())), "").strip()

    def read(self, name: str, work: Callable[[], T], otherwise: T) -> T:
        """What `work` makes of a field; where it is wrong that is noted."""
        try:
            return work()
        except HexarecError as error:
            self.wrong.setdefault(name, (error.message, error.hint))
            return otherwise

    def number(self, name: str, least: float, most: float) -> float | None:
        """The number of a field, None for an empty one."""
        text = self.one(name)
        return self.read(name, lambda: _number(text, least, most), None) if text else None

    def count(self, name: str, most: int) -> int | None:
        """The same, a whole number from 1 on."""
        value = self.number(name, 1, most)
        if value is not None and value != int(value):
            self.wrong[name] = (f"{value:g} is no whole number", "")
        return None if value is None else int(value)


def _number(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(f"{text[:40]!r} is no number", hint="write it in digits, like 20 or 0.5")
    if not least <= value <= most:
        raise OptionError(f"{value:g} is not between {least:g} and {most:g}")
    return value


def draft_of(form: FormData) -> Draft:
    """The fields of a form, each at most 2,000 letters."""
    given = {name: tuple(str(one)[:2_000] for one in form.getlist(name)) for name in FIELDS}
    return Draft(given)


def body_of(draft: Draft, tenant: Tenant) -> dict[str, Any]:
    """The experiment that the fields describe; what is wrong is noted in the draft."""
    if not _NAME.fullmatch(draft.one("name")):
        draft.wrong["name"] = ("the name is empty or not made of a-z, 0-9, _ and -", "at most 64 of them")
    arms = {arm: draft.read(arm, partial(_pipeline, tenant, draft.one(arm)), "")
            for arm in ("control", "variant")}  # fmt: skip
    if arms["control"] and arms["control"] == arms["variant"]:
        draft.wrong["variant"] = ("both arms are the same pipeline", "choose another one")
    share = draft.number("share", 0, 50)
    events = [one for one in draft.given["event"] if one in KINDS]
    if not events:
        draft.wrong["event"] = ("no event is chosen", "nothing would count")
    hours = draft.number("window", 0.01, 24_000)
    guards = {one: draft.number(f"guard_{one}", 0, 1e6) for one in trials.GUARDS}
    rules: list[str] = draft.read("stop_if", lambda: _rules(draft.one("stop_if")), [])
    return {
        "kind": "interleave" if draft.one("kind") == "interleave" else "ab", "arms": arms,
        "shares": None if share is None else {"control": 1.0 - share / 100, "variant": share / 100},
        "kinds": events, "window": 3_600.0 * (24.0 if hours is None else hours),
        "guardrails": {name: margin for name, margin in guards.items() if margin is not None},
        "stop_if": rules, **_plan(draft),
    }  # fmt: skip


def _pipeline(tenant: Tenant, name: str) -> str:
    if not name:
        raise OptionError("no pipeline is chosen")
    return tenant.recommender(name).current.name


def _rules(text: str) -> list[str]:
    lines = [one.strip() for one in text.splitlines() if one.strip()]
    if len(lines) > MOST_RULES:
        raise OptionError(f"{len(lines)} rules, at most {MOST_RULES} are taken")
    return [str(Rule.parse(one)) for one in lines]


def _plan(draft: Draft) -> dict[str, Any]:
    """tau, looks and users: those of the way that is chosen to look at the effect."""
    stop = draft.one("stop")
    tau = draft.number("tau", 1e-9, 1e6) if stop == "always" else None
    looks = draft.count("looks", 100) if stop == "looks" else None
    users = draft.count("users", 10**9) if stop == "looks" else None
    needed: dict[str, float | None] = {}
    if stop in ("always", "looks"):
        needed = {"tau": tau} if stop == "always" else {"looks": looks, "users": users}
    for name, value in needed.items():
        if value is None:
            draft.wrong.setdefault(name, ("a number is missing here", "the way of reading that is chosen needs it"))
    if not {"tau", "looks", "users"} & set(draft.wrong):
        draft.read("looks", lambda: check_plan(tau, looks, users), None)
        if stop == "looks" and draft.one("kind") == "interleave":
            draft.wrong["stop"] = ("looks are planned for kind ab", "an interleaving is read as it is")
    return {"tau": tau, "looks": looks, "users": users}
