"""LightGCN: factors that are averaged over the graph of likes before they are multiplied.

Source: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR,
arXiv:2002.02126.
Idea: e^(l+1) = D^-1/2 A D^-1/2 e^(l); the vector is the mean of all layers; pairwise loss with Adam.
Differs: the propagation is linear and symmetric, so its gradient is the propagation itself: sparse products, no
autograd. A user is folded in from the history as the mean of layers 1 to L; his own layer 0 is left out.
Cost: per step 4 * layers sparse products over the log, hence large batches; folding in is one sparse row.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hexarec.classic._pairs import Adam, Rows, add_rows, drawn, sigmoid
from hexarec.classic._shared import Floats, empty_rows, folded, popularity, product, profile, remember, settled
from hexarec.core import Dataset, Lists, PerUser, Queries, at_least, best, ready, rescored, rng, track

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Pair = tuple[Floats, Floats]


def halfway(counts: Floats) -> Floats:
    """1 / sqrt(counts), 0 where a count is 0."""
    return np.divide(1.0, np.sqrt(counts), out=np.zeros_like(counts), where=counts > 0)


@dataclass
class LightGCN:
    """Graph-smoothed factors of users and items."""

    factors: int = 64
    """Length of a vector."""
    layers: int = 2
    """How many steps over the graph are averaged."""
    epochs: int = 20
    """Passes over the liked events."""
    rate: float = 0.05
    """Step of Adam."""
    regularization: float = 1e-4
    """Ridge on the layer-0 vectors that a batch touches."""
    batch: int = 65536
    """Pairs per step; one step costs a propagation of the whole graph."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn layer-0 vectors; keep the propagated ones. Raises OptionError as `BPR` does."""
        at_least(self, factors=1, layers=0, epochs=0, batch=1, rate=0, regularization=0)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        matrix: csr_array = remember(data).values  # type: ignore[assignment]
        self.share_: Floats = halfway(np.asarray(matrix.sum(0), np.float32).ravel())
        graph = self._graph(matrix)
        draw = rng(seed, "lightgcn", "start")
        size = ((data.n_users, self.factors), (data.n_items, self.factors))
        tables = tuple(draw.standard_normal(s, np.float32) * np.float32(0.1) for s in size)
        adams = [Adam(table, self.rate) for table in tables]
        users = np.repeat(np.arange(data.n_users), np.diff(matrix.indptr))
        items = matrix.indices.astype(np.int64)
        known = users * data.n_items + items
        for epoch in track(range(self.epochs if len(known) else 0), "epoch"):
            draw = rng(seed, "lightgcn", "epoch", epoch)
            order = draw.permutation(len(known))
            for start in range(0, len(order), self.batch):
                part = order[start : start + self.batch]
                bad = drawn(users[part], known, data.n_items, draw)
                self._step(graph, adams, users[part], items[part], bad)
        settled("LightGCN", *(one.table for one in adams))
        self._keep(data, matrix, graph, (adams[0].table, adams[1].table))
        return self

    def _graph(self, matrix: csr_array) -> tuple[csr_array, csr_array]:
        """The normalised user-to-item matrix and its transpose."""
        from scipy.sparse import csr_array, diags_array

        left = diags_array(halfway(np.diff(matrix.indptr).astype(np.float32)))
        made = csr_array(left @ matrix @ diags_array(self.share_), dtype=np.float32)
        return made, made.T.tocsr()

    def _spread(self, graph: tuple[csr_array, csr_array], start: Pair) -> Pair:
        """The mean over layers of both sides; its own transpose, so gradients travel through it too."""
        layer, total = start, (start[0].copy(), start[1].copy())
        for _ in range(self.layers):
            layer = (np.asarray(graph[0] @ layer[1]), np.asarray(graph[1] @ layer[0]))
            total[0][...] += layer[0]
            total[1][...] += layer[1]
        share = np.float32(1.0 / (self.layers + 1))
        return total[0] * share, total[1] * share

    def _step(self, graph: tuple[csr_array, csr_array], adams: list[Adam], user: Rows, good: Rows, bad: Rows) -> None:
        start = (adams[0].table, adams[1].table)
        made = self._spread(graph, start)
        u, gap = made[0][user], made[1][good] - made[1][bad]
        slope = (-sigmoid(-np.einsum("nd,nd->n", u, gap)) / len(user))[:, None]
        push = slope * u
        slopes = (np.zeros_like(start[0]), np.zeros_like(start[1]))
        decay = self.regularization / len(user)
        touched = ((0, user, slope * gap), (1, np.concatenate([good, bad]), np.concatenate([push, -push])))
        ridge = []
        for side, rows, values in touched:
            at, sums = add_rows(rows, values)
            slopes[side][at] = sums
            ridge.append(decay * np.bincount(rows, minlength=len(start[side])).astype(np.float32)[:, None])
        back = self._spread(graph, slopes)
        for side in (0, 1):
            adams[side].descend(back[side] + ridge[side] * start[side])

    def _keep(self, data: Dataset, matrix: csr_array, graph: tuple[csr_array, csr_array], start: Pair) -> None:
        layer, sums = start, np.zeros_like(start[1])
        for _ in range(self.layers):
            sums += layer[1]
            layer = (np.asarray(graph[0] @ layer[1]), np.asarray(graph[1] @ layer[0]))
        self.items_: Floats = self._spread(graph, start)[1]
        self.items_[self.share_ == 0] = 0.0  # an item nobody liked was only ever a counter-example
        self.sums_: Floats = sums * self.share_[:, None] / np.float32(self.layers + 1)
        self.users_ = PerUser.of(data.users.ids, self._fold(matrix), ~empty_rows(matrix))

    def _fold(self, x: csr_array) -> Floats:
        made = np.asarray(x @ self.sums_, np.float32)
        return made * halfway(np.diff(x.indptr).astype(np.float32))[:, None]

    def users(self, queries: Queries) -> Floats:
        """Vectors (n, factors) float32: folded in from the history, else what fit learned, else zeros."""
        ready(self, queries)
        return folded(queries, self._fold(profile(queries.history, len(self.items_))), self.users_)

    def items(self) -> Floats:
        """Vectors (n_items, factors) float32."""
        return self.items_

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the largest product; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by product."""
        return rescored(queries, candidates, self._scores, "lightgcn")

    def _scores(self, queries: Queries) -> Floats:
        return product(queries, self.users(queries), self.items_, self.popular_)
