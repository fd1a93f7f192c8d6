"""Which items of one ragged batch stand in another, and which neighbours of a list are tied."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError
from hexarec.core.lists import Lists
from hexarec.core.ragged import Ints

BUDGET = 1 << 19  # comparisons at once: small enough to stay in the cache
SKEWED = 1 << 24  # comparisons for one list beyond which sorting is used whatever the mean
REPEATED = "a list names an item twice; items are distinct within a list"


class Matches(NamedTuple):
    """Items found on both sides: row = the question, place = in our list, theirs = flat place in the other."""

    row: Ints
    place: Ints
    theirs: Ints


def blocks(weight: Ints, budget: int) -> Iterator[tuple[int, int]]:
    """Consecutive row ranges of about `budget`; weight: (n + 1,) cumulative, from 0; a heavy row stays whole."""
    n = len(weight) - 1
    marks = np.searchsorted(weight, np.arange(budget, weight[-1], max(budget, 1)), side="right") - 1
    cuts = np.unique(np.concatenate([[0], marks, [n]]))
    yield from pairwise(cuts.tolist())


def match(lists: Lists, other: Lists, width: int) -> Matches:
    """The items in the first `width` places of each list that also stand in the other list of the same question.

    Ordered by question, then place. No loop over questions: short lists are compared in blocks that fit the cache,
    long ones by sorted pair keys. Raises DataError where a list names an item twice, LineageError across lineages.
    """
    lists.same(other)
    if not len(lists.items) or not len(other.items) or width < 1:
        return Matches(*(np.zeros(0, np.int64),) * 3)
    width = min(width, int(lists.lengths.max()))
    total = len(other.items) * width
    compare = total <= 24 * (len(lists.items) + len(other.items)) and int(other.lengths.max()) * width <= SKEWED
    found = _by_compare(lists, other, width) if compare else _by_key(lists, other, width)
    _once(found, len(other.items))
    return found


def _once(found: Matches, n_theirs: int) -> None:
    seen = np.zeros(n_theirs, bool)
    seen[found.theirs] = True
    again = (found.row[1:] == found.row[:-1]) & (found.place[1:] == found.place[:-1])
    if np.count_nonzero(seen) != len(found.theirs) or again.any():
        raise DataError(REPEATED)


def _by_compare(lists: Lists, other: Lists, width: int) -> Matches:
    made = [
        _block(lists, other, width, low, high)
        for low, high in blocks((other.offsets + np.arange(len(other.offsets))) * width, BUDGET)
    ]
    return Matches(*(np.concatenate(column) for column in zip(*made, strict=True)))


def _block(lists: Lists, other: Lists, width: int, low: int, high: int) -> Matches:
    """The matches of the questions [low, high)."""
    start, stop = other.offsets[low], other.offsets[high]
    ours, theirs = dense(lists, low, high, width), other.items[start:stop]
    each = np.diff(other.offsets[low : high + 1])
    if (each == 1).all():
        row, place = np.divmod(np.flatnonzero(ours == theirs[:, None]), width)
        return Matches(row + low, place, row + start)
    row = np.repeat(np.arange(high - low), each)
    element, place = np.divmod(np.flatnonzero(ours[row] == theirs[:, None]), width)
    cells = np.zeros((high - low) * width, np.int32)  # by place instead of by element, without sorting
    cells[row[element] * width + place] = element + 1
    cell = np.flatnonzero(cells)
    if len(cell) < len(element):
        raise DataError(REPEATED)
    row, place = np.divmod(cell, width)
    return Matches(row + low, place, cells[cell] - 1 + start)


def dense(lists: Lists, low: int, high: int, width: int) -> NDArray[np.int32]:
    """The first `width` items of the lists [low, high), (high - low, width) int32, -1 where a list is shorter.

    A view, without a copy, where all these lists are equally long.
    """
    starts, lengths = lists.offsets[low:high], np.diff(lists.offsets[low : high + 1])
    longest = int(lengths.max(initial=0))
    if longest >= width and int(lengths.min(initial=longest)) == longest:
        return lists.items[starts[0] : lists.offsets[high]].reshape(high - low, longest)[:, :width]
    place = np.arange(width)
    index = np.minimum(starts[:, None] + place, len(lists.items) - 1)
    return np.where(place < lengths[:, None], lists.items[index], np.int32(-1))


def _by_key(lists: Lists, other: Lists, width: int) -> Matches:
    wide = int(max(lists.items.max(), other.items.max())) + 1
    row, place = ragged.segments(lists.offsets), ragged.positions(lists.offsets)
    keep = np.flatnonzero(place < width)
    ours = row[keep] * wide + lists.items[keep]
    keys = ragged.segments(other.offsets) * wide + other.items
    order = np.argsort(keys)
    keys = keys[order]
    if (keys[1:] == keys[:-1]).any():
        raise DataError(REPEATED)
    at = np.minimum(np.searchsorted(keys, ours), len(keys) - 1)
    hit = keys[at] == ours
    return Matches(row[keep[hit]], place[keep[hit]], order[at[hit]])


def tie_starts(lists: Lists) -> Ints | None:
    """Flat places where a tie group starts; None when no two neighbours of a list have equal scores.

    A tie group is a run of neighbours with equal scores, of length 1 mostly. NaN (not scored) is tied with nothing.
    """
    equal = lists.scores[1:] == lists.scores[:-1]
    cuts = lists.offsets[1:-1]
    cuts = cuts[(cuts > 0) & (cuts < len(lists.items))]
    equal[cuts - 1] = False
    if not equal.any():
        return None
    return np.flatnonzero(np.concatenate([np.ones(1, bool), ~equal]))


def tie_groups(lists: Lists, starts: Ints, row: Ints, place: Ints) -> tuple[Ints, Ints]:
    """For elements (row, place): the first place of their tie group in the list, and its size."""
    run = np.searchsorted(starts, lists.offsets[row] + place, side="right") - 1
    stops = np.append(starts[1:], len(lists.items))
    return starts[run] - lists.offsets[row], stops[run] - starts[run]


def reach(lists: Lists, starts: Ints, depth: int) -> int:
    """Places to look at so that every tie group that starts before `depth` is seen whole."""
    rows = np.flatnonzero(lists.lengths > depth)
    first, size = tie_groups(lists, starts, rows, np.full(len(rows), depth, np.int64))
    return int(np.where(first < depth, first + size, depth).max(initial=depth))
