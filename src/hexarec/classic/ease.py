"""EASE: a linear model of items by items with a closed-form solution.

Source: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW, arXiv:1905.03375.
Idea: B minimises |X - XB|^2 + regularization |B|^2 with a zero diagonal: with P = (X^T X + regularization I)^-1,
B_ij = -P_ij / P_jj.
Differs: float32 Cholesky in place; one (n, n) array is all the memory that grows with the square of the catalog.
Cost: n^3 operations to fit, 4 n^2 bytes; serving is one sparse row times B.
Needs: ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from hexarec.classic._gram import gram, mirror
from hexarec.classic._shared import Floats, available_memory, empty_rows, popularity, profiles, remember, served
from hexarec.core import CapabilityError, Dataset, Lists, OptionError, Queries, StateError, best, ready, rescored

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def inverse(square: Floats) -> Floats:
    """The inverse of a positive definite (n, n) float32 array in Fortran order, overwritten. Raises StateError."""
    from scipy.linalg.lapack import spotrf, spotri

    if not len(square):
        return square
    factor, failed = spotrf(square, overwrite_a=1, clean=0)
    if failed:
        raise StateError("the item table is not positive definite", hint="raise the regularization")
    made, failed = spotri(factor, overwrite_c=1)
    if failed:
        raise StateError("the item table has no inverse", hint="raise the regularization")
    mirror(made)
    return np.asarray(made)


def _affordable(n: int) -> None:
    """Raise CapabilityError when the n x n table and its work space would not fit into free memory."""
    need, free = 4.0 * n * n * 1.5, available_memory()
    if need > free:
        raise CapabilityError(
            f"EASE needs about {need / 1e9:.1f} GB for {n:,} items, {free / 1e9:.1f} GB are free",
            hint="use itemknn, which keeps only neighbours",
        )


@dataclass
class EASE:
    """Linear scores of items from items."""

    regularization: float = 500.0
    """The ridge: larger is smoother; hundreds to thousands for a log of a million events."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn B (n_items, n_items). Raises OptionError for a regularization that is not above 0."""
        if not self.regularization > 0:
            raise OptionError(f"regularization is {self.regularization}, not above 0")
        _affordable(data.n_items)
        self.key_, self.popular_ = data.catalog.key, popularity(data)
        self.users_ = remember(data)
        matrix: csr_array = self.users_.values  # type: ignore[assignment]
        table = gram(matrix)
        table[np.diag_indices(len(table))] += np.float32(self.regularization)
        # the inverse is symmetric, so its transposed view is the same table in C order, as sparse products want it
        table = inverse(table).T
        table *= -1.0 / np.diag(table).copy()
        np.fill_diagonal(table, 0.0)
        self.weights_: Floats = table
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the highest linear score; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by linear score."""
        return rescored(queries, candidates, self._scores, "ease")

    def _scores(self, queries: Queries) -> Floats:
        ready(self, queries)
        x = profiles(queries, self.users_)
        return served(queries, np.asarray(x @ self.weights_), empty_rows(x), self.popular_)
