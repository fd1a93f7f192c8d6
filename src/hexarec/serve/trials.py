"""Experiments on live traffic: who gets which pipeline, two lists in one, and what came of it.

Assignment, interleaving and their analysis are in `metrics`; here they meet the store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import OptionError, rng
from hexarec.core.interactions import KINDS, NOT_LIKED
from hexarec.metrics.assignment import assign
from hexarec.metrics.interleaving import credit, interleave, preference
from hexarec.metrics.trial import Guardrail, Result, analyse, check_plan, guardrail
from hexarec.serve.errors import ConflictError, MissingError
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.given import Given
from hexarec.serve.rules import Rule
from hexarec.serve.store.errors import ChangedError
from hexarec.serve.store.rows import EventRow, ShownRow, Versioned

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

KIND = "experiment"
GUARDS = {"seconds": "lower", "degraded": "lower", "hides": "lower", "distinct": "higher"}
"""What may be guarded, and which way is better: seconds an answer took, degraded answers, dislike/hide/skip events,
distinct items shown."""


@dataclass(frozen=True)
class Choice:
    """What decided about a list: the pipeline, and the experiment's arm, or the other pipeline it is mixed with."""

    pipeline: str
    experiment: str | None = None
    arm: str | None = None
    other: str | None = None
    arms: tuple[str, str] | None = None
    teams: tuple[str, ...] = ()


def running(tenant: Tenant) -> list[Versioned]:
    """Experiments that take traffic now."""
    return [one for one in tenant.documents(KIND) if one.body.get("state") == "running"]


def chosen(tenant: Tenant, ask: Ask, pipeline: str | None) -> Choice:
    """The pipeline for an ask. A named pipeline takes part in no experiment, nor does a caller nobody can recognise."""
    unit = ask.user if ask.user is not None else ask.session
    if pipeline is None and unit is not None:
        for one in running(tenant):
            arms: Mapping[str, str] = one.body["arms"]
            if one.body["kind"] == "interleave":
                (left, first), (right, second) = list(arms.items())
                return Choice(first, one.name, None, second, (left, right))
            shares = one.body["shares"]
            names = list(arms)
            arm = assign(one.body["salt"], unit, names, [shares[name] for name in names], one.body.get("layer", ""))
            return Choice(arms[arm], one.name, arm)
    return Choice(tenant.recommender(pipeline).current.name)


def merged(choice: Choice, left: Given, right: Given, k: int, request_id: str) -> tuple[Given, Choice]:
    """The two lists as one by team draft, and whose each item is. Reasons and sources follow their items."""
    assert choice.arms is not None and choice.experiment is not None
    ids = list(dict.fromkeys([*left.items, *right.items]))
    place = {one: row for row, one in enumerate(ids)}
    a, b = ([place[one] for one in given.items] for given in (left, right))
    rows, teams = interleave(a, b, k, rng(0, "interleave", choice.experiment, request_id))
    where = [(left, left.items.index(ids[row])) if ids[row] in left.items else (right, right.items.index(ids[row]))
             for row in rows.tolist()]  # fmt: skip
    names = tuple("" if team < 0 else choice.arms[team] for team in teams.tolist())
    made = replace(
        left,
        items=tuple(ids[row] for row in rows.tolist()),
        scores=tuple(given.scores[i] for given, i in where),
        sources=tuple(given.sources[i] if given.sources else "" for given, i in where),
        reasons=tuple(given.reasons[i] if given.reasons else None for given, i in where),
        propensities=(None,) * len(where),  # of a list drawn from two, no single number is known
        degraded=(*left.degraded, *right.degraded),
        trace=(*left.trace, *right.trace),
        calls=left.calls + right.calls,
        tokens=left.tokens + right.tokens,
        dollars=left.dollars + right.dollars,
        cached=left.cached + right.cached,
        pipeline=f"{left.pipeline}+{right.pipeline}",
        policy=f"{left.policy}+{right.policy}",
    )
    return made, replace(choice, teams=names)


def created(tenant: Tenant, name: str, body: Mapping[str, Any], now: float) -> Versioned:
    """Store a new experiment, not yet running. Raises OptionError for what cannot run, ConflictError if it exists."""
    arms, kind = dict(body["arms"]), body.get("kind", "ab")
    if kind not in ("ab", "interleave"):
        raise OptionError(f"no kind {kind!r} of experiment", hint="ab or interleave")
    if len(arms) < 2 or (kind == "interleave" and len(arms) != 2):
        raise OptionError(f"{len(arms)} arms", hint="ab needs two or more, control first; interleave exactly two")
    for pipeline in arms.values():
        tenant.recommender(pipeline)
    shares = dict(body.get("shares") or dict.fromkeys(arms, 1.0 / len(arms)))
    if set(shares) != set(arms):
        raise OptionError("shares and arms name different arms")
    if kind == "ab":
        assign("", "", list(arms), [shares[arm] for arm in arms])  # raises for shares that cannot be
    for kind_name in body.get("kinds", ("click",)):
        if kind_name not in KINDS:
            raise OptionError(f"no kind {kind_name!r} of event", hint=", ".join(KINDS))
    for metric in body.get("guardrails", {}):
        if metric not in GUARDS:
            raise OptionError(f"no guardrail {metric!r}", hint=", ".join(GUARDS))
    tau, looks, users = (body.get(name) for name in ("tau", "looks", "users"))
    check_plan(tau, looks, users)
    if looks is not None and kind != "ab":
        raise OptionError("looks are planned for kind ab", hint="an interleaving is read as it is")
    rules = [str(Rule.parse(one)) for one in body.get("stop_if", ())]
    whole = {
        "kind": kind, "arms": arms, "shares": shares, "salt": body.get("salt") or f"{name}-{now:.0f}",
        "layer": body.get("layer", ""), "kinds": list(body.get("kinds", ("click",))),
        "window": float(body.get("window", 86_400.0)), "guardrails": dict(body.get("guardrails", {})),
        "tau": tau, "looks": looks, "users": users, "stop_if": rules,
        "state": "draft", "started": None, "ended": None, "result": None,
    }  # fmt: skip
    try:
        return tenant.shelf.put(KIND, name, whole, activate=True, first=True)
    except ChangedError:
        raise ConflictError(f"there is an experiment {name!r} already", hint="choose another name") from None


def moved(
    tenant: Tenant, name: str, state: str, now: float, ship: str | None = None, why: Mapping[str, Any] | None = None
) -> Versioned:
    """Start, stop or ship an experiment; the next version of it. Raises MissingError, ConflictError, OptionError.

    Shipping ends it with `ship` as the arm that everybody gets: its pipeline becomes the default. why: the rule that
    stops it, when a rule does.
    """
    found = of(tenant, name)
    allowed = {"running": ("draft",), "stopped": ("running",), "shipped": ("running", "stopped")}
    if found.body["state"] not in allowed.get(state, ()):
        raise ConflictError(f"experiment {name!r} is {found.body['state']}: it cannot become {state}")
    others = [one.name for one in tenant.shelf.names(KIND) if one.body["state"] == "running" and one.name != name]
    if state == "running" and others:  # a list comes from one pipeline, so the second would get no traffic
        raise ConflictError(f"another experiment runs: {others[0]!r}", hint="stop it first")
    body = dict(found.body) | {"state": state}
    if why is not None:
        body["stopped_by"] = dict(why)
    moment = "started" if state == "running" else "ended"
    body[moment] = body[moment] or now  # what was stopped before it is shipped ended when it was stopped
    if state == "shipped":
        if ship not in body["arms"]:
            raise OptionError(f"no arm {ship!r}", hint=", ".join(body["arms"]))
        tenant.recommender(body["arms"][ship])  # raises before anything is written
        body["shipped"] = ship
    sole = "state" if state == "running" else None
    made = tenant.shelf.put(KIND, name, body, activate=True, after=found, sole=sole)
    if state == "shipped":
        tenant.make_default(body["arms"][ship])
    tenant.refresh()
    return made


def of(tenant: Tenant, name: str) -> Versioned:
    """The experiment. Raises MissingError."""
    found = tenant.shelf.get(KIND, name)
    if found is None:
        raise MissingError(f"no experiment {name!r}")
    return found


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
