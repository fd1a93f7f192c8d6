"""PlackettLuce: lists drawn from a ranking, with the probability of every choice.

Source: Plackett 1975, "The Analysis of Permutations", Applied Statistics 24(2); drawn with Gumbel noise: Oosterhuis
2021, SIGIR, arXiv:2105.00855.
Idea: the item of rank r has the weight r ** (-1 / temperature); slot by slot one of the items left is drawn in
proportion to its weight, and the field `propensity` says with which probability. What is logged with its propensity
can tell later how another ranking would have done.
Differs: weights come from ranks and not from scores, so one temperature suits every ranker; the head of the list may be
kept. Put it last: behind it stands no other controller, or the pipeline says NaN, for not known, of its propensities.
Cost: a sort of `window` numbers per list.
Needs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Lists, OptionError, Queries, at_least, ready, rng
from hexarec.core.ragged import offsets_of
from hexarec.parts.greedy import reordered


@dataclass
class PlackettLuce:
    """Drawn lists; the same question draws the same list, the context entry `request` another one for each request."""

    temperature: float = 0.3
    """0 keeps the order; at 1 the first item is drawn first twice as often as the second."""
    window: int = 50
    """The first items of the ranking that may be drawn; the rest keep their places behind them."""
    keep: int = 0
    """Places at the head that are not drawn."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Note the seed. Raises OptionError for a bad option."""
        at_least(self, window=1, keep=0)
        if not 0.0 <= self.temperature < float("inf"):
            raise OptionError(f"temperature is {self.temperature}, not 0 or more")
        self.key_, self.seed_ = data.catalog.key, seed
        return self

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items of each list, drawn, with their propensities (float32, in the order shown)."""
        ready(self, queries, ranked)
        places, chances = [], []
        for i, user in enumerate(queries.user_ids()):
            context = {} if queries.context is None else (queries.context[i] or {})
            words = (int(queries.seed[i]), user, str(context.get("request", "")))
            place, chance = self._drawn(int(ranked.lengths[i]), k, words)
            places.append(int(ranked.offsets[i]) + place)
            chances.append(chance)
        offsets = offsets_of(np.array([len(one) for one in places], np.int64))
        flat = np.concatenate([*places, np.zeros(0, np.int64)]).astype(np.int64)
        made = reordered(ranked, flat, offsets, "plackettluce")
        chance = np.concatenate([*chances, np.zeros(0)]).astype(np.float32)
        return replace(made, fields={**made.fields, "propensity": chance})

    def _drawn(self, n: int, k: int, words: tuple[int, str, str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Places in the list of n items, and the probability of each given those before it."""
        order, chance = np.arange(n), np.ones(n)
        stop = min(n, self.window)
        if self.temperature > 0.0 and stop - self.keep > 1:
            log_weight = -np.log(np.arange(self.keep, stop) + 1.0) / self.temperature
            noise = rng(self.seed_, "plackett-luce", *words).gumbel(size=len(log_weight))
            drawn = np.argsort(-(log_weight + noise), kind="stable")
            # from the back, so that small remainders are not lost beside large weights
            left = np.logaddexp.accumulate(log_weight[drawn][::-1])[::-1]
            order[self.keep : stop] = self.keep + drawn
            chance[self.keep : stop] = np.exp(log_weight[drawn] - left)
        return order[:k], chance[:k]
