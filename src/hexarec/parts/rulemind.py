"""A simulated user by rules: the twin of one that a language model plays, and the control beside it.

Taste is a logistic curve over the score of a factor model, learned from likes that were held out; traits shift it.
Everything else is a fixed rule whose numbers stand here. No model is asked, so a million pages cost seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Backbone,
    Dataset,
    PerUser,
    Queries,
    degrade,
    fitted,
    rng,
)
from hexarec.parts.heldpairs import held_pairs
from hexarec.parts.visit import Judged, Mood, Scene

BROAD = 0.5  # of the log-odds of suiting, per level of diversity above 2
TAKES = (0.5, 0.75, 0.95)  # chance that a suiting item is taken up, by activity
OWN = (0.2, 0.5, 0.8)  # weight of one's own opinion against the common one, by conformity
OPINION, NOISE = 0.6, 0.6  # rating points per unit of taste, and their scatter
# log-odds of leaving: at the first page, per page more, per level of activity above 2, from all liked to none liked
LEAVE, TIRED, LOYAL, DULL = -3.2, 1.4, -1.3, 2.0
PAIRS = 2_000  # held-out likes that the curve is learned from, at most
PLAIN = (1.0, -1.0)  # slope and intercept where nothing could be held out
Floats = NDArray[np.float64]


@dataclass
class RuleMind:
    """Decides for simulated users by rules.

    taste_by: vectors of users and items whose products say what suits. low, high: ends of the scale. likes: a
    rating from here on is a like.
    """

    taste_by: Backbone
    low: int = 1
    high: int = 5
    likes: float = 4.0

    def fit(self, data: Dataset, means: Floats, *, seed: int = 0) -> Self:
        """Learn the curve from held-out likes, then the vectors of everybody from the whole log."""
        self.curve_ = list(self._curve(data, seed))
        made = fitted(self.taste_by, data, seed)
        queries = data.queries()
        self.users_ = PerUser.of(data.users.ids, np.asarray(made.users(queries), np.float32), _met(queries))
        self.items_ = np.asarray(made.items(), np.float32)
        self._settle(means)
        return self

    def extend(self, means: Floats) -> RuleMind:
        """Room for new items, which nobody has a taste for yet. means: (n_items,) of all items."""
        made = RuleMind(self.taste_by, self.low, self.high, self.likes)
        made.curve_, made.users_ = self.curve_, self.users_
        new = np.zeros((len(means) - len(self.items_), self.items_.shape[1]), np.float32)
        made.items_ = np.concatenate([self.items_, new])
        made._settle(means)
        return made

    def _settle(self, means: Floats) -> None:
        self.centre_ = self.items_.mean(0)
        self.spread_ = _spread(self.items_)
        common = float(np.nanmean(means)) if (~np.isnan(means)).any() else (self.low + self.high) / 2
        self.means_, self.common_ = np.where(np.isnan(means), common, means), common

    def _curve(self, data: Dataset, seed: int) -> tuple[float, float]:
        """Slope and intercept of the log-odds of a like over taste: held-out likes against as many items not met."""
        pairs = held_pairs(data, PAIRS, seed) if len(data.interactions) else None
        if pairs is None or not len(pairs.liked):
            degrade("no like could be held out: the rule-based user takes a fixed curve of taste")
            return PLAIN
        made = fitted(self.taste_by, pairs.train, seed)
        users, items = np.asarray(made.users(pairs.queries), np.float64), np.asarray(made.items(), np.float64)
        sides = (pairs.liked, pairs.other)
        x = np.concatenate([_standing(users, items[rows] - items.mean(0), _spread(items)) for rows in sides])
        return _logistic(x, np.repeat([1.0, 0.0], len(pairs.liked)))

    def taste(self, scene: Scene) -> Floats:
        """(items,) how much more the items suit than the catalog does on average, in standard deviations; 0 unknown."""
        row = -1 if scene.visit.user is None else int(self.users_.users.rows([scene.visit.user])[0])
        if row < 0 or not self.users_.known[row]:
            return np.zeros(len(scene.rows))
        own = np.asarray(self.users_.values)[row].astype(np.float64)
        rows = self.items_[list(scene.rows)] - self.centre_
        return _standing(np.broadcast_to(own, rows.shape), rows, self.spread_)

    def judge(self, scenes: Sequence[Scene]) -> list[list[Judged]]:
        """Suits by a draw from the curve, taken up by activity, rated between the common opinion and one's own."""
        return [self._judged(scene) for scene in scenes]

    def _judged(self, scene: Scene) -> list[Judged]:
        slope, intercept = self.curve_
        taste, made = self.taste(scene), []
        odds = slope * taste + intercept + BROAD * (scene.who.diversity - 2)
        for row, item, liking, value in zip(scene.rows, scene.ids, taste, odds, strict=True):
            aligned = scene.visit.draw("suits", item) < _sigmoid(float(value))
            taken = aligned and scene.visit.draw("takes", item) < TAKES[scene.who.activity - 1]
            if not taken:
                made.append(Judged(item, aligned))
                continue
            scatter = rng(scene.visit.seed, "opinion", scene.visit.user or "", item).standard_normal()
            own = self.common_ + OPINION * float(liking) + NOISE * float(scatter)
            weight = OWN[scene.who.conformity - 1]
            rating = round(float(np.clip((1 - weight) * self.means_[row] + weight * own, self.low, self.high)))
            made.append(Judged(item, True, True, float(rating), rating >= self.likes))
        return made

    def feel(self, scenes: Sequence[Scene]) -> list[Mood]:
        """Content where half of what was shown so far suits; leaves by a draw: later and duller is likelier."""
        made = []
        for scene in scenes:
            visit = scene.visit
            odds = LEAVE + TIRED * (visit.page - 1) + LOYAL * (scene.who.activity - 2) + DULL * (1 - visit.share(3))
            made.append(Mood(visit.share(1) >= 0.5, visit.draw("leaves") < _sigmoid(odds)))
        return made

    def interview(self, scenes: Sequence[Scene]) -> list[tuple[float, str]]:
        """From 1 (nothing suits) to 10 (everything suits and is liked)."""
        return [(round(1 + 4.5 * (one.visit.share(1) + one.visit.share(3)), 1), "") for one in scenes]


def _met(queries: Queries) -> NDArray[np.bool_]:
    return np.asarray(queries.history.lengths > 0)


def _spread(items: NDArray[np.floating]) -> Floats:
    """Covariance (d, d) of item vectors."""
    return np.atleast_2d(np.cov(items.T.astype(np.float64), bias=True)) if len(items) else np.zeros((0, 0))


def _standing(users: Floats, items: NDArray[np.floating], spread: Floats) -> Floats:
    """(n,) product of each user with its centred item, in deviations of that user over the catalog; 0 for none."""
    width = np.sqrt(np.maximum(np.einsum("nd,de,ne->n", users, spread, users), 0.0))
    return np.asarray((users * items).sum(1) / np.where(width > 1e-9, width, np.inf))


def _logistic(x: Floats, y: Floats, ridge: float = 0.01) -> tuple[float, float]:
    """Slope and intercept of a logistic curve, by Newton's method; the slope is kept finite by a small ridge."""
    columns, weights = np.column_stack([x, np.ones(len(x))]), np.zeros(2)
    penalty = np.array([ridge * len(x), 1e-9])
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-np.clip(columns @ weights, -30, 30)))
        gradient = columns.T @ (p - y) + penalty * weights
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(penalty)
        weights = weights - np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
    return float(weights[0]), float(weights[1])


def _sigmoid(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(value, -30, 30))))
