"""Distances inside a list and between a list and its history: ILD, unexpectedness, calibration.

Per list; NaN where a list (or history) has too few items with a vector or tag to compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.dataset import Features
from hexarec.core.lists import Lists
from hexarec.core.ragged import Ints
from hexarec.metrics.match import blocks, dense
from hexarec.metrics.names import Measured
from hexarec.metrics.reference import Floats, Reference, Tags, first

BUDGET = 1 << 15  # elements at once
ALPHA = 0.01  # how much of the history is mixed into the list's distribution, so that the divergence is finite


def _sums(vectors: Features, offsets: Ints, items: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """The sum of the unit vectors of each segment, (n, d), and how many items had one, (n,)."""
    known = items < len(vectors.rows)
    known[known] = vectors.mask[items[known]]
    rows = vectors.rows[items[known]].astype(np.float64)
    norm = np.sqrt((rows * rows).sum(axis=1))
    row = ragged.segments(offsets)[known][norm > 0]
    rows = rows[norm > 0] / norm[norm > 0][:, None]
    count = np.bincount(row, minlength=len(offsets) - 1)
    total = np.zeros((len(count), rows.shape[1]))
    if len(row):
        total[count > 0] = np.add.reduceat(rows, (np.cumsum(count) - count)[count > 0], axis=0)
    return total, count.astype(np.float64)


def ild(lists: Lists, reference: Reference, k: int) -> Measured:
    """ILD@k = mean cosine distance (1 - cosine) over the pairs of the top k; in [0, 2], higher is more diverse.

    By sums: with s the sum of the m unit vectors, 1 - (s.s - m) / (m (m - 1)). Items without a vector are left out;
    fewer than two left: NaN. Source: Ziegler et al. 2005, WWW; Smyth and McClave 2001.
    """
    reference.check(lists)
    vectors, top = reference.need_vectors(), first(lists, k)
    values = np.full(len(lists), np.nan)
    for low, high in blocks(top.offsets, BUDGET):
        start, stop = top.offsets[low], top.offsets[high]
        total, m = _sums(vectors, top.offsets[low : high + 1] - start, top.items[start:stop])
        inner = (total * total).sum(axis=1) - m
        values[low:high] = np.where(m > 1, 1.0 - inner / np.maximum(m * (m - 1.0), 1.0), np.nan)
    return Measured.mean(values)


def unexpectedness(lists: Lists, reference: Reference, k: int) -> Measured:
    """Unexpectedness@k = mean cosine distance between the items of the top k and those of the history; in [0, 2].

    Neither direction is better by itself; NaN without a vector on either side. Source: Zhang et al. 2012, WSDM.
    """
    reference.check(lists)
    vectors, top, past = reference.need_vectors(), first(lists, k), reference.queries.history
    values = np.full(len(lists), np.nan)
    for low, high in blocks(top.offsets + past.offsets, BUDGET):
        ours = _sums(vectors, *_part(top.offsets, top.items, low, high))
        theirs = _sums(vectors, *_part(past.offsets, past.item, low, high))
        pairs = ours[1] * theirs[1]
        inner = (ours[0] * theirs[0]).sum(axis=1)
        values[low:high] = np.where(pairs > 0, 1.0 - inner / np.maximum(pairs, 1.0), np.nan)
    return Measured.mean(values)


def _part(offsets: Ints, items: NDArray[np.int32], low: int, high: int) -> tuple[Ints, NDArray[np.int32]]:
    start, stop = offsets[low], offsets[high]
    return offsets[low : high + 1] - start, items[start:stop]


def ild_tags(lists: Lists, reference: Reference, k: int) -> Measured:
    """ILD@k by tags = mean Jaccard distance (1 - shared / united tags) over the pairs of the top k; in [0, 1].

    Higher is more diverse; items without tags are left out, fewer than two left: NaN.
    """
    reference.check(lists)
    words, top = _words(reference.need_tags()), first(lists, k)
    values = np.full(len(lists), np.nan)
    width = int(top.lengths.max(initial=0))
    for low, high in blocks(np.arange(len(lists) + 1) * max(width, 1), BUDGET):
        if width and len(top.items):
            values[low:high] = _jaccard(words, dense(top, low, high, width))
    return Measured.mean(values)


def tag_coverage(lists: Lists, reference: Reference, k: int) -> Measured:
    """Tag coverage@k = tags of the liked history that some item of the top k has / tags of the liked history.

    In [0, 1], higher covers more of what the user is known for; NaN for a history without tags, 0 for no list.
    Source: GPT4Rec's Coverage@K (arXiv:2304.03879), where tags are categories or brands.
    """
    reference.check(lists)
    words, top, past = _words(reference.need_tags()), first(lists, k), reference.queries.history
    past = past.where(past.liked)
    known, shown = _united(words, past.offsets, past.item), _united(words, top.offsets, top.items)
    total = np.bitwise_count(known).sum(axis=1, dtype=np.int64)
    found = np.bitwise_count(known & shown).sum(axis=1, dtype=np.int64)
    return Measured.mean(np.where(total > 0, found / np.maximum(total, 1), np.nan))


def _united(words: NDArray[np.uint64], offsets: Ints, items: NDArray[np.int32]) -> NDArray[np.uint64]:
    """The tags of each segment's items together, as bits, (n, words)."""
    made = np.zeros((len(offsets) - 1, words.shape[1]), np.uint64)
    np.bitwise_or.at(made, ragged.segments(offsets), words[np.where(items < len(words) - 1, items, -1)])
    return made


def _words(tags: Tags) -> NDArray[np.uint64]:
    """Tag sets as bits, (n_items + 1, words) uint64; the last row is the empty set, for padding."""
    n, wide = tags.matrix.shape
    made = np.zeros((n + 1, wide // 64 + 1), np.uint64)
    row, tag = tags.matrix.nonzero()
    np.bitwise_or.at(made, (row, tag // 64), np.uint64(1) << (tag % 64).astype(np.uint64))
    return made


def _jaccard(words: NDArray[np.uint64], items: NDArray[np.int32]) -> Floats:
    """Mean Jaccard distance over the pairs of places, (b,); items: (b, width), -1 = nothing."""
    bits = words[np.where(items < len(words) - 1, items, -1)]
    some: NDArray[np.bool_] = np.asarray(bits.any(axis=2))
    total, pairs = np.zeros(len(items)), np.zeros(len(items))
    for place in range(1, items.shape[1]):
        left, right = bits[:, place, None], bits[:, :place]
        shared = np.bitwise_count(left & right).sum(axis=2, dtype=np.int64)
        united = np.bitwise_count(left | right).sum(axis=2, dtype=np.int64)
        valid = some[:, place, None] & some[:, :place]
        total += np.where(valid, 1.0 - shared / np.maximum(united, 1), 0.0).sum(axis=1)
        pairs += valid.sum(axis=1)
    return np.asarray(np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan))


def calibration(lists: Lists, reference: Reference, k: int) -> Measured:
    """Calibration@k = KL(p || q~) = sum over tags p log(p / q~), natural logarithm; 0 = calibrated, lower is better.

    p: tag distribution of the liked items of the history, q: of the top k, both with each item's mass split equally
    over its tags and every item weighing the same; q~ = 0.99 q + 0.01 p, so at most log 100. NaN when either side
    carries no tag. Source: Steck 2018, RecSys, "Calibrated recommendations".
    """
    reference.check(lists)
    top, past = first(lists, k), reference.queries.history
    past = past.where(past.liked)
    values = np.full(len(lists), np.nan)
    share = reference.need_tags().shares()
    for low, high in blocks(top.offsets + past.offsets + 8 * np.arange(len(lists) + 1), BUDGET):
        p = _distribution(share, *_part(past.offsets, past.item, low, high))
        q = _distribution(share, *_part(top.offsets, top.items, low, high))
        mixed = (1.0 - ALPHA) * q + ALPHA * p
        ratio = np.log(np.where(p > 0, p, 1.0)) - np.log(np.where(p > 0, mixed, 1.0))
        values[low:high] = np.maximum((p * ratio).sum(axis=1), 0.0)
    return Measured.mean(values)


def _distribution(share: object, offsets: Ints, items: NDArray[np.int32]) -> Floats:
    """Tag distribution of each segment, (n, n_tags), rows of NaN where nothing carries a tag."""
    from scipy.sparse import csr_array

    assert isinstance(share, csr_array)
    known = items < share.shape[0]
    cut = ragged.kept(offsets, known)
    shape = (len(offsets) - 1, share.shape[0])
    mass = (csr_array((np.ones(int(known.sum())), items[known], cut), shape=shape) @ share).toarray()
    total = mass.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, mass / np.where(total > 0, total, 1.0), np.nan))
