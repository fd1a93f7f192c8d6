"""iALS: matrix factorisation for implicit feedback by alternating least squares.

Source: Hu, Koren and Volinsky 2008, ICDM; the loss and the scaled regularisation as in Rendle et al. 2021,
"Revisiting the Performance of iALS on Item Recommendation Benchmarks", arXiv:2110.14037.
Idea: sum over liked pairs of (1 - wh)^2 + unobserved * sum over all pairs of (wh)^2, one side solved at a time.
Differs: exact block solves instead of conjugate gradients; a user is always folded in from the history.
Cost: per sweep nnz * d^2 + (users + items) * d^3; folding in one user is one d x d solve.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hexarec.classic._shared import Floats, empty_rows, folded, popularity, product, profile, remember, settled
from hexarec.core import Dataset, Lists, PerUser, Queries, at_least, best, ready, rescored, rng, track
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def solved(x: csr_array, other: Floats, gram: Floats, ridge: Floats) -> Floats:
    """Each row's least-squares factors (n, d) against the factors `other` of the columns.

    gram: unobserved * other^T other, (d, d). ridge: (n,) added to each row's diagonal. Rows of like length are
    solved together; a row without values gets zeros.
    """
    lengths = np.diff(x.indptr)
    width = other.shape[1]
    out = np.zeros((x.shape[0], width), np.float32)
    plain = bool((x.data == 1.0).all())
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    padded = np.concatenate([other, np.zeros((1, width), np.float32)])
    start = 0
    while start < len(order):
        # as many rows as fit about 16 MB of gathered factors, and none padded to more than 1.25 times its length
        low = int(lengths[order[start]])
        stop = start + max(1, int(np.searchsorted(lengths[order[start:]], 1.25 * low + 8, side="right")))
        stop = min(stop, start + max(1, (1 << 22) // (width * max(int(lengths[order[stop - 1]]), width))))
        rows = order[start:stop]
        offsets, flat = rg.gather(x.indptr.astype(np.int64), rows)
        columns = np.full((len(rows), int(lengths[rows[-1]])), len(other), np.int64)
        values = np.zeros(columns.shape, np.float32)
        place = rg.segments(offsets), rg.positions(offsets)
        columns[place], values[place] = x.indices[flat], x.data[flat]
        near = padded[columns]
        weighted = near if plain else near * values[:, :, None]
        left = np.matmul(near.transpose(0, 2, 1), weighted) + gram
        left[:, np.arange(width), np.arange(width)] += ridge[rows, None]
        out[rows] = np.linalg.solve(left, weighted.sum(1)[:, :, None])[:, :, 0]
        start = stop
    return out


@dataclass
class IALS:
    """Factors of users and items for implicit feedback."""

    factors: int = 64
    """Length of a vector."""
    sweeps: int = 16
    """How often both sides are solved."""
    unobserved: float = 0.3
    """Weight of a pair that was not observed, against 1 for a liked pair."""
    regularization: float = 0.003
    """Ridge per unit of frequency, see `scaling`."""
    scaling: float = 1.0
    """Ridge grows with (events + unobserved * pairs) ** scaling; 0 is the plain ridge of Hu et al."""
    spread: float = 0.1
    """Standard deviation of the first factors, before division by the root of `factors`."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn item factors; user factors stand in for an empty history later. Raises OptionError as `BPR` does."""
        at_least(self, factors=1, sweeps=0, unobserved=0, regularization=0, spread=0)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        matrix: csr_array = remember(data).values  # type: ignore[assignment]
        turned = matrix.T.tocsr()
        scale = self.spread / np.sqrt(self.factors)
        draw = rng(seed, "ials").standard_normal((data.n_items, self.factors), np.float32)
        self.items_: Floats = draw * np.float32(scale)
        self.n_users_ = int((np.diff(matrix.indptr) > 0).sum())
        users = np.zeros((data.n_users, self.factors), np.float32)
        for _ in track(range(self.sweeps), "sweep"):
            users = self._solve(matrix, self.items_)
            self.items_ = self._solve(turned, users, self.n_users_)
        self._prepare()
        users = self._solve(matrix, self.items_)
        settled("iALS", self.items_, users)
        self.users_ = PerUser.of(data.users.ids, users, ~empty_rows(matrix))
        return self

    def _prepare(self) -> None:
        """The part of every fold-in that does not depend on the user."""
        self.gram_: Floats = self.unobserved * (self.items_.T @ self.items_)

    def _solve(self, x: csr_array, other: Floats, pairs: int | None = None) -> Floats:
        size = np.diff(x.indptr) + self.unobserved * (len(other) if pairs is None else pairs)
        ridge = self.regularization * size**self.scaling
        gram = self.unobserved * (other.T @ other)
        return solved(x, other, gram, ridge.astype(np.float32))

    def users(self, queries: Queries) -> Floats:
        """Vectors (n, factors) float32: folded in from the history, else what fit learned, else zeros."""
        ready(self, queries)
        x = profile(queries.history, len(self.items_))
        size = np.diff(x.indptr) + self.unobserved * len(self.items_)
        ridge = (self.regularization * size**self.scaling).astype(np.float32)
        return folded(queries, solved(x, self.items_, self.gram_, ridge), self.users_)

    def items(self) -> Floats:
        """Vectors (n_items, factors) float32."""
        return self.items_

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the largest product; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by product."""
        return rescored(queries, candidates, self._scores, "ials")

    def _scores(self, queries: Queries) -> Floats:
        return product(queries, self.users(queries), self.items_, self.popular_)
