"""Shown lists and what came of them, as exposures: for learning, off-policy estimates and audits."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hexarec.core import Catalog, Exposures, Lists
from hexarec.serve.live.asks import Ask, liked, past_of, queries_of
from hexarec.serve.live.tenant import HISTORY
from hexarec.serve.store.rows import EventRow, ShownRow

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def outcomes_of(tenant: Tenant, pipeline: str, *, days: float, now: float | None = None) -> Exposures | None:
    """What a pipeline showed in the last days: gain 1 for an item that was then liked, 0 for the others.

    Histories end at the moment of the list, and are as long as they were for it. None when nothing was shown.
    `propensity` is NaN where it is not known.
    """
    end = time.time() if now is None else now
    shown = tenant.shelf.shown_between(end - 86_400 * days, end, pipeline=pipeline)
    if not shown:
        return None
    generation = tenant.recommender(pipeline).current
    return exposures_from(tenant, shown, generation.catalog, generation.like, end, pipeline)


def exposures_from(
    tenant: Tenant, shown: Sequence[ShownRow], catalog: Catalog, like: float | None, end: float, policy: str
) -> Exposures:
    """Shown lists with what came of them until `end`; like: the smallest liked rating."""
    came: dict[str, list[EventRow]] = defaultdict(list)
    for start in range(0, len(shown), 500):
        for event in tenant.shelf.outcomes([row.request for row in shown[start : start + 500]]):
            came[event.request or ""].append(event)
    asks = [Ask(user=row.user, session=row.session) for row in shown]
    pasts, items, gains, propensities = _pasts(tenant, asks, [row.time for row in shown], end), [], [], []
    for row in shown:
        wanted = {event.item for event in came[row.request] if liked(event, like)}
        rows = catalog.rows(row.items)
        known = [place for place, one in enumerate(rows.tolist()) if one >= 0]
        items.append([int(rows[place]) for place in known])
        gains += [float(row.items[place] in wanted) for place in known]
        propensities += [np.nan if row.propensities[place] is None else row.propensities[place] for place in known]
    queries = queries_of(catalog, asks, pasts, end, like)
    queries = replace(queries, now=np.array([row.time for row in shown], np.float64))
    lists = Lists.of(catalog.key, items)
    fields = {"gain": np.array(gains, np.float32), "propensity": np.array(propensities, np.float32),
              "slot": np.concatenate([np.arange(len(one)) for one in items]).astype(np.int32)}  # fmt: skip
    made = Lists(lists.key, lists.offsets, lists.items, lists.scores, fields)
    return Exposures(queries, made, policy=policy)


def _pasts(tenant: Tenant, asks: Sequence[Ask], times: Sequence[float], end: float) -> list[list[EventRow]]:
    """What was known of each asker at the moment of their list: the newest events before it, oldest first.

    Who has more events than a question may know is looked up for each list: the newest of today may all be later.
    """
    users = list(dict.fromkeys(ask.user for ask in asks if ask.user is not None))
    visits = list(dict.fromkeys(ask.session for ask in asks if ask.session is not None))
    shelf = tenant.shelf
    stored = shelf.histories(users, visits, HISTORY, before=end)
    cut = {who for who, events in stored.items() if len(events) >= HISTORY}
    made = []
    for ask, moment in zip(asks, times, strict=True):
        known = {who: [one for one in stored.get(who, ()) if one.time < moment] for who in ask.names}
        if cut & set(known):
            who, visit = ([one] if one is not None else [] for one in (ask.user, ask.session))
            known = shelf.histories(who, visit, HISTORY, before=moment)
        made.append(past_of(ask, known))
    return made
