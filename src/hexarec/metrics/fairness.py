"""Who gets the exposure, and who gets the quality: item groups and user groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.catalog import Column
from hexarec.core.errors import DataError
from hexarec.core.lists import Lists
from hexarec.metrics.names import Measured, mean
from hexarec.metrics.reference import Floats, Reference, first


@dataclass(frozen=True, eq=False)
class GroupExposure:
    """Exposure by item group.

    share: (g,) mean share of a list's exposure, sums to 1. catalog: (g,) the group's share of the living tagged
    catalog. ratio: largest / smallest of share / catalog (exposure per item), at least 1, 1 = even, inf when a group
    is never shown, NaN when nothing is. values: (g, n) share in each list, NaN for a list without tagged items.
    """

    names: tuple[str, ...]
    share: Floats
    catalog: Floats
    ratio: float
    values: Floats


def group_exposure(lists: Lists, reference: Reference, k: int) -> GroupExposure:
    """Exposure@k of the groups that `reference.tags` makes: rank r (from 1) exposes by 1 / log2(1 + r).

    An item of several groups counts for each in equal parts; items of none are left out; every list counts once.
    Source: Singh and Joachims 2018 (arXiv 1802.07281).
    """
    from scipy.sparse import csr_array

    reference.check(lists)
    share = reference.need_tags().shares()
    top = first(lists, k)
    known = top.items < share.shape[0]
    weight = 1.0 / np.log2(ragged.positions(top.offsets)[known] + 2.0)
    cells = (weight, top.items[known], ragged.kept(top.offsets, known))
    mass = (csr_array(cells, shape=(len(top), share.shape[0])) @ share).toarray()
    total = mass.sum(axis=1, keepdims=True)
    values = np.where(total > 0, mass / np.where(total > 0, total, 1.0), np.nan)
    alive = reference.queries.catalog.alive[: share.shape[0]].astype(np.float64)
    alive = np.concatenate([alive, np.zeros(share.shape[0] - len(alive))])
    stock = share.T @ alive
    got = np.array([mean(column) for column in values.T])
    part = stock / stock.sum() if stock.sum() > 0 else np.full(len(stock), np.nan)
    return GroupExposure(reference.need_tags().names, got, part, _ratio(got, part), values.T)


def _ratio(share: Floats, catalog: Floats) -> float:
    there = catalog > 0
    each = share[there] / catalog[there]
    if not len(each) or np.isnan(each).any():
        return float("nan")
    return float(each.max() / each.min()) if each.min() > 0 else float("inf")


def group_shifts(lists: Lists, reference: Reference, k: int) -> Floats:
    """Each group's share of the places of all top k less its share of all liked events of the histories, (g,).

    Groups are what `reference.tags` makes; an item of several counts for each in equal parts, one of none is left out.
    All NaN where one side has no tagged item. Source: IFairLRS (Jiang et al. 2024, arXiv 2402.15215).
    """
    reference.check(lists)
    share, past = reference.need_tags().shares(), reference.queries.history
    sides = []
    for items in (first(lists, k).items, past.item[past.liked]):
        mass = share.T @ np.bincount(items, minlength=share.shape[0])[: share.shape[0]]
        sides.append(mass / mass.sum() if mass.sum() > 0 else np.full(share.shape[1], np.nan))
    return np.asarray(sides[0] - sides[1])


def mgu(lists: Lists, reference: Reference, k: int) -> Measured:
    """MGU@k = mean over groups of |share of places - share of liked history|; in [0, 1], lower is fairer."""
    shifts = np.abs(group_shifts(lists, reference, k))
    return Measured(float(shifts.mean()) if len(shifts) else float("nan"))


def dgu(lists: Lists, reference: Reference, k: int) -> Measured:
    """DGU@k = largest less smallest (share of places - share of liked history) of a group; in [0, 2], lower is fairer.

    The group that is favoured most less the one that is slighted most.
    """
    shifts = group_shifts(lists, reference, k)
    return Measured(float(np.ptp(shifts)) if len(shifts) else float("nan"))


@dataclass(frozen=True, eq=False)
class Gap:
    """A metric by user group: means (g,), counted (g,) lists that apply, gap = largest mean - smallest mean."""

    names: tuple[str, ...]
    means: Floats
    counted: NDArray[np.int64]
    gap: float

    def worst(self) -> str:
        """The group with the smallest mean, "" when there is none."""
        return self.names[int(np.nanargmin(self.means))] if np.isfinite(self.means).any() else ""


def user_gap(values: Floats, groups: Column, *, least: int = 1) -> Gap:
    """The gap of a metric between groups of users by a stated attribute; at least 0, lower is fairer.

    values: (n,) per list, NaN = not applicable. groups: (n,) the attribute of each list's user; None, NaN and "" were
    not stated and are left out. Groups with fewer than `least` lists that apply are shown but do not enter the gap,
    which is NaN with fewer than two groups.
    """
    if len(values) != len(groups):
        raise DataError(f"{len(groups)} groups for {len(values)} values", field="groups")
    stated = np.array([one is not None and one == one and one != "" for one in groups.tolist()], bool)
    names, codes = np.unique(groups[stated].astype(str), return_inverse=True)
    own = values[stated]
    there = ~np.isnan(own)
    counted = np.bincount(codes[there], minlength=len(names))
    total = np.bincount(codes[there], own[there], minlength=len(names))
    means = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
    enough = means[counted >= max(least, 1)]
    gap = float(enough.max() - enough.min()) if len(enough) > 1 else float("nan")
    return Gap(tuple(names.tolist()), means, counted, gap)
