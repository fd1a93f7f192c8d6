"""What pairwise learning needs in numpy: drawn counter-examples, a fast scatter-add, Adam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._shared import Floats

Rows = NDArray[np.int64]


def add_rows(rows: Rows, values: Floats) -> tuple[Rows, Floats]:
    """The distinct rows (m,) and for each the sum of its values (m, d): a scatter-add that runs at memory speed."""
    from scipy.sparse import csr_array

    order = np.argsort(rows, kind="stable")
    placed = rows[order]
    first = np.flatnonzero(np.append(True, placed[1:] != placed[:-1])) if len(rows) else np.zeros(0, np.int64)
    sums = csr_array(
        (np.ones(len(rows), np.float32), order, np.append(first, len(rows))), shape=(len(first), len(rows))
    )
    return placed[first], np.asarray(sums @ values)


def drawn(users: Rows, known: Rows, n_items: int, generator: np.random.Generator) -> Rows:
    """One item per user that is not among the sorted pairs `known` (user * n_items + item); two redraws, then as is."""
    items = generator.integers(0, n_items, len(users))
    for _ in range(2):
        pairs = users * n_items + items
        place = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
        bad = np.flatnonzero(known[place] == pairs)
        items[bad] = generator.integers(0, n_items, len(bad))
    return items


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), np.float32)


class Adam:
    """Adam for one dense array, in place."""

    def __init__(self, table: Floats, rate: float) -> None:
        self.table, self.rate, self.step = table, rate, 0
        self.first, self.second = np.zeros_like(table), np.zeros_like(table)

    def descend(self, slope: Floats) -> None:
        """One step against the gradient."""
        self.step += 1
        self.first += 0.1 * (slope - self.first)
        self.second += 0.001 * (slope * slope - self.second)
        rate = self.rate * np.sqrt(1.0 - 0.999**self.step) / (1.0 - 0.9**self.step)
        self.table -= (rate * self.first / (np.sqrt(self.second) + 1e-8)).astype(np.float32)
