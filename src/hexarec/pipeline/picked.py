"""A ranker made of simulated users: what the user of a question picks from a page of candidates stands first."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np

from hexarec.core import Catalog, Dataset, Lists, Queries, UserModel, fitted, ragged, ready
from hexarec.parts.rollout import rollout
from hexarec.pipeline.combine import grown


@dataclass
class Picked:
    """The candidates of a question are one page: what its user likes comes first, then what they look at.

    The rest follows as given. So a method that judges lists and makes none is measured beside those that make them.
    """

    people: UserModel
    """The simulated users, for example agent4rec."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the users."""
        self.key_ = data.catalog.key
        self.people_ = fitted(self.people, data, seed)
        return self

    def extend(self, catalog: Catalog) -> Self:
        """The users extended, where they can be."""
        made = copy.copy(self)
        made.people_ = grown(self.people_, catalog)
        return made

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by 2 for a like and 1 for a look; equals keep their order."""
        ready(self, queries, candidates)
        page = max(int(candidates.lengths.max(initial=0)), 1)
        shown = rollout(candidates, queries, self.people_, pages=1, per_page=page).seen.shown
        picked = 2 * np.nan_to_num(shown.fields["liked"]) + np.nan_to_num(shown.fields["watched"])
        place = ragged.positions(candidates.offsets)
        return candidates.scored((picked - place / (page + 1)).astype(np.float32), "picked")
