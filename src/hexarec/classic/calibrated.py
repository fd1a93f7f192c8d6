"""Calibrated: a list whose mix of genres follows the history's.

Source: Steck 2018, "Calibrated Recommendations", RecSys, doi:10.1145/3240323.3240372.
Idea: greedily maximise (1 - share) * summed relevance - share * KL(p || (1 - smooth) q + smooth p), where p is the mix
of genres in the history and q that of the list so far; an item spreads its weight evenly over its genres. Newer events
(`discount`) and higher places (`decay`) may weigh more.
Differs: relevance is the given score scaled to [0, 1] within its list; events and places weigh the same unless said.
Cost: k steps of b x m x g for b lists of m candidates and g genres.
Needs: a catalog attribute; ratings for users who come without a history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hexarec.classic._shared import Floats, profiles, remember
from hexarec.core import Catalog, Dataset, Lists, OptionError, PerUser, Queries, ready, same_lineage, variant
from hexarec.parts.attributes import indicators
from hexarec.parts.greedy import Block, Ints, blocks, flattened, greedy, reordered

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CELLS = 1 << 20  # candidates times genres handled at once


def spread(table: csr_array) -> Floats:
    """Rows (n, g) float32 that sum to 1 where an item has a value at all, else to 0."""
    dense = np.asarray(table.toarray(), np.float32)
    total = dense.sum(1, keepdims=True)
    return np.asarray(np.divide(dense, total, out=np.zeros_like(dense), where=total > 0))


def divergence(p: Floats, q: Floats, smooth: float) -> Floats:
    """KL(p || (1 - smooth) q + smooth p) over the last axis; 0 where p is all zeros."""
    mixed = (1.0 - smooth) * q + smooth * p
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / mixed), 0.0)
    made: Floats = terms.sum(-1).astype(np.float32)
    return made


@dataclass
class Calibrated:
    """Genre shares of the list like those of the history."""

    share: float = 0.5
    """Weight of calibration, 0 to 1; 0 keeps the given order."""
    attribute: str = "genres"
    """The catalog attribute whose values are calibrated."""
    smooth: float = 0.01
    """How much of p is mixed into q, so that the divergence stays finite."""
    discount: float = 1.0
    """Weight of an event of the history against the one after it; 1 weighs them all alike."""
    decay: float = 1.0
    """Weight of a place of the list against the one before it; 1 weighs them all alike."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Read the attribute. Raises OptionError for a bad share, CapabilityError when the catalog lacks it."""
        if not 0.0 <= self.share <= 1.0 or not 0.0 < self.smooth < 1.0:
            raise OptionError(f"share is {self.share}, smooth is {self.smooth}", hint="both between 0 and 1")
        if not (0.0 < self.discount <= 1.0 and 0.0 < self.decay <= 1.0):
            raise OptionError(f"discount is {self.discount}, decay is {self.decay}", hint="above 0, at most 1")
        table, self.values_ = indicators(data.catalog, self.attribute)
        self.key_, self.genres_ = data.catalog.key, spread(table)
        self.users_: PerUser = remember(data, discount=self.discount)
        return self

    def extend(self, catalog: Catalog) -> Calibrated:
        """The stage for a grown catalog: new items are read, new values are not. Raises LineageError."""
        same_lineage(self.key_, catalog.key)
        made = variant(self)
        made.genres_ = spread(indicators(catalog, self.attribute, self.values_)[0])
        return made

    def target(self, queries: Queries) -> Floats:
        """The mix p of each question (n, g): weighted mean over the liked items, zeros where nothing is known.

        A known user who comes without a history gets the mix of what fit saw of him.
        """
        ready(self, queries)
        x = profiles(queries, self.users_, discount=self.discount)
        known = min(x.shape[1], len(self.genres_))
        total = np.asarray(x[:, :known] @ self.genres_[:known], np.float32)
        weight = total.sum(1, keepdims=True)
        return np.asarray(np.divide(total, weight, out=np.zeros_like(total), where=weight > 0))

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items of each list, picked greedily; without a target the given order stands."""
        ready(self, queries, ranked)
        p, share = self.target(queries), np.full(len(queries), self.share, np.float32)
        cells = max(1, CELLS // max(p.shape[1], 1))
        picks = [
            greedy(block, k, Mix(self, block, p[block.place], share[block.place])) for block in blocks(ranked, cells)
        ]
        return reordered(ranked, *flattened(ranked, picks), "calibrated")


class Mix:
    """The objective of a block: (1 - share) * summed relevance - share * divergence of p (b, g), share (b,)."""

    def __init__(self, stage: Calibrated, block: Block, p: Floats, share: Floats) -> None:
        known = block.items < len(stage.genres_)
        self.genres = np.where(known[:, :, None], stage.genres_[np.where(known, block.items, 0)], np.float32(0.0))
        self.stage, self.block, self.p, self.share = stage, block, p[:, None, :], share[:, None]
        self.mix = np.zeros((len(p), 1, p.shape[1]), np.float32)
        self.gained, self.weight, self.weights = np.zeros((len(p), 1), np.float32), 1.0, 0.0

    def value(self) -> Floats:
        """The worth of the list with each candidate on it, (b, m)."""
        made: Floats = (1.0 - self.share) * (self.gained + self.block.relevance)
        if (self.share > 0.0).any():
            weight, total = np.float32(self.weight), np.float32(self.weights + self.weight)
            q: Floats = np.asarray((self.mix + weight * self.genres) / total, np.float32)
            made = made - self.share * divergence(self.p, q, self.stage.smooth)
        return made

    def take(self, pick: Ints) -> None:
        """The candidates at these places (b,) are picked; the next place weighs `decay` times as much."""
        rows = np.arange(len(pick))
        self.gained += self.block.relevance[rows, pick][:, None]
        self.mix += np.float32(self.weight) * self.genres[rows, pick][:, None]
        self.weights += self.weight
        self.weight *= self.stage.decay
