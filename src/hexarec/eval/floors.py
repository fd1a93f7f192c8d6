"""The floor ladders: what every table holds beside the systems, because whoever does not beat it has shown nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic import EASE, Because, ItemKNN, Popular, Random
from hexarec.core import Dataset, Lists, PerUser, Queries, ragged, ready, same_lineage

FLOORS: dict[str, Any] = {
    "random": Random(),
    "popular": Popular(),
    "itemknn-last3": ItemKNN(last=3),
    "ease": EASE(),
}
PRIOR = 5.0  # pairs that pull a mean of few pairs towards the mean of all


@dataclass(frozen=True)
class AsGiven:
    """The floor of given candidates: the order in which they came."""

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates, untouched."""
        return candidates


@dataclass(frozen=True, eq=False)
class Gains:
    """What is known of a gain: user and item rows (m,), gain (m,) float64 in the scale of the labels."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    gain: NDArray[np.float64]

    @classmethod
    def of(cls, data: Dataset) -> Gains:
        """The logged exposures of the data where it has any, else its log: liked is 1, another event 0."""
        log, seen = data.interactions, data.exposures
        if seen is None or seen.source != "log":
            user = ragged.segments(log.offsets)
            return cls(user, log.item.astype(np.int64), log.liked.astype(np.float64))
        rows = np.append(data.users.ids.translate(seen.queries.users), np.int32(-1))[seen.queries.user]
        gain = seen.shown.fields["gain"].astype(np.float64)
        known = ~np.isnan(gain)
        user = rows[ragged.segments(seen.shown.offsets)].astype(np.int64)
        return cls(user[known], seen.shown.items[known].astype(np.int64), (gain[known] > 0).astype(np.float64))

    @property
    def mean(self) -> float:
        """The mean of all gains, 0.5 without any."""
        return float(self.gain.mean()) if len(self.gain) else 0.5

    def means(self, rows: NDArray[np.int64], n: int) -> NDArray[np.float32]:
        """The mean gain of each of n rows, (n,), pulled towards the mean of all by PRIOR pairs."""
        there = rows >= 0
        total = np.bincount(rows[there], self.gain[there], minlength=n)
        count = np.bincount(rows[there], minlength=n)
        return ((total + PRIOR * self.mean) / (count + PRIOR)).astype(np.float32)


@dataclass
class ItemMeanGain:
    """The share of an item's pairs that were liked, whoever asks; a probability."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Count the pairs of each item."""
        gains = Gains.of(data)
        self.key_, self.mean_ = data.catalog.key, gains.mean
        self.means_ = gains.means(gains.item, data.n_items)
        return self

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by their mean gain; an item without pairs has the mean of all."""
        ready(self, queries, candidates)
        known = candidates.items < len(self.means_)
        scores = np.full(len(candidates.items), self.mean_, np.float32)
        scores[known] = self.means_[candidates.items[known]]
        return candidates.scored(scores, "item-mean")


@dataclass
class UserMeanGain:
    """The share of a user's pairs that were liked, whatever is shown; a probability.

    A user without pairs has that of the history the question states, where the log knows dislikes at all.
    """

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Count the pairs of each user."""
        gains = Gains.of(data)
        self.key_, self.mean_ = data.catalog.key, gains.mean
        met = np.bincount(gains.user[gains.user >= 0], minlength=data.n_users) > 0
        self.users_ = PerUser.of(data.users.ids, gains.means(gains.user, data.n_users), met)
        self.explicit_ = bool(len(data.interactions)) and not bool(data.interactions.liked.all())
        return self

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates as they come, all with the mean gain of who asks."""
        ready(self, queries, candidates)
        same_lineage(queries.catalog.key, candidates.key)
        learned, known = self.users_.dense(queries)
        mean = np.where(known, learned, self._stated(queries))
        return candidates.scored(np.repeat(mean, candidates.lengths), "user-mean")

    def _stated(self, queries: Queries) -> NDArray[np.float64]:
        past = queries.history
        liked = np.bincount(ragged.segments(past.offsets), past.liked, minlength=len(queries))
        count = past.lengths if self.explicit_ else np.zeros(len(queries))
        return np.asarray((liked * (count > 0) + PRIOR * self.mean_) / (count + PRIOR))


LABEL_FLOORS: dict[str, Any] = {
    "random": Random(),
    "popular": Popular(),
    "item mean gain": ItemMeanGain(),
    "user mean gain": UserMeanGain(),
}
TEXT_FLOORS: dict[str, Any] = {"template": Because()}
