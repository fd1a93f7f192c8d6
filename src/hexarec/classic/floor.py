"""The floor of every table: a random order and the most popular items.

Source: common practice; the window follows Ji et al. 2020, SIGIR, arXiv:2005.13829 ("decay" of popularity).
Idea: no learning about the user at all.
Differs: the random order is a function of the question, not of the batch it came in.
Cost: counting; 8 bytes per item.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._shared import Floats
from hexarec.core import Catalog, Dataset, Lists, OptionError, Queries, best, digest, ready, rescored, rng, same_lineage


@dataclass
class Random:
    """A random order of the catalog: the same for the same question in any batch."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Remember the size of the catalog and the seed."""
        self.key_, self.n_items_, self.seed_ = data.catalog.key, data.n_items, int(seed)
        return self

    def extend(self, catalog: Catalog) -> Random:
        """The stage for a grown catalog. Raises LineageError for another one."""
        same_lineage(self.key_, catalog.key)
        made = Random()
        made.key_, made.n_items_, made.seed_ = self.key_, len(catalog), self.seed_
        return made

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """k permitted items drawn without replacement."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates in random order."""
        return rescored(queries, candidates, self._scores, "random")

    def _scores(self, queries: Queries) -> Floats:
        ready(self, queries)
        width = min(self.n_items_, len(queries.catalog))
        out = np.empty((len(queries), width), np.float32)
        offsets = queries.history.offsets
        for i, (user, asked) in enumerate(zip(queries.user_ids(), queries.seed.tolist(), strict=True)):
            past = digest(queries.history.item[offsets[i] : offsets[i + 1]])
            out[i] = rng(self.seed_, "random", user, asked, past).random(width, np.float32)
        return out


@dataclass
class Popular:
    """The items most often liked, the same for everybody."""

    window_days: float | None = None
    """Count only events of this many days before the newest one; None counts the whole log."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Count liked events. Raises OptionError for a window on a log without a clock."""
        log = data.interactions
        if self.window_days is not None and len(log):
            if not log.clock:
                raise OptionError("window_days needs a log with a clock", hint="leave window_days out")
            log = log.where(log.time > log.time.max() - self.window_days * 86400.0)
        self.key_ = data.catalog.key
        self.counts_: NDArray[np.float32] = log.counts(data.n_items, liked=True).astype(np.float32)
        return self

    def extend(self, catalog: Catalog) -> Popular:
        """The stage for a grown catalog: new items have no likes yet. Raises LineageError for another one."""
        same_lineage(self.key_, catalog.key)
        made = Popular(self.window_days)
        made.key_ = self.key_
        made.counts_ = np.append(self.counts_, np.zeros(max(0, len(catalog) - len(self.counts_)), np.float32))
        return made

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k most popular permitted items."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by popularity."""
        return rescored(queries, candidates, self._scores, "popular")

    def _scores(self, queries: Queries) -> Floats:
        ready(self, queries)
        known = self.counts_[: len(queries.catalog)]
        return np.broadcast_to(known, (len(queries), len(known)))
