"""Traits of users, measured from the log: how active, how independent of the common opinion, how broad in taste.

Source: Zhang et al. 2024, Agent4Rec, arXiv:2310.10108, section 3.1; cut points as in its released preparation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Dataset, OptionError, PerUser
from hexarec.metrics.reference import Tags

NAMES = ("activity", "conformity", "diversity")
CUTS = {"activity": (60.0, 90.0), "conformity": (25.0, 80.0), "diversity": (33.0, 66.0)}  # percentiles
ORDINARY = 2
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Persona:
    """The levels of one user, 1 (low) to 3 (high). A high conformity is far from the common opinion, as published."""

    activity: int = ORDINARY
    conformity: int = ORDINARY
    diversity: int = ORDINARY


@dataclass
class Traits:
    """Levels 1 to 3 of each user's traits.

    activity: events. conformity: mean of (rating - mean rating of the item)^2 over rated events. diversity: how many
    different tags the events carry; breadth < 1 counts the most frequent tags up to that share of all (1.0 = the union,
    as published; 0.8 = as released). Users without events, ratings or tags are ordinary (2) in what is not known.
    """

    tags: str = "genres"
    breadth: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.breadth <= 1.0:
            raise OptionError(f"breadth is {self.breadth}, not above 0 and at most 1")

    def fit(self, data: Dataset, means: Floats) -> Traits:
        """Measure and cut. means: (n_items,) mean rating of each item, NaN where nobody rated it."""
        columns = [_activity(data), _conformity(data, means), self._diversity(data)]
        levels = [_levels(column, CUTS[name]) for name, column in zip(NAMES, columns, strict=True)]
        self.raw_ = PerUser.of(data.users.ids, np.column_stack(columns))
        self.levels_ = PerUser.of(data.users.ids, np.column_stack(levels).astype(np.int8))
        return self

    def of(self, user: str | None) -> Persona:
        """The levels of a user; an ordinary one for nobody, the unknown and the forgotten."""
        row = -1 if user is None else int(self.levels_.users.rows([user])[0])
        if row < 0 or not self.levels_.known[row]:
            return Persona()
        return Persona(*(int(level) for level in np.asarray(self.levels_.values)[row]))

    def _diversity(self, data: Dataset) -> Floats:
        if self.tags not in data.catalog.attributes:
            return np.full(data.n_users, np.nan)
        held = Tags.of(data.catalog.attributes[self.tags]).matrix
        counts = (data.interactions.matrix(data.n_items, liked=False) > 0).astype(np.float64) @ held
        rows = -np.sort(-np.asarray(counts.toarray()), axis=1)
        total = rows.sum(1)
        if not rows.shape[1]:
            return np.full(data.n_users, np.nan)
        # a tag counts while those before it have not reached the share
        before = np.cumsum(rows, axis=1) - rows
        kept = (rows > 0) & (before < self.breadth * total[:, None] - 1e-9)
        return np.where(total > 0, kept.sum(1), np.nan)


def mean_ratings(data: Dataset, field: str = "rating") -> Floats:
    """(n_items,) the item attribute `field` where there is one, else the mean rating of the log; NaN without both."""
    log = data.interactions
    rated = ~np.isnan(log.value)
    counts = np.bincount(log.item[rated], minlength=data.n_items)
    sums = np.bincount(log.item[rated], log.value[rated].astype(np.float64), data.n_items)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    own = stated(data.catalog, field)
    return np.where(np.isnan(own), means, own)


def stated(catalog: Catalog, field: str) -> Floats:
    """(n_items,) an item attribute of numbers, NaN where it is missing or no number."""
    own: Any = catalog.attributes.get(field)
    return np.full(len(catalog), np.nan) if own is None or own.dtype != np.float64 else own


def _activity(data: Dataset) -> Floats:
    counts = np.diff(data.interactions.offsets).astype(np.float64)
    return np.where(counts > 0, counts, np.nan)


def _conformity(data: Dataset, means: Floats) -> Floats:
    log = data.interactions
    off = (log.value.astype(np.float64) - means[log.item]) ** 2
    known = ~np.isnan(off)
    n = np.bincount(log.user[known], minlength=data.n_users)
    total = np.bincount(log.user[known], off[known], data.n_users)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _levels(values: Floats, cuts: tuple[float, float]) -> NDArray[np.int64]:
    """1 up to the first percentile, 3 above the second, 2 between; 2 for NaN, and where all are alike."""
    known = ~np.isnan(values)
    if not known.any() or np.ptp(values[known]) == 0:
        return np.full(len(values), ORDINARY)
    low, high = np.percentile(values[known], cuts)
    return np.where(known, 1 + (values > low).astype(np.int64) + (values > high), ORDINARY)
