"""MMR: relevant items that differ from those already picked.

Source: Carbonell and Goldstein 1998, "The Use of MMR, Diversity-Based Reranking", SIGIR.
Idea: again and again, pick the item with the largest share * relevance - (1 - share) * (largest similarity to a picked
item).
Differs: relevance is the given score scaled to [0, 1] within its list; greedy steps run over the whole batch at once.
Cost: k similarity look-ups of b x m per block of b lists of m candidates.
Needs: ratings (by log), a named feature table (by feature) or a catalog attribute (by attribute).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._attributes import Block, Ints, blocks, flattened, indicators, reordered
from hexarec.classic._shared import Floats
from hexarec.classic.knn import ItemKNN
from hexarec.core import CapabilityError, Dataset, Lists, OptionError, Queries, ready

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CELLS = 8192  # candidates handled at once


@dataclass
class MMR:
    """Maximal marginal relevance."""

    share: float = 0.7
    """Weight of relevance, 0 to 1; 1 keeps the given order."""
    by: Literal["log", "attribute", "feature"] = "log"
    """Where similarity comes from: who liked both items, values they share, or vectors."""
    name: str = "genres"
    """The attribute or feature table; not used by log."""
    neighbours: int = 200
    """By log: how many similar items each item keeps."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn similarities. Raises OptionError for a bad option, CapabilityError for a feature the data lacks."""
        if not 0.0 <= self.share <= 1.0 or self.by not in ("log", "attribute", "feature"):
            raise OptionError(f"share is {self.share}, by is {self.by!r}", hint="0 to 1; log, attribute or feature")
        self.key_ = data.catalog.key
        if self.by == "log":
            self.table_: csr_array | Floats = ItemKNN(neighbours=self.neighbours, shrink=0.0).fit(data).similar_
        elif self.by == "attribute":
            self.table_ = indicators(data.catalog, self.name)[0]
        else:
            found = data.features.get(self.name)
            if found is None or len(found.rows) != data.n_items:
                have = ", ".join(sorted(data.features)) or "none"
                raise CapabilityError(f"the data has no item vectors {self.name!r}", hint=f"features: {have}")
            rows = np.where(found.mask[:, None], found.rows, 0.0)
            size = np.linalg.norm(rows, axis=1, keepdims=True)
            self.table_ = (rows / np.where(size > 0, size, 1.0)).astype(np.float32)
        return self

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items of each list, picked greedily; an item the stage does not know is similar to none."""
        ready(self, queries, ranked)
        picks = [self._picked(block, k) for block in blocks(ranked, CELLS)]
        return reordered(ranked, *flattened(ranked, picks), "mmr")

    def _picked(self, block: Block, k: int) -> Ints:
        rows = np.arange(len(block.items))
        open_, nearest = block.real.copy(), np.zeros(block.items.shape, np.float32)
        out = np.full((len(rows), min(k, block.items.shape[1])), -1, np.int64)
        for step in range(out.shape[1]):
            value = self.share * block.relevance - (1.0 - self.share) * nearest
            value[~open_] = -np.inf
            pick = value.argmax(1)
            left = open_.any(1)
            out[left, step] = pick[left]
            open_[rows, pick] = False
            if self.share < 1.0 and step + 1 < out.shape[1]:
                nearest = np.maximum(nearest, self._similar(block.items[rows, pick], block.items))
        return out

    def _similar(self, picked: Ints, items: Ints) -> Floats:
        """Similarity in [0, 1] of each picked item (b,) to its list's candidates (b, m)."""
        known = self.table_.shape[0]
        if known == 0:
            return np.zeros(items.shape, np.float32)
        near, far = np.where(items < known, items, 0), np.where(picked < known, picked, 0)
        if isinstance(self.table_, np.ndarray):
            made = np.matmul(self.table_[near], self.table_[far][:, :, None])[:, :, 0]
        elif self.by == "log":
            made = np.take_along_axis(self.table_[far].toarray(), near, 1)
        else:
            made = _jaccard(self.table_, far, near)
        made[(items >= known) | (picked >= known)[:, None]] = 0.0
        return np.asarray(np.clip(made, 0.0, 1.0), np.float32)


def _jaccard(table: csr_array, far: Ints, near: Ints) -> Floats:
    """Shared values over all values, (b, m), of rows `far` (b,) and `near` (b, m) of an indicator table."""
    size: NDArray[np.float32] = np.diff(table.indptr).astype(np.float32)
    candidates = table[near.ravel()]
    owner = np.repeat(np.arange(near.size) // near.shape[1], np.diff(candidates.indptr))
    hits = table[far].toarray()[owner, candidates.indices]
    cell = np.repeat(np.arange(near.size), np.diff(candidates.indptr))
    both = np.bincount(cell, weights=hits, minlength=near.size).reshape(near.shape)
    either = size[far][:, None] + size[near] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0), np.float32)
