"""Fitted recommenders before simulated users, batch by batch: what of satisfaction, exits, diversity, popularity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Lists, Queries, UserModel, rng
from hexarec.eval.silence import heard_rollout
from hexarec.eval.tasks import answered
from hexarec.metrics.diversity import ild_tags
from hexarec.metrics.reference import Reference, Tags, segment_means
from hexarec.metrics.visits import visit_metrics
from hexarec.parts.rollout import Rollout

MEASURES = ("satisfaction", "exit_page", "like_rate", "diversity", "popularity")
DEEP = 10_000


@dataclass(frozen=True)
class Visited:
    """What came of some visits to one recommender.

    values: a number a visit by measure, None where it says nothing. satisfaction: 1 to 10. exit_page: the last page
    looked at. like_rate: liked of the items looked at. diversity: mean Jaccard distance of their tags. popularity: mean
    share of items with fewer events. said: the interviews, without who was asked. who: the users
    that those were drawn from. failed: stages of the recommender that failed, and steps in which a user's model said
    nothing of use.
    """

    values: Mapping[str, Sequence[float | None]]
    said: Sequence[Mapping[str, Any]]
    who: Sequence[str] = ()
    failed: int = 0


@dataclass(frozen=True, eq=False)
class Simulation:
    """Visits of a seeded sample of the users of a data set. people: fitted; tag: item attribute of diversity."""

    data: Dataset
    people: UserModel
    users: int
    batches: int = 10
    pages: int = 5
    per_page: int = 4
    seed: int = 0
    tag: str = ""

    def batch(self, number: int) -> Queries:
        """The questions of batch `number`, the same at every call."""
        rows = rng(self.seed, "simulation").permutation(self.data.n_users)[: self.users]
        return self.data.queries(np.sort(np.array_split(rows, self.batches)[number]), seed=self.seed)

    def visited(self, system: Any, number: int, interviews: int = 2) -> Visited:
        """Batch `number` before a recommender. Raises ModelError when no answer of the users' model came."""
        queries = self.batch(number)
        if not len(queries):
            return Visited({name: [] for name in MEASURES}, ())
        shown, failed = answered(system, queries, None, self.pages * self.per_page)
        rolled, lost = heard_rollout(shown, queries, self.people, pages=self.pages, per_page=self.per_page)
        who = tuple(queries.user_ids()[:interviews])
        return Visited(self._values(rolled, queries), _said(rolled, interviews), who, failed + lost)

    def _values(self, rolled: Rollout, queries: Queries) -> dict[str, list[float | None]]:
        seen = rolled.seen.shown
        score = np.array(
            [np.nan if (one := visit.get("satisfaction")) is None else float(one) for visit in rolled.visits]
        )
        made = {name: one.values for name, one in visit_metrics(seen, score, MEASURES[:3]).items()}
        counts = self.data.interactions.counts(self.data.n_items)
        made["popularity"] = segment_means(seen.offsets, percentiles(counts)[seen.items])
        made["diversity"] = self._diversity(seen, queries, counts)
        return {name: [_known(one) for one in made[name].tolist()] for name in MEASURES}  # type: ignore[union-attr]

    def _diversity(self, seen: Lists, queries: Queries, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        nothing = np.full(len(seen), np.nan)
        if not self.tag:
            return nothing
        tags = Tags.of(self.data.catalog.attributes[self.tag])
        values = ild_tags(seen, Reference(queries, counts, None, tags), DEEP).values
        return nothing if values is None else values


def percentiles(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of items with fewer events, ties in the middle, (n_items,): 0.5 is an item of middling popularity."""
    ordered = np.sort(counts)
    below, upto = np.searchsorted(ordered, counts, "left"), np.searchsorted(ordered, counts, "right")
    return np.asarray((below + upto) / (2.0 * max(len(counts), 1)))


def _said(rolled: Rollout, most: int) -> list[dict[str, Any]]:
    return [
        {"page": one.get("page"), "satisfaction": one.get("satisfaction"), "why": str(one.get("why", "")),
         "memory": [str(entry.get("text", "")) for entry in one.get("memory", ())]}
        for one in rolled.visits[:most]
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
