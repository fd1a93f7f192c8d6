"""Accuracy of ranked lists against held-out items: hit, recall, precision, NDCG, MRR, MAP, from one set of hits.

A list and its truth belong to one question. Relevant = a truth item whose gain is above 0. All values lie in [0, 1],
higher is better, NaN = the question has no relevant item; a list shorter than k is treated as if nothing followed.

Ties: with `ties="expected"` neighbours with equal scores are taken as ordered at random, and each metric is its exact
expectation over those orders; `ties="order"` takes the order of the list. NaN scores tie with nothing.
Source of the expectations: McSherry and Najork 2008, ECIR, "Computing information retrieval performance measures
efficiently in the presence of tied scores".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import OptionError
from hexarec.core.lists import Lists
from hexarec.core.ragged import Ints
from hexarec.metrics.match import match, reach, tie_groups, tie_starts

Floats = NDArray[np.float64]
Ties = Literal["expected", "order"]


@dataclass(frozen=True, eq=False)
class Hits:
    """Where the relevant items of n questions stand in their lists: all that the list metrics need.

    relevant: (n,) number of relevant items, NaN where there is none. row, first: (m,) int64, question and place (from
    0) of each relevant item found, ordered; with ties, the first place of its tie group. size: (m,) size of that
    group, None when nothing is tied. gain: (m,), None when every gain is 1. best: the relevant items of each question
    in the ideal order as (row, place, gain), None when every gain is 1.
    """

    depth: int
    relevant: Floats
    row: Ints
    first: Ints
    size: Ints | None = None
    gain: Floats | None = None
    best: tuple[Ints, Ints, Floats] | None = None

    def __len__(self) -> int:
        return len(self.relevant)

    def dense(self) -> Floats:
        """Expected gain at each place, (n, depth) float64: for curves; the metrics do not need it."""
        gain = np.ones(len(self.row)) if self.gain is None else self.gain
        out = np.zeros((len(self), self.depth + 1))
        size = np.ones(len(self.row), np.int64) if self.size is None else self.size
        np.add.at(out, (self.row, self.first), gain / size)
        np.add.at(out, (self.row, np.minimum(self.first + size, self.depth)), -gain / size)
        return np.maximum(np.cumsum(out, axis=1)[:, :-1], 0.0)

    @cached_property
    def before(self) -> Ints:
        """Relevant items above each hit in its list, (m,); inside a tie group, in any order."""
        counts = np.bincount(self.row, minlength=len(self))
        return np.arange(len(self.row)) - (np.cumsum(counts) - counts)[self.row]

    @cached_property
    def group(self) -> tuple[Ints, Ints]:
        """For each hit: relevant items in its tie group, and relevant items above that group."""
        fresh = np.ones(len(self.row), bool)
        fresh[1:] = (self.row[1:] != self.row[:-1]) | (self.first[1:] != self.first[:-1])
        number = np.cumsum(fresh) - 1
        return np.bincount(number)[number], self.before[np.flatnonzero(fresh)][number]

    def heads(self) -> Ints:
        """The hits that come first in their list: at most one per question."""
        return np.flatnonzero(self.before == 0)


def hits(lists: Lists, truth: Lists, depth: int, ties: Ties = "expected") -> Hits:
    """Find the truth items in the first `depth` places of each list; done once for any number of metrics.

    truth: one list of relevant items per question; its field `gain` (1 where absent) grades them, gains of 0, below 0
    or NaN are not relevant. Raises OptionError for depth < 1, DataError for repeated items.
    """
    if depth < 1 or ties not in ("expected", "order"):
        raise OptionError(f"depth {depth} or ties {ties!r} is not possible", hint="depth >= 1; ties expected or order")
    gain = np.asarray(truth.fields["gain"], np.float64) if "gain" in truth.fields else None
    if gain is not None and not (gain == 1.0).all():
        truth = truth.where(gain > 0)
        gain = gain[gain > 0]
    if gain is not None and (gain == 1.0).all():
        gain = None
    starts = tie_starts(lists) if ties == "expected" else None
    found = match(lists, truth, depth if starts is None else reach(lists, starts, depth))
    relevant = truth.lengths.astype(np.float64)
    relevant[relevant == 0] = np.nan
    if gain is None:
        made = Hits(depth, relevant, found.row, found.place)
    else:
        made = Hits(depth, relevant, found.row, found.place, None, gain[found.theirs], _best(truth, gain))
    return made if starts is None else _tied(lists, starts, made)


def _tied(lists: Lists, starts: Ints, made: Hits) -> Hits:
    first, size = tie_groups(lists, starts, made.row, made.first)
    keep = first < made.depth
    gain = None if made.gain is None else made.gain[keep]
    return replace(made, row=made.row[keep], first=first[keep], size=size[keep], gain=gain)


def _best(truth: Lists, gain: Floats) -> tuple[Ints, Ints, Floats]:
    order = ragged.order_within(truth.offsets, -gain)
    return ragged.segments(truth.offsets), ragged.positions(truth.offsets), gain[order]


def _until(hits: Hits, k: int) -> None:
    if not 1 <= k <= hits.depth:
        raise OptionError(f"cut-off {k} is not between 1 and the depth {hits.depth} of the hits")


def _discounts(depth: int) -> Floats:
    return np.asarray(1.0 / np.log2(np.arange(2, depth + 2)))


def _spread(hits: Hits, weights: Floats, k: int) -> Floats:
    """The expected weight of each hit, (m,): its place's weight, averaged over its tie group; 0 beyond k."""
    cut = np.where(np.arange(hits.depth) < k, weights, 0.0)
    if hits.size is None:
        return cut[hits.first]
    total = np.concatenate([np.zeros(1), np.cumsum(cut)])
    return np.asarray((total[np.minimum(hits.first + hits.size, hits.depth)] - total[hits.first]) / hits.size)


def _count(hits: Hits, k: int) -> Floats:
    """The expected number of hits in the first k places, (n,)."""
    _until(hits, k)
    if hits.size is None:
        return np.bincount(hits.row[hits.first < k], minlength=len(hits)).astype(np.float64)
    return np.asarray(np.bincount(hits.row, _spread(hits, np.ones(hits.depth), k), len(hits)), np.float64)


def recall(hits: Hits, k: int) -> Floats:
    """Recall@k = hits in the top k / relevant items, (n,)."""
    return _count(hits, k) / hits.relevant


def recall_capped(hits: Hits, k: int) -> Floats:
    """Capped recall@k = hits in the top k / min(k, relevant items), (n,): 1 is reachable at any k."""
    return _count(hits, k) / np.minimum(hits.relevant, k)


def precision(hits: Hits, k: int) -> Floats:
    """Precision@k = hits in the top k / k, (n,); also for a list shorter than k."""
    return _count(hits, k) / np.where(np.isnan(hits.relevant), np.nan, k)


def ndcg(hits: Hits, k: int) -> Floats:
    """NDCG@k = sum of gain / log2(1 + rank) over the top k, divided by that sum for the best order, (n,).

    The best order has min(k, relevant) places filled; gain is 1 unless the truth grades it (linear, not 2^gain - 1).
    Source: Jarvelin and Kekalainen 2002, ACM TOIS.
    """
    _until(hits, k)
    weights = _discounts(max(hits.depth, 1))
    each = _spread(hits, weights, k)
    found = np.bincount(hits.row, each if hits.gain is None else each * hits.gain, minlength=len(hits))
    if hits.best is None:
        ideal = np.concatenate([[np.nan], np.cumsum(weights[:k])])
        return np.asarray(found / ideal[np.minimum(np.nan_to_num(hits.relevant), k).astype(np.intp)])
    row, place, gain = hits.best
    inside = place < k
    ideal = np.bincount(row[inside], gain[inside] * weights[place[inside]], minlength=len(hits))
    return np.asarray(found / np.where(np.isnan(hits.relevant), np.nan, ideal))


def _start(hits: Hits) -> Floats:
    """Zeros (n,), NaN where the metric does not apply."""
    return np.where(np.isnan(hits.relevant), np.nan, 0.0)


def hit(hits: Hits, k: int) -> Floats:
    """Hit@k = 1 if a relevant item is in the top k, else 0, (n,).

    Tied: only the first group with a relevant item can decide; if it straddles k, 1 - C(s - g, c) / C(s, c) for s
    tied items of which g are relevant and c places above the cut.
    """
    _until(hits, k)
    out = _start(hits)
    if hits.size is None:
        out[hits.row[hits.first < k]] = 1.0
        return out
    head = hits.heads()
    first, size, good = hits.first[head], hits.size[head], hits.group[0][head]
    miss = np.ones(len(head))
    for place in range(int(min(k, size.max(initial=0)))):
        drawn = (place < size) & (first + place < k)
        miss = np.where(drawn, miss * np.maximum(size - good - place, 0) / np.maximum(size - place, 1), miss)
    out[hits.row[head]] = 1.0 - miss
    return out


def mrr(hits: Hits, k: int) -> Floats:
    """MRR@k = 1 / rank of the first relevant item, 0 if it is not in the top k, (n,).

    Tied: sum over the places j of the first group with a relevant item of P(first hit at j) / (j + 1), with
    P(j) = C(s - j - 1, g - 1) / C(s, g).
    """
    _until(hits, k)
    out, head = _start(hits), hits.heads()
    if hits.size is None:
        out[hits.row[head]] = np.where(hits.first[head] < k, 1.0 / (hits.first[head] + 1.0), 0.0)
        return out
    first, size, good = hits.first[head], hits.size[head], hits.group[0][head]
    total, chance = np.zeros(len(head)), good / size
    for place in range(int(min(k, size.max(initial=0)))):
        total += np.where(first + place < k, chance / (first + place + 1.0), 0.0)
        left = size - place - 1
        chance = chance * np.maximum(left - good + 1, 0) / np.maximum(left, 1)
    out[hits.row[head]] = total
    return out


def average_precision(hits: Hits, k: int) -> Floats:
    """MAP@k (per list: AP) = sum over hits in the top k of precision at their place / min(k, relevant items), (n,).

    Tied: at place j of a group of s items with g relevant and c relevant above it, the expected term is
    g / s * (c + 1 + j (g - 1) / (s - 1)) / rank.
    """
    _until(hits, k)
    if hits.size is None:
        each = np.where(hits.first < k, (hits.before + 1.0) / (hits.first + 1.0), 0.0)
    else:
        good, above = hits.group
        harmonic = np.concatenate([np.zeros(1), np.cumsum(1.0 / np.arange(1, k + 1))])
        low, high = np.minimum(hits.first, k), np.minimum(hits.first + hits.size, k)
        part = harmonic[high] - harmonic[low]
        more = (good - 1) / np.maximum(hits.size - 1, 1) * (high - low - (hits.first + 1) * part)
        each = ((above + 1) * part + more) / hits.size
    return np.bincount(hits.row, each, minlength=len(hits)) / np.minimum(hits.relevant, k)


MEASURES: Mapping[str, Callable[[Hits, int], Floats]] = {
    "hit": hit, "recall": recall, "recall_capped": recall_capped, "precision": precision, "ndcg": ndcg, "mrr": mrr,
    "map": average_precision,
}  # fmt: skip
