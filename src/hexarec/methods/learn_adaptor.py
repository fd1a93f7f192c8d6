"""LEARN-Adaptor: user and item vectors of towers, fused by a small network that learns from what was liked and not.

Source:  Jia et al. 2024, AAAI 2025, arXiv:2405.03988, online part (no code was released); survey section 2.1.
Idea:    a retrieval space is not a ranking score. Two linear layers and an MLP turn both vectors into a fusion
         embedding that predicts the conversion; fusion, both vectors and what else is known enter the ranker.
Differs: the product of both sides enters the MLP too; the production ranker is a network of one hidden layer; towers
         learn from what lies before a cut in time and the adaptor from what comes after it, so no event teaches both.
Cost:    one forward of a few thousand weights per candidate, in numpy; fitting is seconds.
Needs:   ratings, a backbone (learn_towers), torch to fit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Backbone,
    Catalog,
    DataError,
    Dataset,
    Lists,
    MissingExtraError,
    Queries,
    Ranker,
    at_least,
    fitted,
    holdout,
    ragged,
    ready,
    same_lineage,
)
from hexarec.parts.pointwise import Negatives, split_cases

Floats = NDArray[np.float32]


@dataclass
class LearnAdaptor:
    """A pointwise ranker over the vectors of a backbone.

    towers: what gives users and items their vectors. others: rankers whose scores enter beside them, the paper's
    existing features. width: of the linear layers and the MLP. fusion: length of the fusion embedding. share: newest
    part of the log, from which the adaptor learns; towers and others learn from the rest. negatives: log takes what the
    log says was not liked, drawn an item that the user never met. epochs: passes over its cases. batch: cases a step.
    rate: highest step of AdamW. decay: weight decay of its matrices.
    """

    towers: Backbone
    others: Sequence[Ranker] = ()
    width: int = 64
    fusion: int = 32
    share: float = 0.2
    negatives: Negatives = "drawn"
    epochs: int = 60
    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.01

    def __post_init__(self) -> None:
        at_least(self, width=1, fusion=1, epochs=1, batch=1, decay=0)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the towers before the cut, the adaptor after it. Raises DataError where that leaves only one label."""
        try:
            from hexarec.parts.train.fusion import fuse
            from hexarec.parts.train.loop import Plan
        except ImportError:
            raise MissingExtraError("torch", "train") from None
        self.key_ = data.catalog.key
        before, cases = (
            holdout(data, self.share).train,
            split_cases(data, self.share, negatives=self.negatives, seed=seed)[1],
        )
        if not len(cases) or cases.liked.all() or not cases.liked.any():
            raise DataError(
                f"the newest {self.share:.0%} of {data.name} has no cases of both labels",
                hint="a larger share" + (", or negatives='drawn'" if self.negatives == "log" else ""),
            )
        self.towers_ = fitted(self.towers, before, seed)
        self.others_ = [fitted(one, before, seed) for one in self.others]
        self.mean_, self.scale_ = np.zeros(len(self.others), np.float32), np.ones(len(self.others), np.float32)
        users, items, more = self._sides(cases.queries, cases.lists)
        if len(self.others):
            self.mean_, self.scale_ = more.mean(0), 1.0 / np.maximum(more.std(0), np.float32(1e-6))
        plan = Plan(self.epochs, self.batch, self.rate, schedule="cosine", decay=self.decay)
        sides = (users, items, self._scaled(more))
        self.weights_ = fuse(sides, cases.liked, self.width, self.fusion, plan, seed)
        return self

    def _sides(self, queries: Queries, lists: Lists) -> tuple[Floats, Floats, Floats]:
        """Of each candidate: its user's vector, its own, and the other rankers' scores (0 where there is none)."""
        vectors = self.towers_.items()
        items = np.zeros((len(lists.items), vectors.shape[1]), np.float32)
        known = lists.items < len(vectors)
        items[known] = vectors[lists.items[known]]
        users = self.towers_.users(queries)[ragged.segments(lists.offsets)]
        more = [_given(one.rank(queries, lists), lists) for one in self.others_]
        return users, items, np.stack(more, 1) if more else np.zeros((len(items), 0), np.float32)

    def _scaled(self, more: Floats) -> Floats:
        return np.asarray((more - self.mean_) * self.scale_, np.float32)

    def features(self, queries: Queries, lists: Lists) -> Floats:
        """(m, fusion + 2 out) float32: fusion, user and item vector of each candidate, for a ranker of one's own."""
        ready(self, queries, lists)
        users, items, _ = self._sides(queries, lists)
        return np.hstack([self._fused(users, items), users, items])

    def _fused(self, users: Floats, items: Floats) -> Floats:
        u, i = self._linear("user", users), self._linear("item", items)
        inner = np.maximum(self._linear("inner", np.hstack([u, i, u * i])), 0.0)
        return np.maximum(self._linear("fusion", inner), 0.0)

    def _linear(self, name: str, x: Floats) -> Floats:
        return np.asarray(x @ self.weights_[f"{name}.weight"].T + self.weights_[f"{name}.bias"], np.float32)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by the probability of being liked, float32 in [0, 1]."""
        ready(self, queries, candidates)
        users, items, more = self._sides(queries, candidates)
        everything = np.hstack([self._fused(users, items), users, items, self._scaled(more)])
        odds = self._linear("ranker", np.maximum(self._linear("mix", everything), 0.0))[:, 0]
        return candidates.scored(1.0 / (1.0 + np.exp(-odds)), "learn_adaptor")

    def extend(self, catalog: Catalog) -> Self:
        """New items of the towers; nothing is trained."""
        same_lineage(self.key_, catalog.key)
        made = copy.copy(self)
        made.towers_, made.others_ = _grown(self.towers_, catalog), [_grown(one, catalog) for one in self.others_]
        return made


def _grown(stage: Any, catalog: Catalog) -> Any:
    return stage.extend(catalog) if hasattr(stage, "extend") else stage


def _given(ranked: Lists, lists: Lists) -> Floats:
    """The scores of a ranker in the order of the lists it was given; 0 where it gave none."""
    wide = int(lists.items.max(initial=0)) + 1
    now, then = (ragged.segments(one.offsets) * wide + one.items for one in (ranked, lists))
    made = np.empty(len(then), np.float32)
    made[np.argsort(then, kind="stable")] = ranked.scores[np.argsort(now, kind="stable")]
    return np.nan_to_num(made, nan=0.0, posinf=0.0, neginf=0.0)
