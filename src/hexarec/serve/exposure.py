"""What shown lists did: to whom exposure went, how popular it was, and how evenly groups of users were served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Exposures, strings
from hexarec.eval.simulation import percentiles
from hexarec.metrics.diversity import calibration
from hexarec.metrics.fairness import Gap, group_exposure, user_gap
from hexarec.metrics.reference import Reference, Tags, segment_means
from hexarec.metrics.runs import coverage, exposures_of, gini, novelty, popularity_lift
from hexarec.serve.policies import exposures_from

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

MOST = 5_000
"""Newest lists that an audit reads."""
DEEP = 1_000
"""No list is longer."""
GROUPS = 12
"""Groups of an attribute at most."""
POINTS = 24
LEAST = 5
"""Lists of a group below which it is shown but not compared."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """Popularity of what was shown over time: places in unix seconds, mean percentile of popularity, lists."""

    times: Sequence[float]
    percentile: Sequence[float | None]
    lists: Sequence[int]


@dataclass(frozen=True, eq=False)
class Audit:
    """What the newest lists did. measures: by name, NaN where nothing can be said. lorenz: shares of items and of
    exposure, least shown first. items: (group, share of exposure, share of the catalog) by `tag`. gaps: by measure,
    for groups of users by `by`. tags, bys: what may be chosen. whole: whether no older list was left out.
    """

    lists: int
    users: int
    since: float
    until: float
    whole: bool
    measures: dict[str, float]
    lorenz: tuple[Floats, Floats]
    tag: str
    items: Sequence[tuple[str, float, float]]
    by: str
    gaps: dict[str, Gap]
    tags: Sequence[str]
    bys: Sequence[str]


def popularity_of(tenant: Tenant, catalog: Catalog) -> NDArray[np.int64]:
    """Events per row of the catalog."""
    counts = tenant.popularity
    return np.array([counts.get(one, 0) for one in catalog.items.ids.tolist()], np.int64)


def drift(tenant: Tenant, *, days: float, now: float | None = None) -> Drift | None:
    """How popular the shown items were over the last days; None when nothing was shown.

    Percentile: share of items with fewer events, by today's counts, ties in the middle; 0.5 is an average item.
    """
    end = time.time() if now is None else now
    rows = tenant.shelf.shown_newest(end - 86_400 * days, end, MOST)
    if not rows or tenant.empty:
        return None
    place = percentiles(popularity_of(tenant, tenant.catalog))
    found = [tenant.catalog.rows(row.items) for row in rows]
    each = np.array([place[one[one >= 0]].mean() if (one >= 0).any() else np.nan for one in found])
    times = np.array([row.time for row in rows])
    edges = np.linspace(times.min(), max(times.max(), times.min() + 60.0), POINTS + 1)
    bins = np.clip(np.searchsorted(edges, times, "right") - 1, 0, POINTS - 1)
    middles, means, sizes = (edges[:-1] + edges[1:]) / 2, [], []
    for i in range(POINTS):
        mine = each[(bins == i) & ~np.isnan(each)]
        means.append(float(mine.mean()) if len(mine) else None)
        sizes.append(int((bins == i).sum()))
    return Drift(middles.tolist(), means, sizes)


def audited(tenant: Tenant, *, days: float, tag: str = "", by: str = "", now: float | None = None) -> Audit | None:
    """The audit of what was shown in the last days; None when nothing was. tag: item attribute; by: user attribute."""
    end = time.time() if now is None else now
    rows = tenant.shelf.shown_newest(end - 86_400 * days, end, MOST + 1)
    if not rows or tenant.empty:
        return None
    whole, rows = len(rows) <= MOST, rows[-MOST:]
    catalog = tenant.catalog
    exposures = exposures_from(tenant, rows, catalog, tenant.settings.get("like"), end, "")
    tags = tag_columns(catalog)
    tag = tag if tag in tags else next(iter(tags), "")
    made = Tags.of(catalog.attributes[tag]) if tag else None
    reference = Reference(exposures.queries, popularity_of(tenant, catalog), None, made)
    values = _values(exposures, reference)
    stated = _stated(tenant, [row.user for row in rows])
    by = by if by in stated else next(iter(stated), "")
    return Audit(
        len(rows), len({row.user or row.session for row in rows}), rows[0].time, rows[-1].time, whole,
        _measures(exposures, reference, values), _lorenz(exposures, reference), tag, _items(exposures, reference), by,
        {name: user_gap(one, stated[by], least=LEAST) for name, one in values.items()} if by else {}, tags,
        tuple(stated),
    )  # fmt: skip


def _values(exposures: Exposures, reference: Reference) -> dict[str, Floats]:
    """What can be said of each list: share of liked items, popularity lift, calibration."""
    shown = exposures.shown
    made = {"liked": segment_means(shown.offsets, shown.fields["gain"].astype(np.float64))}
    lift = popularity_lift(shown, reference, DEEP).values
    made |= {} if lift is None else {"popularity_lift": lift}
    if reference.tags is not None:
        values = calibration(shown, reference, DEEP).values
        made |= {} if values is None else {"calibration": values}
    return made


def _measures(exposures: Exposures, reference: Reference, values: dict[str, Floats]) -> dict[str, float]:
    whole = {name: one(exposures.shown, reference, DEEP).value for name, one in
             (("gini", gini), ("coverage", coverage), ("novelty", novelty))}  # fmt: skip
    return whole | {name: float(np.nanmean(one)) if (~np.isnan(one)).any() else float("nan")
                    for name, one in values.items()}  # fmt: skip


def _lorenz(exposures: Exposures, reference: Reference) -> tuple[Floats, Floats]:
    shown = np.sort(exposures_of(exposures.shown, reference, DEEP))
    total = np.concatenate([[0.0], np.cumsum(shown)]) / max(shown.sum(), 1.0)
    picks = np.unique(np.linspace(0, len(shown), 100).astype(np.int64))
    return picks / max(len(shown), 1), total[picks]


def _items(exposures: Exposures, reference: Reference) -> list[tuple[str, float, float]]:
    """The largest groups of items: share of exposure, and share of the catalog."""
    if reference.tags is None:
        return []
    made = group_exposure(exposures.shown, reference, DEEP)
    largest = np.argsort(-made.catalog, kind="stable")[:GROUPS]
    return [(made.names[i], float(made.share[i]), float(made.catalog[i])) for i in largest.tolist()]


def tag_columns(catalog: Catalog) -> list[str]:
    """Attributes in words by which items can be grouped: with few different values; those with the fewest first."""
    sizes: dict[str, int] = {}
    for name, column in catalog.attributes.items():
        if column.dtype != np.object_:
            continue
        flat = {part for value in column.tolist() if value is not None
                for part in (value if isinstance(value, tuple) else (value,))}  # fmt: skip
        if 2 <= len(flat) <= 200:
            sizes[name] = len(flat)
    return sorted(sizes, key=lambda name: (name != "genres", sizes[name]))


def _stated(tenant: Tenant, users: Sequence[str | None]) -> dict[str, NDArray[Any]]:
    """Stated attributes of the lists' users that make 2 to 12 groups."""
    known = tenant.shelf.users_of([one for one in dict.fromkeys(users) if one is not None])
    names = dict.fromkeys(name for one in known.values() for name in one.attributes)
    made = {}
    for name in names:
        column = [str(known[one].attributes.get(name, "")) if one in known else "" for one in users]
        if 2 <= len({one for one in column if one}) <= GROUPS:
            made[name] = strings(one or None for one in column)
    return made
