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
from hexarec.serve.store.rows import EventRow, ShownRow

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def outcomes_of(tenant: Tenant, pipeline: str, *, days: float, now: float | None = None) -> Exposures | None:
    """What a pipeline showed in the last days: gain 1 for an item that was then liked, 0 for the others.

    Histories end at the moment of the list. None when nothing was shown. `propensity` is NaN where it is not known.
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
    asks, pasts, items, gains, propensities = [], [], [], [], []
    users = list(dict.fromkeys(row.user for row in shown if row.user is not None))
    visits = list(dict.fromkeys(row.session for row in shown if row.session is not None))
    stored = tenant.shelf.histories(users, visits, before=end)
    for row in shown:
        ask = Ask(user=row.user, session=row.session)
        past = [event for event in past_of(ask, stored) if event.time < row.time]
        wanted = {event.item for event in came[row.request] if liked(event, like)}
        rows = catalog.rows(row.items)
        known = [place for place, one in enumerate(rows.tolist()) if one >= 0]
        asks.append(ask)
        pasts.append(past)
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
