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

from hexarec.classic._shared import Floats
from hexarec.classic.knn import ItemKNN
from hexarec.core import CapabilityError, Catalog, Dataset, Lists, OptionError, Queries, ready, same_lineage, variant
from hexarec.parts.attributes import indicators
from hexarec.parts.greedy import Block, Ints, blocks, flattened, greedy, reordered
from hexarec.parts.vectors import unit

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
    centre: bool = True
    """By feature: take the catalog's mean vector off first; vectors of texts all point in much the same direction."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn similarities. Raises OptionError for a bad option, CapabilityError for a feature the data lacks."""
        if not 0.0 <= self.share <= 1.0 or self.by not in ("log", "attribute", "feature"):
            raise OptionError(f"share is {self.share}, by is {self.by!r}", hint="0 to 1; log, attribute or feature")
        self.key_ = data.catalog.key
        self.values_: list[str] = []
        if self.by == "log":
            self.table_: csr_array | Floats = ItemKNN(neighbours=self.neighbours, shrink=0.0).fit(data).similar_
        elif self.by == "attribute":
            self.table_, self.values_ = indicators(data.catalog, self.name)
        else:
            found = data.features.get(self.name)
            if found is None or len(found.rows) != data.n_items:
                have = ", ".join(sorted(data.features)) or "none"
                raise CapabilityError(f"the data has no item vectors {self.name!r}", hint=f"features: {have}")
            middle = found.rows[found.mask].mean(0) if self.centre and found.mask.any() else 0.0
            self.table_ = unit(np.where(found.mask[:, None], found.rows - middle, 0.0))
        return self

    @classmethod
    def over(cls, key: str, table: csr_array | Floats, share: float) -> MMR:
        """The stage for a catalog of this key over a row for each item: a unit vector, or ones for its values."""
        made = cls(share=share, by="feature" if isinstance(table, np.ndarray) else "attribute")
        made.key_, made.table_, made.values_ = key, table, []
        return made

    def extend(self, catalog: Catalog) -> MMR:
        """The stage for a grown catalog: by attribute new items are read, else they are similar to none."""
        same_lineage(self.key_, catalog.key)
        made = variant(self)
        if self.by == "attribute":
            made.table_ = indicators(catalog, self.name, self.values_)[0]
        return made

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items of each list, picked greedily; an item the stage does not know is similar to none."""
        ready(self, queries, ranked)
        share = np.float32(self.share)
        picks = [
            greedy(block, k, Marginal(self, block, np.full(len(block.items), share))) for block in blocks(ranked, CELLS)
        ]
        return reordered(ranked, *flattened(ranked, picks), "mmr")

    def similar(self, picked: Ints, items: Ints) -> Floats:
        """Similarity of each picked item (b,) to its list's candidates (b, m), 0 for items the stage does not know.

        By log and by attribute in [0, 1]; by feature the cosine, in [-1, 1].
        """
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
        return np.asarray(made, np.float32)

    def kernel(self, picked: Ints, items: Ints) -> NDArray[np.float64]:
        """The same in [0, 1] and positive semi-definite with ones on the diagonal; by log only with all neighbours.

        By feature (1 + cosine) / 2, or opposites would count as copies; unknown items are unlike everything.
        """
        made = self.similar(picked, items).astype(np.float64)
        if self.by == "feature":
            n = len(self.table_)
            made = np.where((items < n) & (picked < n)[:, None], (1.0 + made) / 2.0, 0.0)
        return made


class Marginal:
    """The objective of a block: share * relevance - (1 - share) * likeness to the nearest pick, share (b,)."""

    def __init__(self, stage: MMR, block: Block, share: Floats) -> None:
        self.stage, self.block, self.share = stage, block, share[:, None]
        self.nearest = np.zeros(block.items.shape, np.float32)

    def value(self) -> Floats:
        """Marginal relevance, (b, m)."""
        made: Floats = self.share * self.block.relevance - (1.0 - self.share) * self.nearest
        return made

    def take(self, pick: Ints) -> None:
        """The candidates at these places (b,) are picked; a likeness below 0 counts as none."""
        if (self.share < 1.0).any():
            items = self.block.items
            near = self.stage.similar(items[np.arange(len(items)), pick], items)
            self.nearest = np.maximum(self.nearest, np.clip(near, 0.0, 1.0))


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
