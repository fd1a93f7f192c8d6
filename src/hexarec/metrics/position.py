"""Does the order of the prompt decide? Position bias, popularity by rank, agreement and stability of rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError, OptionError
from hexarec.core.lists import Lists
from hexarec.metrics.match import blocks, match
from hexarec.metrics.names import Measured
from hexarec.metrics.reference import Floats

BUDGET = 1 << 18


@dataclass(frozen=True, eq=False)
class Curve:
    """A value per place (from 0): rate (m,), NaN where nothing was counted; counted (m,)."""

    rate: Floats
    counted: NDArray[np.int64]

    @property
    def spread(self) -> float:
        """Largest rate - smallest rate, 0 = flat; NaN when nothing was counted."""
        there = self.rate[~np.isnan(self.rate)]
        return float(there.max() - there.min()) if len(there) else float("nan")


def prompt_order(lists: Lists, name: str = "order") -> Lists:
    """The items as the prompts showed them, from the notes: `note[name]` holds catalog rows, first shown first.

    A list without that note gives an empty list. Raises DataError when no list has one.
    """
    rows = [note.get(name, ()) for note in lists.notes]
    if not any(len(row) for row in rows):
        raise DataError(f"no list has a note {name!r} with the order of its prompt", field=name)
    return Lists.of(lists.key, rows)


def position_bias(lists: Lists, shown: Lists, k: int) -> Curve:
    """How often the item at each prompt place ends in the top k; flat when the order of the prompt does not matter.

    shown: the candidates in prompt order (see `prompt_order`). rate[p] = lists whose item at place p is in the top k /
    lists with an item at p, in [0, 1]; with candidates shuffled independently of relevance the unbiased rate is k / m.
    """
    found = match(lists, shown, k)
    place = found.theirs - shown.offsets[found.row]
    counted = np.bincount(ragged.positions(shown.offsets))
    top = np.bincount(place, minlength=len(counted))
    return Curve(np.where(counted > 0, top / np.maximum(counted, 1), np.nan), counted)


def popularity_by_rank(lists: Lists, counts: NDArray[np.int64], k: int) -> Curve:
    """Mean training events of the items at each rank, (k,): falling = popular items are put first."""
    place = ragged.positions(lists.offsets)
    keep = place < k
    inside = lists.items < len(counts)
    seen = np.where(inside, counts[np.where(inside, lists.items, 0)], 0) if len(counts) else np.zeros(len(place))
    counted = np.bincount(place[keep], minlength=k)
    total = np.bincount(place[keep], seen[keep], minlength=k)
    return Curve(np.where(counted > 0, total / np.maximum(counted, 1), np.nan), counted)


def kendall(one: Lists, other: Lists) -> Measured:
    """Kendall's tau of two rankings of each question over their common items, in [-1, 1], 1 = same order.

    (concordant - discordant) / pairs; places have no ties. NaN with fewer than two common items.
    Source: Kendall 1938.
    """
    found = match(one, other, int(one.lengths.max(initial=0)))
    theirs = found.theirs - other.offsets[found.row]
    common = np.bincount(found.row, minlength=len(one))
    offsets = ragged.offsets_of(common)
    values = np.full(len(one), np.nan)
    width = int(common.max(initial=0))
    for low, high in blocks(np.arange(len(one) + 1) * max(width, 1), BUDGET):
        place = np.full((high - low, width), np.nan)
        flat = slice(offsets[low], offsets[high])
        place[found.row[flat] - low, np.arange(flat.start, flat.stop) - offsets[found.row[flat]]] = theirs[flat]
        values[low:high] = _tau(place)
    return Measured.mean(values)


def mean_kendall(runs: Sequence[Lists]) -> Measured:
    """Mean Kendall's tau over all pairs of several rankings of the same questions, in [-1, 1], 1 = all the same order.

    A pair without two common items does not count; NaN for a question without any that does. Raises OptionError for
    less than two rankings.
    """
    if len(runs) < 2:
        raise OptionError(f"agreement needs at least two rankings, not {len(runs)}")
    pairs = [kendall(one, other).values for one, other in combinations(runs, 2)]
    taus = np.array(pairs, np.float64)
    counted = np.count_nonzero(~np.isnan(taus), axis=0)
    return Measured.mean(np.where(counted > 0, np.nansum(taus, axis=0) / np.maximum(counted, 1), np.nan))


def _tau(place: Floats) -> Floats:
    """Tau of rows of places, (b,); NaN places come last and do not count."""
    total = np.zeros(len(place))
    for i in range(place.shape[1] - 1):
        total += np.nan_to_num(np.sign(place[:, i + 1 :] - place[:, i, None])).sum(axis=1)
    m = np.count_nonzero(~np.isnan(place), axis=1)
    return np.asarray(np.where(m > 1, total / np.maximum(m * (m - 1) / 2, 1), np.nan))


def rank_variance(runs: Sequence[Lists]) -> Measured:
    """Mean variance of an item's rank over several rankings of the same questions (prompt orders, seeds); at least 0.

    0 = the ranking does not depend on what was varied; lower is better. Over the items that stand in all runs;
    variance = mean squared distance from the item's mean rank. NaN for a question without such an item.
    """
    if len(runs) < 2:
        raise OptionError(f"rank variance needs at least two rankings, not {len(runs)}")
    first = runs[0]
    ranks = np.full((len(runs), len(first.items)), np.nan)
    ranks[0] = ragged.positions(first.offsets)
    for number, run in enumerate(runs[1:], 1):
        found = match(first, run, int(first.lengths.max(initial=0)))
        ranks[number, first.offsets[found.row] + found.place] = found.theirs - run.offsets[found.row]
    keep = ~np.isnan(ranks).any(axis=0)
    row = ragged.segments(first.offsets)[keep]
    counted = np.bincount(row, minlength=len(first))
    total = np.bincount(row, ranks[:, keep].var(axis=0), minlength=len(first))
    return Measured.mean(np.where(counted > 0, total / np.maximum(counted, 1), np.nan))
