"""What feedback teaches about each user: a number steered towards a goal, and a bandit over a few arms.

Source: PI control (any textbook); Sutton and Barto 2018, section 2.2 (epsilon-greedy). Both are values: learning gives
a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hexarec.core import IdTable, PerUser, Queries, rng
from hexarec.core import ragged as rg

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Steered:
    """A number per user under PI control; `users` holds (n, 2): the number and the sum of its errors."""

    users: PerUser

    @classmethod
    def of(cls, users: IdTable) -> Steered:
        """Nothing steered yet."""
        return cls(PerUser.of(users, np.zeros((len(users), 2)), np.zeros(len(users), bool)))

    def moved(
        self,
        users: Sequence[str],
        start: Numbers,
        error: Numbers,
        gains: tuple[float, float],
        bounds: tuple[float, float],
    ) -> Steered:
        """Each number plus gain * error plus the other gain * summed error, within bounds.

        start (m,): the number of a user who has none yet. error (m,): goal less what was reached; a user who stands
        there several times is moved as often, in that order.
        """
        table = self.users.with_users(users)
        values, known, rows = np.array(table.values), table.known.copy(), table.users.rows(users)
        for turn in _turns(rows):
            own = rows[turn]
            now = np.where(known[own], values[own, 0], start[turn])
            total = values[own, 1] + error[turn]
            free = now + gains[0] * error[turn] + gains[1] * total
            values[own, 0] = np.clip(free, *bounds)
            # at a bound the sum stands still, or it would hold the number there long after
            values[own, 1] = np.where(values[own, 0] == free, total, values[own, 1])
            known[own] = True
        return Steered(replace(table, values=values, known=known))

    def reset(self, users: Sequence[str]) -> Steered:
        """Without the numbers of these users."""
        return Steered(self.users.reset(users))


def _turns(rows: NDArray[np.int32]) -> list[Ints]:
    """The positions of the first of each row, of the second of each, and so on."""
    order = np.argsort(rows, kind="stable")
    place = np.empty(len(rows), np.int64)
    place[order] = rg.positions(rg.offsets_of(np.unique(rows, return_counts=True)[1]))
    return [np.flatnonzero(place == turn) for turn in range(int(place.max(initial=-1)) + 1)]


@dataclass(frozen=True, eq=False)
class Bandit:
    """Trials and summed rewards of each arm: `all` (2, arms) of everybody, `users` (n, 2, arms) of each user.

    explored: share of random choices. prior: trials of everybody that stand beside a user's own.
    """

    all: Numbers
    users: PerUser
    explored: float = 0.1
    prior: float = 5.0

    @classmethod
    def of(cls, users: IdTable, arms: int) -> Bandit:
        """A bandit that has seen nothing."""
        nothing = np.zeros((len(users), 2, arms))
        return cls(np.zeros((2, arms)), PerUser.of(users, nothing, np.zeros(len(users), bool)))

    def choose(self, queries: Queries, seed: int, *words: str) -> tuple[Ints, Numbers]:
        """An arm for each question (n,), and the probability with which it is chosen (n,).

        Drawn by seed, words, user and the user's trials so far: the same for a user until something is learned. An arm
        that nobody tried counts as one better than the best.
        """
        own, _ = self.users.dense(queries)
        tried, won = self.all
        mean = np.divide(won, tried, out=np.full(len(tried), -np.inf), where=tried > 0)
        mean[tried == 0] = mean.max() + 1.0 if (tried > 0).any() else 0.0
        best = ((own[:, 1] + self.prior * mean) / (own[:, 0] + self.prior)).argmax(1)
        arm, trials = best.copy(), own[:, 0].sum(1).astype(np.int64).tolist()
        for i, name in enumerate(queries.user_ids()):
            draw = rng(seed, *words, name, int(queries.seed[i]), trials[i])
            if draw.random() < self.explored:
                arm[i] = draw.integers(len(tried))
        return arm, self.explored / len(tried) + (1.0 - self.explored) * (arm == best)

    def learn(self, users: Sequence[str], arm: Ints, reward: Numbers) -> Bandit:
        """The bandit after these trials, at most one a user: arm (m,) and reward (m,)."""
        table = self.users.with_users(users)
        rows, values, known = table.users.rows(users), np.array(table.values), table.known.copy()
        everybody = self.all.copy()
        for place, amount in ((0, np.ones(len(arm))), (1, reward)):
            everybody[place] += np.bincount(arm, amount, everybody.shape[1])
            values[rows, place, arm] += amount
        known[rows] = True
        return replace(self, all=everybody, users=replace(table, values=values, known=known))

    def reset(self, users: Sequence[str]) -> Bandit:
        """The bandit without these users' own trials; those of everybody stay."""
        return replace(self, users=self.users.reset(users))
