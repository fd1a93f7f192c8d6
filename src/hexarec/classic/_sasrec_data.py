"""Sequences for SASRec: windows, batches of like length, padding at the end, and the validation measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Holdout, Lists, Queries, holdout, rng
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from hexarec.classic.sasrec import SASRec

Ints = NDArray[np.int64]
Batch = tuple[Ints, Ints, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Liked items of each user in order: item int64 flat, offsets (n + 1,)."""

    item: Ints
    offsets: Ints

    @classmethod
    def of(cls, queries: Queries, n_items: int) -> Sequences:
        """The histories of the questions; items from row n_items on are left out."""
        kept = queries.history.where(queries.history.liked & (queries.history.item < n_items))
        return cls(kept.item.astype(np.int64), kept.offsets)

    @property
    def empty(self) -> bool:
        """Whether nobody has two events, so that there is nothing to predict."""
        return not bool((np.diff(self.offsets) > 1).any())


def windows(train: Sequences, length: int, all_events: bool, draw: np.random.Generator) -> tuple[Ints, Ints]:
    """Flat starts and lengths of the pieces to learn from; the target of each event is the one after it.

    The newest `length` transitions of each user, or all of them in pieces whose first border is drawn.
    """
    first, steps = train.offsets[:-1], np.diff(train.offsets) - 1
    user = np.flatnonzero(steps > 0)
    if not all_events:
        size = np.minimum(steps[user], length)
        return first[user] + steps[user] - size, size
    border = np.where(steps[user] > length, draw.integers(1, length + 1, len(user)), steps[user])
    pieces = 1 + -(-(steps[user] - border) // length)
    offsets = rg.offsets_of(pieces)
    owner, place = rg.segments(offsets), rg.positions(offsets)
    start = np.maximum(border[owner] + (place - 1) * length, 0)
    stop = np.minimum(border[owner] + place * length, steps[user][owner])
    return first[user][owner] + start, stop - start


def groups(sizes: Ints, cells: int) -> Iterator[slice]:
    """Neighbouring pieces whose padded block holds at most `cells` elements (at least one piece)."""
    start = 0
    while start < len(sizes):
        most = np.maximum.accumulate(sizes[start : start + cells])
        stop = start + max(1, int(np.searchsorted(most * np.arange(1, len(most) + 1), cells, side="right")))
        yield slice(start, stop)
        start = stop


def block(train: Sequences, start: Ints, size: Ints) -> Batch:
    """Items, targets and the mask of real places of some pieces, each (b, longest)."""
    place = np.arange(int(size.max()))
    real = place < size[:, None]
    flat = np.where(real, start[:, None] + place, start[:, None])
    return train.item[flat], train.item[flat + 1], real


def batches(train: Sequences, options: SASRec, draw: np.random.Generator) -> Iterator[tuple[float, Batch]]:
    """One epoch: (share of it that is done, batch), pieces of like length together, batches in drawn order."""
    start, size = windows(train, options.length, options.windows == "all", draw)
    order = np.argsort(size * draw.uniform(0.9, 1.1, len(size)), kind="stable")
    parts = [order[part] for part in groups(size[order], options.positions)]
    for done, number in enumerate(draw.permutation(len(parts)).tolist()):
        yield done / len(parts), block(train, start[parts[number]], size[parts[number]])


def padded(history: Sequences, length: int, cells: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """The newest `length` items of the histories that have any: (rows, items (b, longest), last place (b,))."""
    size = np.minimum(np.diff(history.offsets), length)
    order = np.argsort(size, kind="stable")
    order = order[size[order] > 0]
    for part in groups(size[order], cells):
        rows = order[part]
        place = np.arange(int(size[rows].max()))
        start = (history.offsets[1:] - size)[rows]
        flat = np.where(place < size[rows][:, None], start[:, None] + place, start[:, None])
        yield rows, history.item[flat], size[rows] - 1


def ndcg(lists: Lists, truth: Lists) -> float:
    """Mean NDCG of the lists at their own length, against ragged sets of right items; at least one each."""
    wide = int(max(lists.items.max(initial=0), truth.items.max(initial=0))) + 1
    hit = rg.member(rg.segments(lists.offsets) * wide + lists.items, rg.segments(truth.offsets) * wide + truth.items)
    gain = hit / np.log2(2.0 + rg.positions(lists.offsets))
    got = np.bincount(rg.segments(lists.offsets), weights=gain, minlength=len(lists))
    longest = int(lists.lengths.max(initial=0))
    ideal = np.append(0.0, np.cumsum(1.0 / np.log2(2.0 + np.arange(longest))))
    best = ideal[np.minimum(truth.lengths, longest)]
    return float(np.divide(got, best, out=np.zeros_like(got), where=best > 0).mean()) if len(lists) else 0.0


def validation(data: Dataset, share: float, most: int, seed: int) -> Holdout | None:
    """The validation cut, None when there is too little to cut; at most `most` questions that have a history."""
    if not len(data.interactions):
        return None
    cut = holdout(data, share)
    usable = np.flatnonzero((cut.truth.lengths > 0) & (cut.queries.history.lengths > 0))
    if not len(usable) or Sequences.of(cut.train.queries(), data.n_items).empty:
        return None
    if len(usable) > most:
        usable = np.sort(rng(seed, "sasrec", "asked").permutation(usable)[:most])
    return Holdout(cut.train, cut.queries.take(usable), cut.truth.take(usable))
