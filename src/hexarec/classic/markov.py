"""Markov: what follows the last items.

Source: first-order item transitions as in Rendle et al. 2010 (the unfactorised chain), WWW; decay over the last
items as in session kNN, Ludewig and Jannach 2018, arXiv:1803.09587.
Idea: score(j) = sum over the last items i of discount ** age * P(j follows i).
Differs: transition shares are shrunk towards nothing by a constant.
Cost: one pass over the log; serving is one sparse row times the table.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hexarec.classic._shared import Floats, empty_rows, popularity, profiles, remember, served
from hexarec.core import Dataset, Lists, Queries, at_least, best, ready, rescored

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class Markov:
    """Items that tend to follow the newest ones."""

    last: int = 5
    """How many of the newest liked events count."""
    discount: float = 0.5
    """Weight of an event against the next newer one."""
    reach: int = 3
    """How many steps ahead a follower is counted; a follower s steps ahead counts 1 / s."""
    shrink: float = 10.0
    """Constant added to an item's number of transitions before dividing by it."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Count transitions between liked events of one user. Raises OptionError for an impossible option."""
        at_least(self, last=1, discount=0, reach=1, shrink=0)
        from scipy.sparse import csr_array, diags_array

        log = data.interactions.where(data.interactions.liked)
        size = (data.n_items, data.n_items)
        table = csr_array(size, dtype=np.float32)
        for step in range(1, self.reach + 1):
            same = np.flatnonzero(log.user[step:] == log.user[:-step])
            weight = np.full(len(same), 1.0 / step, np.float32)
            table = table + csr_array((weight, (log.item[same], log.item[same + step])), shape=size)
        total = np.asarray(table.sum(1), np.float32).ravel() + np.float32(self.shrink)
        share = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        self.follows_: csr_array = csr_array(diags_array(share) @ table)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        self.users_ = remember(data, self.last, self.discount)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items likeliest to follow; popularity breaks ties and serves who has no history."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by how likely they follow."""
        return rescored(queries, candidates, self._scores, "markov")

    def _scores(self, queries: Queries) -> Floats:
        ready(self, queries)
        x = profiles(queries, self.users_, self.last, self.discount)
        scores = (x @ self.follows_).toarray() + np.float32(1e-6) * self.popular_
        return served(queries, scores, empty_rows(x), self.popular_)
