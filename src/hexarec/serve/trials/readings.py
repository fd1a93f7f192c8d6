"""What came of an experiment: users, effects with intervals, guardrails, preferences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core.interactions import NOT_LIKED
from hexarec.metrics.interleaving import credit, preference
from hexarec.metrics.trial import Guardrail, Result, analyse, guardrail
from hexarec.serve.store.rows import EventRow, ShownRow
from hexarec.serve.trials.experiments import GUARDS, of

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def read(tenant: Tenant, name: str, now: float) -> dict[str, Any]:
    """What an experiment says so far: users, effects with intervals, guardrails; safe to look at any time with tau."""
    body = of(tenant, name).body
    about = {key: body[key] for key in ("state", "stopped_by") if key in body}
    if body["started"] is None:
        return {**about, "units": {}, "effects": {}, "guardrails": {}}
    shown = tenant.shelf.shown_between(body["started"], body["ended"] or now, experiment=name)
    came = outcomes(tenant, [row.request for row in shown])
    return {**about, **_reading(tenant, body, shown, came)}


def course(tenant: Tenant, name: str, now: float, points: int = 16) -> list[tuple[float, dict[str, Any]]]:
    """(moment, reading) at evenly spaced moments since the start: each reads what was known then."""
    body = of(tenant, name).body
    if body["started"] is None:
        return []
    end = body["ended"] or now
    shown = tenant.shelf.shown_between(body["started"], end, experiment=name)
    came = outcomes(tenant, [row.request for row in shown])
    made = []
    for step in range(1, points + 1) if shown else ():
        moment = end if step == points else body["started"] + (end - body["started"]) * step / points
        then = [row for row in shown if row.time < moment]
        known = {request: [one for one in events if one.time < moment] for request, events in came.items()}
        if then:
            made.append((moment, _reading(tenant, body, then, known)))
    return made


def _reading(
    tenant: Tenant, body: Mapping[str, Any], shown: Sequence[ShownRow], came: Mapping[str, list[EventRow]]
) -> dict[str, Any]:
    if body["kind"] == "interleave":
        return _preference(body, shown, came)
    return _effects(tenant, body, shown, came)


def outcomes(tenant: Tenant, requests: Sequence[str]) -> dict[str, list[EventRow]]:
    """The events that came of each request, in the order they were stored."""
    made: dict[str, list[EventRow]] = defaultdict(list)
    for start in range(0, len(requests), 500):
        for event in tenant.shelf.outcomes(requests[start : start + 500]):
            if event.request is not None:
                made[event.request].append(event)
    return made


def _unit(row: ShownRow) -> str:
    return row.user if row.user is not None else f"session:{row.session}"


def _effects(
    tenant: Tenant, body: Mapping[str, Any], shown: Sequence[ShownRow], outcomes: Mapping[str, list[EventRow]]
) -> dict[str, Any]:
    """Per unit: wanted events within the window after a list, over all lists it saw; per arm against control."""
    arms = list(body["arms"])
    arm_of: dict[str, int] = {}
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for row in sorted(shown, key=lambda one: one.time):
        if row.arm not in arms:
            continue
        unit = _unit(row)
        arm_of.setdefault(unit, arms.index(row.arm))
        told = values[unit]
        told["lists"] += 1
        told["seconds"] += row.seconds or 0.0  # type: ignore[assignment]
        told["degraded"] += row.degraded
        told["distinct"] += len(set(row.items))
        for event in outcomes.get(row.request, ()):
            if event.time <= row.time + body["window"]:
                told["wanted"] += event.kind in body["kinds"]
                told["hides"] += event.kind in NOT_LIKED
    units = list(arm_of)
    group = np.array([arm_of[unit] for unit in units], np.int64)
    shares = [body["shares"][arm] for arm in arms]
    columns = {name: np.array([float(values[unit][name]) for unit in units]) for name in ("wanted", "lists", *GUARDS)}
    sequential = {"tau": body["tau"], "looks": body.get("looks"), "planned": body.get("users")}
    before = None if body["tau"] else _before(tenant, body, units)
    made: dict[str, Any] = {"units": {arm: int((group == i).sum()) for i, arm in enumerate(arms)}, "effects": {},
                            "guardrails": {}}  # fmt: skip
    for i, arm in enumerate(arms[1:], 1):
        common: dict[str, Any] = {"shares": shares, "treatment": i, **sequential}
        made["effects"][arm] = _told(analyse(columns["wanted"], group, before=before, **common))
        made["guardrails"][arm] = {
            metric: _guarded(metric, margin, columns, group, common) for metric, margin in body["guardrails"].items()
        }
    return made


def _before(tenant: Tenant, body: Mapping[str, Any], units: Sequence[str]) -> np.ndarray[Any, Any] | None:
    """Wanted events of each user before the start, NaN for those without a history: the CUPED covariate."""
    made = np.full(len(units), np.nan)
    place = {unit: i for i, unit in enumerate(units)}
    for start in range(0, len(units), 500):
        part = units[start : start + 500]
        users = [one for one in part if not one.startswith("session:")]
        for unit, past in tenant.shelf.histories(users, before=body["started"]).items():
            made[place[unit]] = sum(event.kind in body["kinds"] for event in past)
    return None if np.isnan(made).all() else made


def _guarded(
    metric: str, margin: float, columns: Mapping[str, Any], group: Any, common: Mapping[str, Any]
) -> dict[str, Any]:
    """A guardrail: the mean of a list, users clustered; one-sided at 5 %."""
    result = analyse(columns[metric], group, over=columns["lists"], level=0.90, **common)
    found: Guardrail = guardrail(result, margin, better=GUARDS[metric])  # type: ignore[arg-type]
    return {key: _number(value) for key, value in found._asdict().items()} | {"margin": margin}


def _preference(
    body: Mapping[str, Any], shown: Sequence[ShownRow], outcomes: Mapping[str, list[EventRow]]
) -> dict[str, Any]:
    """How much more often the first arm's items are chosen, in lists drawn from both."""
    left, right = list(body["arms"])
    ours, theirs, units = [], [], []
    for row in shown:
        if not row.teams:
            continue
        clicked = {
            event.item for event in outcomes.get(row.request, ())
            if event.kind in body["kinds"] and event.time <= row.time + body["window"]
        }  # fmt: skip
        team = np.array([{left: 0, right: 1}.get(one, -1) for one in row.teams], np.int8)
        a, b = credit(team, [item in clicked for item in row.items])
        ours.append(a)
        theirs.append(b)
        units.append(_unit(row))
    result = preference(ours, theirs, units)
    ahead = Counter(left if a > b else right if b > a else "" for a, b in zip(ours, theirs, strict=True))
    wins = {left: ahead[left], right: ahead[right], "ties": ahead[""]}
    return {"preferred": left, "preference": {k: _number(v) for k, v in result._asdict().items()}, "wins": wins}


def _told(result: Result) -> dict[str, Any]:
    return {key: _number(value) for key, value in result._asdict().items()}


def _number(value: Any) -> Any:
    """NaN, which JSON lacks, as None."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
