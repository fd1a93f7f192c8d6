"""Two cheap filters from a new item to the users worth asking about: text likeness, and behaviour mapped from text.

Source: the coupled filter of ColdLLM (arXiv:2402.09176), whose two networks are a mean and a ridge regression here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, PerUser
from hexarec.lm.base import Encoder
from hexarec.parts.audience import Audience, Placed, likeliest
from hexarec.parts.encoded import encoded
from hexarec.parts.vectors import unit

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Funnel:
    """What the filters learned.

    encoder: texts to vectors. mean: of those of items with likes (dim,). profiles: the mean text of what each user
    liked, (n_users, dim). behaviour: collaborative vectors of users. map: (dim, d) from text to their space.
    """

    encoder: Encoder
    mean: Floats
    profiles: PerUser
    behaviour: PerUser
    map: Floats

    @classmethod
    def of(
        cls, encoder: Encoder, texts: Sequence[str], data: Dataset, placed: Placed, behaviour: PerUser, ridge: float
    ) -> Self:
        """Learned from the texts of all items; those with words and likes teach the map.

        ridge: of the map, in shares of the mean square.
        """
        rows = encoded(encoder, texts)
        worded = np.array([bool(text) for text in texts])
        warm = ~placed.cold & worded
        mean = rows[warm].mean(0)
        near = unit(rows - mean) * worded[:, None]
        profiles = unit(data.interactions.matrix(data.n_items) @ near)
        by = _ridge(near[warm], placed.items[warm], ridge)
        return cls(encoder, mean, PerUser.of(data.users.ids, profiles, behaviour.known), behaviour, by)

    def near(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit vectors of texts around the mean, zeros for empty ones."""
        worded = np.array([bool(text) for text in texts], np.float32)
        return np.asarray(unit(encoded(self.encoder, texts) - self.mean) * worded[:, None], np.float32)

    def mapped(self, texts: Sequence[str]) -> Floats:
        """(n, d) where the items' text puts them in the collaborative space; zeros for empty ones."""
        return np.asarray(self.near(texts) @ self.map, np.float32)

    def kept(self, texts: Sequence[str], k: int) -> Audience:
        """k users of each item, nobody for one without words: the best of the two filters in turns.

        p is one over the better of a user's two places.
        """
        known = self.behaviour.known
        score = np.zeros((len(texts), len(known)), np.float32)
        for rows, people in ((self.near(texts), self.profiles), (self.mapped(texts), self.behaviour)):
            by = np.where(known, rows @ np.asarray(people.values).T, -np.inf)
            place = np.argsort(np.argsort(-by, axis=1, kind="stable"), axis=1)
            score = np.maximum(score, (1.0 / (1.0 + place)).astype(np.float32))
        score[[not text for text in texts]] = 0.0
        return likeliest(score, known, k)


def _ridge(x: Floats, y: Floats, share: float) -> Floats:
    """The (dim, d) map that brings rows of x nearest to those of y."""
    left = x.T.astype(np.float64) @ x
    left += max(share * float(np.trace(left)) / len(left), 1e-9) * np.eye(len(left))
    return np.asarray(np.linalg.solve(left, x.T.astype(np.float64) @ y), np.float32)
