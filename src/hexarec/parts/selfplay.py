"""A policy that learns from pairs and against answers of its own, and where the rejected answers come from.

Source: Gao et al. 2025, SPRec, arXiv:2412.09243. The exact optimum of the pairwise loss with chosen answers drawn from
p and rejected ones from q is proportional to reference (p / q)^(1 / beta): q uniform sharpens p, q = p changes nothing,
q = the policy pulls it towards p. A full step overshoots, so the rounds are short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Queries, Retriever, rng, track
from hexarec.parts.nexts import Nexts

Items = NDArray[np.int32]
Negatives = Literal["self", "uniform", "popular", "hard", "mix"]
Rejected = Callable[["Policy", Nexts, int], Items]


class Policy(Protocol):
    """What plays: a distribution over items that depends on the question."""

    def answers(self, queries: Queries, temperature: float, seed: int) -> Items:
        """One item for each question, -1 for none; the likeliest at temperature 0, else drawn."""

    def imitate(self, pairs: Nexts, seed: int) -> float:
        """One pass of supervised learning; the mean loss."""

    def prefer(self, pairs: Nexts, rejected: Items, seed: int) -> float:
        """One pass of preference learning, measured from the policy as it is when called; the mean loss."""


@dataclass(frozen=True)
class Round:
    """What a round did: pairs drawn, pairs whose answers were equal or missing, and the mean losses of both passes.

    same: the share of pairs whose rejected answer is the chosen one; they teach nothing and are left out.
    """

    number: int
    pairs: int
    same: float
    missing: float
    imitation: float
    preference: float | None


def play(
    policy: Policy, pairs: Nexts, rejected: Rejected, *, rounds: int, size: int, seed: int
) -> list[dict[str, Any]]:
    """Let the policy play `rounds` rounds of `size` pairs each; an account of every round.

    A round draws pairs, asks for rejected answers before it learns, imitates the chosen ones, and then prefers them.
    """
    told = []
    for number in track(range(rounds), "round"):
        draw = rng(seed, "self-play", number)
        drawn = pairs.take(np.sort(draw.permutation(len(pairs))[:size]))
        worse = rejected(policy, drawn, number)
        loss = policy.imitate(drawn, seed + number)
        missing, same = worse < 0, worse == drawn.item
        kept = np.flatnonzero(~missing & ~same)
        preference = policy.prefer(drawn.take(kept), worse[kept], seed + number) if len(kept) else None
        told.append(asdict(Round(number, len(drawn), float(same.mean()), float(missing.mean()), loss, preference)))
    return told


@dataclass(frozen=True, eq=False)
class Sampler:
    """Where rejected answers come from.

    self: the policy, at a temperature. uniform: permitted items alike. popular: permitted items by their likes.
    hard: the best item of a retriever that is not the chosen one. mix: the policy for a share `rho`, uniform for the
    rest. counts: (n_items,) likes.
    """

    kind: Negatives
    counts: NDArray[np.float64]
    temperature: float = 0.0
    rho: float = 0.5
    retriever: Retriever | None = None
    seed: int = 0

    def __call__(self, policy: Policy, pairs: Nexts, number: int) -> Items:
        """(n,) rejected items, -1 where there is none."""
        seed = int(rng(self.seed, "rejected", number).integers(2**31))
        if self.kind == "hard":
            return self._hard(pairs)
        if self.kind in ("uniform", "popular"):
            return self._drawn(pairs, seed)
        own = policy.answers(pairs.queries, self.temperature, seed)
        if self.kind == "self":
            return own
        mine = rng(seed, "mix").random(len(pairs)) < self.rho
        return np.where(mine, own, self._drawn(pairs, seed))

    def _drawn(self, pairs: Nexts, seed: int) -> Items:
        banned = pairs.queries.forbidden(len(self.counts))
        weights = self.counts if self.kind == "popular" else np.ones(len(self.counts))
        made = np.full(len(pairs), -1, np.int32)
        for i in range(len(pairs)):
            total = np.cumsum(np.where(banned[i], 0.0, weights))
            if total[-1] > 0:
                made[i] = np.searchsorted(total, rng(seed, "drawn", i).random() * total[-1], side="right")
        return made

    def _hard(self, pairs: Nexts) -> Items:
        assert self.retriever is not None
        found = self.retriever.retrieve(pairs.queries, 2).padded(2)
        return np.where(found[:, 0] == pairs.item, found[:, 1], found[:, 0])
