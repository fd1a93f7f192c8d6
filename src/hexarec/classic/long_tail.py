"""LongTail: relevance weighed against how known an item is, either way.

Source: Abdollahpouri et al. 2019, "Managing Popularity Bias in Recommender Systems with Personalized Re-ranking",
FLAIRS, arXiv:1901.07555; novelty as self-information: Zhou et al. 2010, PNAS 107(10).
Idea: score = relevance + popular * (share of the best-known item's likes) + novel * (self-information of the item).
Differs: one weight for everybody and no categories of head and tail; relevance and both additions lie in [0, 1].
Cost: a look-up per candidate.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._shared import Floats
from hexarec.core import Catalog, Dataset, Lists, OptionError, Queries, ready, same_lineage, variant
from hexarec.parts.greedy import blocks, flattened, reordered

CELLS = 8192  # candidates handled at once


@dataclass
class LongTail:
    """Lists moved towards what many know, or towards what few know."""

    popular: float = 0.0
    """Weight of popularity, 0 or more: of the share of likes, 1 for the most liked item."""
    novel: float = 0.3
    """Weight of novelty, 0 or more: of the self-information, 0 for the most liked item, 1 for one that nobody liked."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Count likes. Raises OptionError for a negative weight."""
        return self.over(data.catalog.key, data.interactions.counts(data.n_items, liked=True).astype(np.float32))

    def over(self, key: str, counts: NDArray[np.float32]) -> Self:
        """Fitted on likes counted elsewhere: key of the catalog's lineage, counts (n_items,)."""
        if not (0.0 <= self.popular < float("inf") and 0.0 <= self.novel < float("inf")):
            raise OptionError(f"popular is {self.popular}, novel is {self.novel}", hint="0 or more")
        self.key_, self.counts_ = key, counts
        return self

    def extend(self, catalog: Catalog) -> Self:
        """The stage for a grown catalog: nobody has liked its new items yet."""
        same_lineage(self.key_, catalog.key)
        made = variant(self)
        made.counts_ = np.append(self.counts_, np.zeros(max(0, len(catalog) - len(self.counts_)), np.float32))
        return made

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items of each list by the weighed score; equal ones keep their order."""
        ready(self, queries, ranked)
        fresh = max(len(queries.catalog) - len(self.counts_), 0)  # items added since: nobody has liked them yet
        added = np.append(self._added(), np.full(fresh, self.novel, np.float32))
        picks = []
        for block in blocks(ranked, CELLS):
            score = np.where(block.real, block.relevance + added[block.items], -np.inf)
            order = np.argsort(-score, axis=1, kind="stable")[:, :k]
            picks.append(np.where(np.take_along_axis(block.real, order, 1), order, -1))
        return reordered(ranked, *flattened(ranked, picks), "longtail")

    def _added(self) -> Floats:
        """What each item's score gains, (n_items,)."""
        most = max(float(self.counts_.max(initial=0.0)), 1.0)
        # -log of the probability of a like, one like more for everybody, scaled between the best-known item and none
        surprise = 1.0 - np.log1p(self.counts_) / np.log1p(most)
        made: Floats = (self.popular * self.counts_ / most + self.novel * surprise).astype(np.float32)
        return made
