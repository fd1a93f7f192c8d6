"""Experiments as they are kept: defined, started, stopped, shipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.core.interactions import KINDS
from hexarec.metrics.assignment import assign
from hexarec.metrics.trial import check_plan
from hexarec.serve.errors import ConflictError, MissingError
from hexarec.serve.rules import Rule
from hexarec.serve.store.errors import ChangedError
from hexarec.serve.store.rows import Versioned

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

KIND = "experiment"
GUARDS = {"seconds": "lower", "degraded": "lower", "hides": "lower", "distinct": "higher"}
"""What may be guarded, and which way is better: seconds an answer took, degraded answers, dislike/hide/skip events,
distinct items shown."""


def running(tenant: Tenant) -> list[Versioned]:
    """Experiments that take traffic now."""
    return [one for one in tenant.documents(KIND) if one.body.get("state") == "running"]


def of(tenant: Tenant, name: str) -> Versioned:
    """The experiment. Raises MissingError."""
    found = tenant.shelf.get(KIND, name)
    if found is None:
        raise MissingError(f"no experiment {name!r}")
    return found


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
