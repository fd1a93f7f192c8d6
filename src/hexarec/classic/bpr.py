"""BPR-MF: matrix factorisation that learns to order a liked item above another.

Source: Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI, arXiv:1205.2618.
Idea: maximise log sigmoid(u . (i - j)) over liked items i and drawn items j of the same user.
Differs: mini-batches with AdaGrad steps instead of single draws; a history is folded in by a pointwise ridge
regression on the learned item vectors, so that a user never met is served the same way as a known one.
Cost: events * factors per epoch; folding in is one factors x factors solve.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hexarec.classic._pairs import Rows, add_rows, drawn, sigmoid
from hexarec.classic._shared import Floats, empty_rows, folded, popularity, product, profile, remember, settled
from hexarec.classic.ials import solved
from hexarec.core import Dataset, Lists, PerUser, Queries, at_least, best, ready, rescored, rng, track

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class BPR:
    """Factors of users and items learned from pairs."""

    factors: int = 64
    """Length of a vector."""
    epochs: int = 10
    """Passes over the liked events."""
    rate: float = 0.1
    """Step of AdaGrad."""
    regularization: float = 0.01
    """Weight decay on the rows a step touches."""
    batch: int = 4096
    """Pairs per step."""
    fold_weight: float = 0.1
    """Weight of unobserved pairs when a history is folded in."""
    fold_ridge: float = 1.0
    """Ridge when a history is folded in."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn the factors of users and items. Raises OptionError for an impossible option, and when it diverges."""
        at_least(self, factors=1, epochs=0, batch=1, rate=0, regularization=0, fold_weight=0, fold_ridge=0)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        matrix: csr_array = remember(data).values  # type: ignore[assignment]
        first = rng(seed, "bpr", "start")
        tables = [
            first.standard_normal((rows, self.factors), np.float32) * np.float32(0.1)
            for rows in (data.n_users, data.n_items)
        ]
        squares = [np.full(len(table), 1e-6, np.float32) for table in tables]
        users = np.repeat(np.arange(data.n_users), np.diff(matrix.indptr))
        items = matrix.indices.astype(np.int64)
        known = users * data.n_items + items
        for epoch in track(range(self.epochs if len(known) else 0), "epoch"):
            draw = rng(seed, "bpr", "epoch", epoch)
            order = draw.permutation(len(known))
            for start in range(0, len(order), self.batch):
                part = order[start : start + self.batch]
                self._step(tables, squares, users[part], items[part], drawn(users[part], known, data.n_items, draw))
        tables[1][matrix.sum(0) == 0] = 0.0  # an item nobody liked was only ever a counter-example
        settled("BPR", *tables)
        self.items_: Floats = tables[1]
        self.gram_: Floats = self.fold_weight * (self.items_.T @ self.items_)
        self.users_ = PerUser.of(data.users.ids, tables[0], ~empty_rows(matrix))
        return self

    def _step(self, tables: list[Floats], squares: list[Floats], user: Rows, good: Rows, bad: Rows) -> None:
        u, gap = tables[0][user], tables[1][good] - tables[1][bad]
        slope = sigmoid(-np.einsum("nd,nd->n", u, gap))[:, None]
        push = slope * u
        moves = ((0, user, slope * gap), (1, np.concatenate([good, bad]), np.concatenate([push, -push])))
        for side, rows, values in moves:
            at, sums = add_rows(rows, values)
            sums -= self.regularization * tables[side][at]
            squares[side][at] += (sums**2).mean(1)
            tables[side][at] += self.rate * sums / np.sqrt(squares[side][at])[:, None]

    def users(self, queries: Queries) -> Floats:
        """Vectors (n, factors) float32: folded in from the history, else what fit learned, else zeros."""
        ready(self, queries)
        x = profile(queries.history, len(self.items_))
        ridge = np.full(len(queries), self.fold_ridge, np.float32)
        return folded(queries, solved(x, self.items_, self.gram_, ridge), self.users_)

    def items(self) -> Floats:
        """Vectors (n_items, factors) float32."""
        return self.items_

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the largest product; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by product."""
        return rescored(queries, candidates, self._scores, "bpr")

    def _scores(self, queries: Queries) -> Floats:
        return product(queries, self.users(queries), self.items_, self.popular_)
