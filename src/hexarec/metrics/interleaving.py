"""Team-draft interleaving: two rankers in one shown list, and whose items were clicked more.

Source: Radlinski, Kurup and Joachims 2008, CIKM. Differs: the items with which both lists begin alike are nobody's,
where the paper gives each to one side by a coin; that is the same on average, with less noise. The coin is tied to
the items and not to the order of the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.metrics.stats import interval_of, paired_draws, user_draws

NOBODY, A, B = -1, 0, 1


class Preference(NamedTuple):
    """How much more often a wins than half, -.5 to .5, with interval and two-sided p over users."""

    value: float
    low: float
    high: float
    p: float
    impressions: int
    users: int


def interleave(a: Any, b: Any, k: int, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """The k items to show, distinct, and the team of each: 0 = a, 1 = b, -1 = nobody's.

    a, b: (m,) item rows, best first; k items each are always enough. First come the items with which both begin
    alike, nobody's. Then in each round a coin says who picks first, and each team picks its best item not yet
    shown. When a list is used up, the other fills the places left, nobody's. With the arguments swapped and an equal
    generator, the same items are shown and the teams change sides.
    """
    if k < 1:
        raise OptionError(f"k is {k}", hint="show at least one item")
    left, right = _distinct(a), _distinct(b)
    alike = next((i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), min(len(left), len(right)))
    shown, teams = left[: min(alike, k)], [NOBODY] * min(alike, k)
    coins = rng.integers(0, 2, (k + 1) // 2)
    pools, used = (iter(left[alike:]), iter(right[alike:])), set(shown)
    flip = alike < min(len(left), len(right)) and left[alike] < right[alike]
    for coin in coins:
        first = int(coin == flip)
        for team in (first, 1 - first):
            item = _best(pools[team], used) if len(shown) < k else None
            if item is None:
                return _filled(shown, teams, pools, k, used)
            shown.append(item)
            teams.append(team)
    return _filled(shown, teams, pools, k, used)


def _distinct(items: Any) -> list[int]:
    rows = np.asarray(items)
    if rows.ndim != 1 or (len(rows) and not np.issubdtype(rows.dtype, np.integer)):
        raise DataError(f"item rows of shape {rows.shape} and type {rows.dtype}", hint="(m,) integers, best first")
    return list(dict.fromkeys(rows.tolist()))


def _best(pool: Iterator[int], used: set[int]) -> int | None:
    item = next((item for item in pool if item not in used), None)
    if item is not None:
        used.add(item)
    return item


def _filled(
    shown: list[int], teams: list[int], pools: tuple[Iterator[int], Iterator[int]], k: int, used: set[int]
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    for pool in pools:
        while len(shown) < k and (item := _best(pool, used)) is not None:
            shown.append(item)
            teams.append(NOBODY)
    return np.array(shown, np.int32), np.array(teams, np.int8)


def credit(teams: NDArray[np.int8], clicked: Any) -> tuple[int, int]:
    """Clicks on the items of a and of b in one impression; clicked: (k,) bool, in the order shown."""
    marks = np.asarray(clicked, bool)
    if marks.shape != teams.shape:
        raise DataError(f"{marks.size} clicks for {teams.size} items shown", field="clicked")
    return int((marks & (teams == A)).sum()), int((marks & (teams == B)).sum())


def preference(a: Any, b: Any, user: Any, *, seed: int = 0, rounds: int = 1000, level: float = 0.95) -> Preference:
    """(impressions that a wins + half of the ties) / impressions - .5, positive when a is preferred.

    a, b: (n,) credit of each impression. user: (n,) whose it was; users are drawn with replacement with all their
    impressions, so a few users with many do not make the interval narrow. NaN without impressions.
    """
    ours, theirs = np.asarray(a, np.float64), np.asarray(b, np.float64)
    whose, group = np.unique(np.asarray(user), return_inverse=True)
    if not ours.shape == theirs.shape == group.shape or ours.ndim != 1:
        raise DataError(f"{ours.size} and {theirs.size} credits for {group.size} users", hint="(n,) each")
    wins, n = 0.5 * np.sign(ours - theirs), np.bincount(group, minlength=len(whose)).astype(np.float64)
    of_user = np.bincount(group, wins, minlength=len(whose))
    draws = user_draws(lambda w: (w @ of_user) / (w @ n), len(whose), seed=seed, rounds=rounds)
    low, high = interval_of(draws, level)
    value = float(wins.mean()) if len(wins) else float("nan")
    return Preference(value, low, high, paired_draws(draws, np.zeros(rounds)), len(wins), len(whose))
