"""Quotas: at least and at most so many items of a category in a list, as a rule for greedy picking.

Where items carry one category each and the candidates suffice, greedy picking under the rule meets the quotas with the
best items. Several categories on one item make it a covering problem: picks are then exchanged for candidates as long
as that helps, which finds most lists that keep the quotas, not all. What is left is told: a full list counts more than
a ceiling, a ceiling more than a floor.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hexarec.core import OptionError
from hexarec.parts.greedy import Block, Bools, Ints

EVERY = "*"  # stands for every category that has no number of its own


@dataclass(frozen=True, eq=False)
class Quotas:
    """Floors and ceilings (c,) int64 of the categories `columns` (c,), rows of the list of all categories; `names`."""

    names: tuple[str, ...]
    columns: Ints
    floors: Ints
    ceilings: Ints

    @classmethod
    def of(cls, values: Sequence[str], at_least: Mapping[str, int], at_most: Mapping[str, int]) -> Quotas:
        """Quotas by name of the category; "*" stands for each that is not named.

        Raises OptionError for a name not among `values`, a negative number, and a floor above its ceiling.
        """
        for asked in (at_least, at_most):
            for name, number in asked.items():
                if name != EVERY and name not in values:
                    close = difflib.get_close_matches(name, values, n=1)
                    hint = f"did you mean {close[0]!r}? " if close else ""
                    raise OptionError(f"no item is of {name!r}", hint=f"{hint}there are {', '.join(values) or 'none'}")
                if number < 0:
                    raise OptionError(f"the quota of {name!r} is {number}", hint="0 or more")
        floors = [at_least.get(value, at_least.get(EVERY, 0)) for value in values]
        ceilings = [at_most.get(value, at_most.get(EVERY, np.iinfo(np.int64).max)) for value in values]
        for value, low, high in zip(values, floors, ceilings, strict=True):
            if low > high:
                raise OptionError(
                    f"at least {low} and at most {high} of {value!r}", hint="lower the one, raise the other"
                )
        ruled = [i for i in range(len(values)) if floors[i] > 0 or ceilings[i] < np.iinfo(np.int64).max]
        numbers = [np.array([column[i] for i in ruled], np.int64) for column in (floors, ceilings)]
        return cls(tuple(values[i] for i in ruled), np.array(ruled, np.int64), *numbers)

    def told(self, count: Ints) -> list[dict[str, Any]]:
        """What a list with these counts (c,) lacks or has too much of; empty when all is kept."""
        rows = zip(self.names, self.floors.tolist(), self.ceilings.tolist(), count.tolist(), strict=True)
        return [
            {
                "category": name,
                "rule": "at least" if got < low else "at most",
                "asked": low if got < low else high,
                "got": got,
            }
            for name, low, high, got in rows
            if not low <= got <= high
        ]


class Tally:
    """The rule of a block: what its lists hold so far, `count` (b, c), and which candidates may be next.

    member: which quotas' categories each candidate is of, bool (b, m, c).
    """

    def __init__(self, quotas: Quotas, block: Block, member: Bools, k: int) -> None:
        self.member, self.real, self.ceilings = member & block.real[:, :, None], block.real, quotas.ceilings
        # more than the candidates have is never waited for, or the places kept for it would go to anything
        self.floors = np.minimum(quotas.floors, self.member.sum(1))
        self.count = np.zeros((len(member), len(quotas.names)), np.int64)
        self.left = np.minimum(block.real.sum(1), k)

    def allowed(self, free: Bools) -> Bools:
        """Free candidates that break no ceiling and leave room for the floors; where there are none, the least bad."""
        broken = (self.member & (self.count >= self.ceilings)[:, None]).sum(2)
        broken[~free] = np.iinfo(np.int64).max
        fits = free & (broken == broken.min(1, keepdims=True))
        lacking = np.maximum(self.floors - self.count, 0)
        helps = np.where(fits, (self.member & (lacking > 0)[:, None]).sum(2), 0)
        # a pick has to help so much that what is still lacking fits into the places after it
        wanted = np.minimum(lacking.sum(1) - (self.left - 1), helps.max(1, initial=0))
        return np.asarray(fits & (helps >= wanted[:, None]))

    def take(self, pick: Ints, taken: Bools) -> None:
        """Count the candidates at these places (b,) of the lists marked in `taken` (b,)."""
        self.count += self.member[np.arange(len(pick)), pick] & taken[:, None]
        self.left = self.left - taken

    def mended(self, picks: Ints) -> Ints:
        """The picks (b, k) after exchanges, one at a time in each list, as long as one leaves less of a quota broken.

        The exchange that helps most is made; of equal ones a later pick goes and an earlier candidate comes, as last.
        """
        picks, rows = picks.copy(), np.flatnonzero(self._broken(self.count, self.floors))
        while len(rows) and picks.shape[1]:
            # a list with fewer candidates than places has none to exchange, so that -1 among its picks does no harm
            member, taken, at = self.member[rows], picks[rows][:, ::-1], np.arange(len(rows))
            free = self.real[rows]
            free[at[:, None], taken] = False
            after = (self.count[rows][:, None] - member[at[:, None], taken])[:, :, None] + member[:, None]
            cost = self._broken(after, self.floors[rows][:, None, None])
            cost[np.broadcast_to(~free[:, None], cost.shape)] = np.iinfo(np.int64).max
            out, new = np.divmod(cost.reshape(len(rows), -1).argmin(1), cost.shape[2])
            better = cost[at, out, new] < self._broken(self.count[rows], self.floors[rows])
            at, out, new, rows = at[better], out[better], new[better], rows[better]
            self.count[rows] = after[at, out, new]
            order = np.tile(np.arange(picks.shape[1]), (len(rows), 1))
            order[np.arange(len(rows)), picks.shape[1] - 1 - out] = picks.shape[1]
            picks[rows] = np.take_along_axis(picks[rows], order.argsort(1), 1)
            picks[rows, -1] = new
            rows = rows[self._broken(self.count[rows], self.floors[rows]) > 0]
        return picks

    def _broken(self, count: Ints, floors: Ints) -> Ints:
        """How much of the quotas counts (..., c) break: a thousand for one too many, one for one too few."""
        over, under = np.maximum(count - self.ceilings, 0).sum(-1), np.maximum(floors - count, 0).sum(-1)
        return np.asarray(1000 * over + under)
