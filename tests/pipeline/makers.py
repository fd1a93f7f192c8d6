"""Stages with a planted character, on a tiny world."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hexarec.core import CancelledError, Lists, best, ragged, rescored
from hexarec.data.worlds import world

WORLD = world("trap")
DATA = WORLD.data
QUERIES = WORLD.queries.take(slice(0, 6))


@dataclass
class Fixed:
    """Retrieves and ranks by row number times `sign`, and counts how often it was fitted and asked."""

    sign: float = 1.0
    calls: list[str] = field(default_factory=list, init=False, compare=False)

    def fit(self, data, *, seed=0):
        self.calls.append("fit")
        self.n_ = data.n_items
        return self

    def scores(self, queries):
        return np.broadcast_to(self.sign * np.arange(self.n_, dtype=np.float32), (len(queries), self.n_))

    def retrieve(self, queries, k):
        self.calls.append("retrieve")
        return best(queries, self.scores, k)

    def rank(self, queries, candidates):
        self.calls.append("rank")
        return rescored(queries, candidates, self.scores, "fixed")


@dataclass
class Failing:
    """Every verb fails."""

    error: Any = ValueError

    def fail(self, *_):
        raise self.error("planted")

    retrieve = rank = control = explain = fail


@dataclass
class Inventing:
    """A ranker that puts its own item in the place of the first."""

    def rank(self, queries, candidates):
        items = np.where(ragged.positions(candidates.offsets) == 0, 41, candidates.items).astype(np.int32)
        return replace(candidates, items=items)


@dataclass
class Oracle:
    """A ranker that knows what people of this world like: their own sixth of the first 36 items."""

    worth: float = 1.0
    calls: list[int] = field(default_factory=list, init=False, compare=False)

    def rank(self, queries, candidates):
        self.calls.append(len(queries))
        topic = queries.user[ragged.segments(candidates.offsets)] % 6
        right = (candidates.items % 6 == topic) & (candidates.items < 36)
        return candidates.scored(np.where(right, self.worth, 0.0), "oracle")


@dataclass
class FirstOnly:
    """A controller that keeps one item."""

    def control(self, queries, ranked, k):
        return ranked.top_k(1)


def cancelled(*_):
    raise CancelledError("stop")


def rows_of(lists):
    return [one.items.tolist() for one in lists]


def given(*rows):
    """These candidate rows, one list a question."""
    return Lists.of(DATA.catalog.key, [list(row) for row in rows])
