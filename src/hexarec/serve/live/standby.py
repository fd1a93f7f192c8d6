"""The list that is always there: popular items, under the same filters and exclusions, without any stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Queries
from hexarec.serve.live.given import Given


@dataclass(frozen=True, eq=False)
class Standby:
    """Catalog rows by how often they were met, most first, (n,) int32, and those counts."""

    order: NDArray[np.int32]
    counts: NDArray[np.float32]

    @classmethod
    def of(cls, catalog: Catalog, counts: NDArray[np.float32]) -> Standby:
        """From one count per catalog row; ties by row."""
        order = np.argsort(-counts, kind="stable").astype(np.int32)
        return cls(order, counts[order])

    def given(
        self, queries: Queries, i: int, k: int, stage: str, why: str, candidates: NDArray[np.int32] | None = None
    ) -> Given:
        """At most k permitted items for question i, and the reason why these."""
        one = queries.take(np.array([i]))
        order, counts = self.order, self.counts
        if candidates is not None:
            inside = np.isin(order, candidates)
            order, counts = order[inside], counts[inside]
        keep = ~one.forbidden(len(queries.catalog))[0][order]
        rows, scores = order[keep][:k], counts[keep][:k]
        return Given(
            items=tuple(queries.catalog.ids(rows)),
            scores=tuple(scores.tolist()),
            sources=("standby",) * len(rows),
            propensities=(1.0,) * len(rows),
            reasons=(None,) * len(rows),
            degraded=({"stage": stage, "method": "standby", "why": why},),
            policy="standby",
        )
