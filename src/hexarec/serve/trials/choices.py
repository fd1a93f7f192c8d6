"""Who gets which pipeline, and two lists in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hexarec.core import rng
from hexarec.metrics.assignment import assign
from hexarec.metrics.interleaving import interleave
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.given import Given
from hexarec.serve.trials.experiments import running

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


@dataclass(frozen=True)
class Choice:
    """What decided about a list: the pipeline, and the experiment's arm, or the other pipeline it is mixed with."""

    pipeline: str
    experiment: str | None = None
    arm: str | None = None
    other: str | None = None
    arms: tuple[str, str] | None = None
    teams: tuple[str, ...] = ()


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
