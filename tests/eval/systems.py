"""Systems whose answers are known, and a small task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hexarec.core import Lists, Queries, best
from hexarec.data.worlds import world
from hexarec.eval.tasks import Ranking
from hexarec.lm.fake import Overlap

ASKED: list[tuple[str, int]] = []  # (name, questions) of every call of a Tally


@dataclass
class Tally:
    """A retriever in row order that notes every call; holding a model, it is asked in small blocks."""

    name: str = "tally"
    stop_at: int | None = None
    lm: Any = field(default_factory=Overlap)

    def retrieve(self, queries: Queries, k: int) -> Lists:
        if self.stop_at is not None and len(ASKED) >= self.stop_at:
            raise KeyboardInterrupt
        ASKED.append((self.name, len(queries)))
        scores = -np.arange(len(queries.catalog), dtype=np.float32)
        return best(queries, lambda part: np.broadcast_to(scores, (len(part), len(scores))), k)


@dataclass
class Oracle:
    """A retriever that was told what is right: a list of (user, items)."""

    right: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def retrieve(self, queries: Queries, k: int) -> Lists:
        known = dict(self.right)
        return Lists.of(queries.catalog.key, [known.get(user, ())[:k] for user in queries.user_ids()])


@dataclass
class Backwards:
    """A bare ranker."""

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        return candidates.scored(-np.arange(len(candidates.items), dtype=np.float32))


def task(**options: Any) -> Ranking:
    return Ranking(world("order").data, "last", **options)


def oracle(made: Ranking) -> Oracle:
    asked = made.round()
    right = [tuple(asked.truth[i].items.tolist()) for i in range(len(asked.truth))]
    return Oracle(tuple(zip(asked.queries.user_ids(), right, strict=True)))
