"""Simulated interactions of items nobody has met: who would like them, and what that makes of their vectors.

Source: the update of a cold item's embedding by simulated users, as in ColdLLM (arXiv:2402.09176) and FilterLLM
(arXiv:2502.16924): users stand still, the item moves as the collaborative model would move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Backbone, Dataset, Features, Lists, PerUser, Queries, best, rescored, rng

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
How = Literal["bpr", "solve", "text"]
STEPS, RATE, RIDGE = 30, 0.1, 0.01
UNOBSERVED = 0.1  # weight of the users who are not in an audience, in the closed form


@dataclass(frozen=True, eq=False)
class Audience:
    """For each of n items at most k users, likeliest first: rows of a user table (n, k), -1 for none; p (n, k)."""

    users: Ints
    p: Floats


def likeliest(p: Floats, known: NDArray[np.bool_], k: int) -> Audience:
    """The k likeliest known users of each row of (n, n_users); ties go to the smaller row, NaN and zeros to nobody."""
    p = np.where(known & (p > 0), p, -1.0)
    k = min(k, p.shape[1])
    users = np.argsort(-p, axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(p, users, 1)
    return Audience(np.where(chosen > 0, users, -1), np.maximum(chosen, 0.0).astype(np.float32))


def moved(
    start: Floats, audience: Audience, people: Floats, warm: Floats, how: How, names: Sequence[str], seed: int
) -> Floats:
    """(n, d) vectors of items: from `start`, pulled to the vectors of their audience.

    people: (n_users, d), fixed. warm: (m, d) vectors of items that have events. how: bpr takes a few steps that lift an
    item above drawn warm ones for each user of its audience, solve is the least-squares answer to "1 for the audience,
    0 for the others", text leaves the start. names: of the items, for the draws. An item without audience stays.
    """
    made = start.astype(np.float32).copy()
    gram = UNOBSERVED * (people.T @ people) if how == "solve" else None
    for n, own in enumerate(audience.users if how != "text" else ()):
        some = people[own[own >= 0]]
        if not len(some):
            continue
        if gram is not None:
            left = some.T @ some + gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
            made[n] = np.linalg.solve(left, some.sum(0))
        elif len(warm):
            made[n] = _stepped(made[n], some, people, warm, rng(seed, "audience", names[n]))
    return made


def _stepped(item: Floats, some: Floats, people: Floats, warm: Floats, draw: np.random.Generator) -> Floats:
    """Pairwise steps (BPR) of one item with users fixed; a step is a share of a warm item's length.

    For its audience the item shall stand above drawn warm items, for as many drawn users below: without the second,
    which is what an item gets as the negative of others' pairs, new items would crowd out all that is warm.
    """
    length = float(np.sqrt((warm**2).sum(1).mean()))
    side = np.repeat([1.0, -1.0], len(some)).astype(np.float32)
    for _ in range(STEPS):
        users = np.concatenate([some, people[draw.integers(len(people), size=len(some))]])
        gap = item - warm[draw.integers(len(warm), size=len(users))]
        slope = side / (1.0 + np.exp(np.clip(side * (users * gap).sum(1), -30.0, 30.0)))
        push = slope @ users / max(float(np.linalg.norm(users, axis=1).sum()), 1e-12)
        item = item + np.float32(RATE) * (length * push - np.float32(RIDGE) * item)
    return np.asarray(item, np.float32)


@dataclass(frozen=True)
class Placed:
    """A fitted collaborative model whose new items have vectors.

    items: (n_items, d). cold: (n_items,) without likes. popular: (n_items,) likes over the largest count.
    """

    cf: Backbone
    items: Floats
    cold: NDArray[np.bool_]
    popular: Floats

    @classmethod
    def of(cls, cf: Backbone, data: Dataset) -> Placed:
        """The vectors of a fitted model; cold are the items that nobody liked, with zeros."""
        counts = data.interactions.counts(data.n_items, liked=True)
        items = np.where((counts > 0)[:, None], cf.items(), 0.0).astype(np.float32)
        return cls(cf, items, counts == 0, (counts / max(int(counts.max(initial=0)), 1)).astype(np.float32))

    @property
    def warm(self) -> Floats:
        """The vectors of items with events."""
        return self.items[~self.cold]

    def with_rows(self, rows: Ints, vectors: Floats) -> Placed:
        """With these vectors at these rows, of which new ones are appended."""
        more = max(int(rows.max(initial=-1)) + 1 - len(self.items), 0)
        items = np.concatenate([self.items, np.zeros((more, self.items.shape[1]), np.float32)])
        items[rows] = vectors
        cold, popular = np.append(self.cold, np.ones(more, bool)), np.append(self.popular, np.zeros(more, np.float32))
        return Placed(self.cf, items, cold, popular)

    def scores(self, queries: Queries) -> Floats:
        """Products (n, n_items); popularity where a user's vector says nothing."""
        scores = (users := self.cf.users(queries)) @ self.items.T
        scores[~users.any(axis=1)] = self.popular
        return np.asarray(scores, np.float32)

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the largest product."""
        return best(queries, self.scores, k)

    def rank(self, queries: Queries, candidates: Lists, name: str) -> Lists:
        """The candidates by product."""
        return rescored(queries, candidates, self.scores, name)

    def features(self, maker: str, model: str) -> Features:
        """All vectors as a feature table; items nobody could place are masked."""
        return Features(self.items.copy(), np.asarray(self.items.any(axis=1)), {"maker": maker, "model": model})


def people_of(cf: Backbone, data: Dataset) -> PerUser:
    """The vectors of all users of a data set, (n_users, d); known are those who liked something."""
    queries = data.queries()
    vectors = cf.users(queries).astype(np.float32)
    liked = data.interactions.matrix(data.n_items).sum(1) > 0
    return PerUser.of(data.users.ids, vectors, np.asarray(liked) & vectors.any(axis=1))


def spread(rows: Floats) -> float:
    """The root of the mean square of all numbers, above 0."""
    return max(float(np.sqrt((rows**2).mean())), 1e-9) if rows.size else 1.0


def newest(data: Dataset, rows: Ints, share: float, seed: int) -> Ints:
    """Positions of the `share` of some items that were met last, drawn ones where the log has no clock.

    One item is left at least; of few none is taken.
    """
    n = min(round(share * len(rows)), len(rows) - 1)
    if n < 2:
        return np.zeros(0, np.int64)
    met = np.full(data.n_items, np.inf)
    np.minimum.at(met, data.interactions.item, data.interactions.time)
    drawn = rng(seed, "newest").permutation(len(rows))
    return np.sort((np.argsort(-met[rows], kind="stable") if data.interactions.clock else drawn)[:n])
