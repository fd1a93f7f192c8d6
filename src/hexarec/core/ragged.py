"""Ragged batches as (offsets, flat values): n segments, segment i is flat[offsets[i]:offsets[i + 1]]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def offsets_of(lengths: NDArray[Any]) -> Ints:
    """Offsets (n + 1,) int64 from segment lengths (n,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def segments(offsets: Ints) -> Ints:
    """The segment number of every flat element, (offsets[-1],) int64."""
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))


def positions(offsets: Ints) -> Ints:
    """The place of every flat element inside its segment, from 0."""
    return np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))


def spans(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """Offsets and flat indices that gather the half-open spans [start, stop) one after another."""
    offsets = offsets_of(np.maximum(stops - starts, 0))
    return offsets, positions(offsets) + np.repeat(starts, np.diff(offsets))


def gather(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """New offsets and flat indices for the segments named by `rows`, in that order."""
    return spans(offsets[:-1][rows], offsets[1:][rows])


def kept(offsets: Ints, keep: Bools) -> Ints:
    """The offsets left when only the flat elements marked in `keep` stay."""
    counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep, dtype=np.int64)])
    return counts[offsets]


def order_within(offsets: Ints, keys: NDArray[Any]) -> Ints:
    """Flat indices that sort every segment by `keys` ascending, stable, NaN last; segments stay where they are."""
    return np.lexsort((keys, segments(offsets))).astype(np.int64)


def count_before(offsets: Ints, times: NDArray[np.float64], rows: Ints, now: NDArray[np.float64]) -> Ints:
    """For each (row, now): how many elements of that sorted segment are strictly smaller than now.

    A vectorised binary search: log2(longest segment) passes over the whole batch.
    """
    low = offsets[:-1][rows].copy()
    high = offsets[1:][rows].copy()
    while True:
        open_ = low < high
        if not open_.any():
            return low - offsets[:-1][rows]
        middle = (low + high) // 2
        before = open_ & (times[np.minimum(middle, len(times) - 1)] < now)
        low = np.where(before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)


def member(pairs: Ints, of: Ints) -> Bools:
    """Which of `pairs` occur in `of`; both are encoded pairs, `of` may be in any order."""
    if len(of) == 0:
        return np.zeros(len(pairs), bool)
    of = np.sort(of)
    places = np.minimum(np.searchsorted(of, pairs), len(of) - 1)
    return np.asarray(of[places] == pairs)
