"""Nearest neighbours of items and of users.

Source: Deshpande and Karypis 2004, TOIS 22(1); Herlocker et al. 1999, SIGIR; settings as in
Ferrari Dacrema et al. 2019, arXiv:1907.06902.
Idea: recommend what is liked together with the history (items), or what users with a like history liked (users).
Differs: `last` scores only the newest events, which matters where taste moves; shrinkage is a plain constant.
Cost: fit is one item-by-item product (items) or free (users); serving is one sparse product.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._gram import gram_rows
from hexarec.classic._shared import Floats, empty_rows, popularity, profiles, remember, served
from hexarec.classic._similar import Similarity, largest, similar, strongest
from hexarec.core import Dataset, Lists, PerUser, Queries, at_least, best, ready, rescored
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BYTES = 48  # per pair of a question and a user who share an item: the product, its similarity, and their order


@dataclass
class ItemKNN:
    """Items most similar to those of the history."""

    neighbours: int = 50
    """How many similar items each item keeps."""
    last: int | None = None
    """Score only from the newest `last` liked events of the history; None uses all."""
    shrink: float = 10.0
    """Constant added below the fraction: similarities seen in few users count less."""
    similarity: Similarity = "cosine"
    """cosine or jaccard of the sets of users who liked two items, or dot: how many they have in common."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn the similarity table. Raises OptionError for an impossible option."""
        at_least(self, neighbours=1, last=1, shrink=0)
        from scipy.sparse import csr_array, vstack

        whole = remember(data)
        matrix: Any = whole.values
        seen = np.asarray(matrix.sum(0), np.float32).ravel()
        rows: Any = []
        for part, both in gram_rows(matrix):
            values = similar(both, seen[part][:, None], seen, self.similarity, self.shrink)
            values[np.arange(len(values)), np.arange(part.start, part.stop)] = 0.0
            rows.append(strongest(values, self.neighbours))
        empty = csr_array((data.n_items, data.n_items), dtype=np.float32)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        self.similar_: Any = vstack(rows, format="csr") if rows else empty
        self.users_ = whole if self.last is None else remember(data, self.last)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items most similar to the history; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by similarity to the history."""
        return rescored(queries, candidates, self._scores, "itemknn")

    def _scores(self, queries: Queries) -> Floats:
        ready(self, queries)
        x = profiles(queries, self.users_, self.last)
        return served(queries, (x @ self.similar_).toarray(), empty_rows(x), self.popular_)


@dataclass
class UserKNN:
    """Items liked by the users whose histories are most similar."""

    neighbours: int = 50
    """How many similar users vote."""
    shrink: float = 10.0
    """Constant added below the fraction: similarities that rest on few items count less."""
    similarity: Similarity = "cosine"
    """cosine or jaccard of the sets of items two users liked, or dot: how many they have in common."""
    memory_mb: int = 64
    """Most megabytes that the similarities of one block of questions take; one question always fits."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Remember who liked what. Raises OptionError for an impossible option."""
        at_least(self, neighbours=1, shrink=0, memory_mb=1)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        self.users_: PerUser = remember(data)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the most similar voters; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by the votes of similar users."""
        return rescored(queries, candidates, self._scores, "userknn")

    def _scores(self, queries: Queries) -> Floats:
        ready(self, queries)
        x = profiles(queries, self.users_)
        others: csr_array = self.users_.values  # type: ignore[assignment]
        rows, known = self.users_.rows(queries)
        own = np.where(known, rows, -1)
        votes = np.empty((len(queries), others.shape[1]), np.float32)
        size = max(1, (self.memory_mb << 20) // (BYTES * max(others.shape[0], 1)))
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            votes[part] = (self._voters(x[part], others, own[part]) @ others).toarray()
        return served(queries, votes, empty_rows(x), self.popular_)

    def _voters(self, x: csr_array, others: csr_array, own: NDArray[np.int64]) -> csr_array:
        """The most similar users of some questions, csr (questions, users); nobody is a neighbour of himself."""
        both: Any = x @ others.T
        row = rg.segments(both.indptr.astype(np.int64))
        ours, sizes = (np.diff(one.indptr).astype(np.float32) for one in (x, others))
        both.data = similar(both.data, ours[row], sizes[both.indices], self.similarity, self.shrink)
        both.data[both.indices == own[row]] = 0.0
        return largest(both, self.neighbours)
