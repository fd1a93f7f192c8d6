"""Greedy MAP inference of a determinantal point process, a step at a time, for a block of lists at once.

Source: Chen et al. 2018, NeurIPS, arXiv:1709.05135. The determinant of the likeness of what was picked grows with what
is new in a pick; the incremental Cholesky factor makes k picks of m candidates cost O(k^2 m) instead of O(k^4 m).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hexarec.parts.greedy import Block, Ints

Numbers = NDArray[np.float64]
Kernel = Callable[[Ints, Ints], Numbers]
"""Likeness of each picked item (b,) to its list's candidates (b, m), positive semi-definite; the diagonal becomes 1."""
COPY = 1e-6  # less of an item than this is left beside the picks: it is a copy of them, as far as float32 tells
BEHIND = 1e6  # how far copies stand behind everything else


class Determinant:
    """The objective of a block: (1 - s) * relevance + s * log(det with the candidate / det without), strength s (b,).

    The incremental Cholesky factor of Chen et al. 2018, algorithm 1, for all candidates of all lists: `left` (b, m)
    is what each candidate has beside the picks (their d squared), `rows` (b, picks, m) its coordinates (their c). With
    a `window` only the newest picks count: the oldest leaves the factor by Givens rotations (their section 4). `ridge`
    is the share of every item that no other has: the kernel is (1 - ridge) * likeness + ridge * identity.
    """

    def __init__(
        self, block: Block, kernel: Kernel, strength: Numbers, window: int | None = None, ridge: float = 0.0
    ) -> None:
        self.block, self.kernel, self.strength = block, kernel, strength[:, None]
        self.window, self.ridge = window, ridge
        self.left = np.ones(block.items.shape)
        self.rows: list[Numbers] = []
        self.picks: list[Ints] = []

    def value(self) -> Numbers:
        """The marginal gain (b, m); where variety counts, copies of picks stand behind all else, by relevance."""
        new = self.left > COPY
        gain = np.log(np.where(new, self.left, 1.0))
        made = (1.0 - self.strength) * self.block.relevance + self.strength * gain
        return np.where(new | (self.strength == 0.0), made, self.block.relevance - BEHIND)

    def take(self, pick: Ints) -> None:
        """The candidates at these places (b,) are picked."""
        if self.window is not None and len(self.picks) == self.window:
            self._forget()
        at = np.arange(len(pick))
        near = (1.0 - self.ridge) * self.kernel(self.block.items[at, pick], self.block.items)
        near[at, pick] = 1.0
        for row in self.rows:
            near -= row[at, pick][:, None] * row
        own = self.left[at, pick]
        near *= np.where(own > COPY, 1.0 / np.sqrt(np.maximum(own, COPY)), 0.0)[:, None]
        self.left = self.left - near * near
        self.rows.append(near)
        self.picks.append(pick)

    def _forget(self) -> None:
        """Take the oldest pick out: rotate the factor of the others back into a triangle and drop what is left over."""
        at = np.arange(len(self.picks[0]))
        for place, pick in enumerate(self.picks[1:]):
            one, two = self.rows[place], self.rows[place + 1]
            a, b = one[at, pick][:, None], two[at, pick][:, None]
            size = np.hypot(a, b)
            a, b = np.where(size > 0, a, 1.0), b / np.where(size > 0, size, 1.0)
            a = a / np.where(size > 0, size, 1.0)
            self.rows[place], self.rows[place + 1] = a * one + b * two, a * two - b * one
        over = self.rows.pop()
        self.left = self.left + over * over
        self.picks.pop(0)
