"""Similarities from co-occurrence counts, and the strongest of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from hexarec.classic._shared import Floats
from hexarec.core import OptionError
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Similarity = Literal["cosine", "jaccard", "dot"]


def similar(both: Floats, ours: Floats, theirs: Floats, kind: Similarity, shrink: float) -> Floats:
    """Similarities from co-occurrence counts and the two margins, all of one shape or broadcast; 0 / 0 is 0.

    dot is the count itself; nothing is shrunk in it.
    """
    if kind == "cosine":
        under = np.sqrt(ours) * np.sqrt(theirs) + np.float32(shrink)
    elif kind == "jaccard":
        under = ours + theirs - both + np.float32(shrink)
    elif kind == "dot":
        return both.copy()
    else:
        raise OptionError(f"similarity is {kind!r}", hint="cosine, jaccard or dot")
    return np.divide(both, under, out=np.zeros_like(both), where=under > 0)


def strongest(values: Floats, k: int) -> csr_array:
    """Only the k largest positive values of each row of a dense (m, n) block, as csr."""
    from scipy.sparse import csr_array

    n = values.shape[1]
    if k < n:
        columns = np.sort(np.argpartition(-values, k - 1, axis=1)[:, :k], axis=1)
        values = np.take_along_axis(values, columns, 1)
    else:
        columns = np.broadcast_to(np.arange(n), values.shape)
    keep = values > 0
    offsets = np.append(0, np.cumsum(keep.sum(1)))
    return csr_array((values[keep], columns[keep].astype(np.int32), offsets), shape=(len(values), n))


def largest(values: csr_array, k: int) -> csr_array:
    """Only the k largest positive values of each row of a csr array; ties go to the smaller column."""
    from scipy.sparse import csr_array

    values.sort_indices()
    offsets = values.indptr.astype(np.int64)
    order = rg.order_within(offsets, -values.data)
    order = order[(rg.positions(offsets) < k) & (values.data[order] > 0)]
    rows = rg.segments(offsets)[order]
    kept = rg.offsets_of(np.bincount(rows, minlength=values.shape[0]))
    return csr_array((values.data[order], values.indices[order], kept), shape=values.shape)
