"""Experiments as the page shows them: state, assignment, effects over time, guardrails, wins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hexarec.metrics.assignment import ALARM, sample_ratio
from hexarec.serve import trials
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.figures import Axis, Figure, Series
from hexarec.serve.store.rows import Versioned

T = Callable[..., str]
LEVELS = {"running": "ok", "draft": "idle", "stopped": "warn", "shipped": "ok"}
VERDICTS = {"held": "ok", "broken": "bad", "open": "idle", "unread": "warn"}


@dataclass(frozen=True)
class Trial:
    """One experiment as one line."""

    name: str
    body: Mapping[str, Any]
    level: str


@dataclass(frozen=True)
class Told:
    """One experiment with what it says. ratio: p that the arms got the users they should; alarm: whether it is too
    small to read anything; arms: (arm, pipeline, share, users)."""

    trial: Trial
    reading: Mapping[str, Any]
    arms: Sequence[tuple[str, str, float, int | None]]
    ratio: float | None
    alarm: bool
    verdicts: Mapping[str, str]


def trial_of(found: Versioned) -> Trial:
    """An experiment as one line."""
    return Trial(found.name, found.body, LEVELS.get(str(found.body["state"]), "idle"))


def listed(tenant: Tenant) -> list[Trial]:
    """All experiments: running ones first, then the newest."""
    found = sorted(tenant.shelf.names(trials.KIND), key=lambda one: (one.body["state"] != "running", -one.created))
    return [trial_of(one) for one in found]


def told(tenant: Tenant, name: str) -> Told:
    """An experiment and what it says now. Raises MissingError."""
    found = trials.of(tenant, name)
    body, reading = found.body, trials.read(tenant, name, time.time())
    users = reading.get("units", {})
    arms = [(arm, pipeline, body["shares"][arm], users.get(arm)) for arm, pipeline in body["arms"].items()]
    counts = [users.get(arm, 0) for arm in body["arms"]]
    ratio = sample_ratio(counts, [body["shares"][arm] for arm in body["arms"]]) if sum(counts) else None
    return Told(trial_of(found), reading, arms, ratio, ratio is not None and ratio < ALARM, VERDICTS)


def course_figure(tenant: Tenant, name: str, t: T) -> Figure:
    """The effect of each arm, or the preference for the first, with its interval over time."""
    body = trials.of(tenant, name).body
    looks = trials.course(tenant, name, time.time())
    times = [moment for moment, _ in looks]
    if body["kind"] == "interleave":
        read = [("preference", [reading["preference"] for _, reading in looks], "value")]
        names = {"preference": t("ab.preference_for", arm=next(iter(body["arms"])))}
    else:
        others = list(body["arms"])[1:]
        read = [(arm, [reading["effects"][arm] for _, reading in looks], "effect") for arm in others]
        names = dict(zip(others, others, strict=True))
    series = tuple(
        Series(names[arm], [one[what] for one in found], [one["low"] for one in found], [one["high"] for one in found])
        for arm, found, what in read
    )
    zero = Series(t("ab.no_effect"), [0.0] * len(times))
    unit = t("ab.effect_axis", kinds=", ".join(body["kinds"])) if body["kind"] == "ab" else t("ab.preference_axis")
    return Figure("course", t("ab.course"), Axis(t("live.time"), time=True), Axis(unit), times, (*series, zero))
