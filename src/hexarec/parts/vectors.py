"""Nearest vectors: exact first (one matrix product per block), usearch above some 200,000 rows when it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import DataError, History, MissingExtraError

Vectors = NDArray[np.float32]
EXACT_UP_TO = 200_000


def unit(rows: NDArray[np.floating[Any]]) -> Vectors:
    """Rows scaled to length 1; zero rows stay zero. float32 (n, d)."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)


def whiten(rows: Vectors, mask: NDArray[np.bool_], dim: int | None = None) -> tuple[Vectors, Vectors]:
    """Mean (d,) and projection (d, dim) that centre the masked rows and give them unit covariance (PCA whitening).

    Source: Su et al. 2021, 2103.15316. At most one axis per eight rows is kept, and directions with
    next to no variance are left out.
    """
    known = rows[mask].astype(np.float64)
    if len(known) < 2:
        return np.zeros(rows.shape[1], np.float32), np.eye(rows.shape[1], dim or rows.shape[1], dtype=np.float32)
    mean = known.mean(0)
    _, values, axes = np.linalg.svd(known - mean, full_matrices=False)
    # near n axes whitening makes all rows equally far from each other: at least eight rows stand behind each axis
    most = max(2, len(known) // 8) if dim is None else min(dim, max(2, len(known) // 8))
    keep = values > 1e-6 * values[0]
    axes, values = axes[keep][:most], values[keep][:most]
    # a fixed sign per axis, so that two machines agree
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    scale = np.sqrt(len(known) - 1) / values
    return mean.astype(np.float32), (axes.T * scale).astype(np.float32)


def decayed(recent: History, rows: Vectors, decay: float) -> Vectors:
    """(n, d) sums of item rows, the newest event weighing 1, each older one `decay` times the next."""
    out = np.zeros((len(recent), rows.shape[1]), np.float32)
    age = np.repeat(recent.offsets[1:], recent.lengths) - 1 - np.arange(recent.offsets[-1])
    weight = (decay**age).astype(np.float32)[:, None]
    np.add.at(out, np.repeat(np.arange(len(recent)), recent.lengths), rows[recent.item] * weight)
    return out


@dataclass
class Nearest:
    """An index of unit rows (n, d); `search` gives rows and cosines.

    approximate: None = exact up to `exact_up_to` rows, usearch above; True or False force it. effort: how many
    neighbours usearch looks at when it inserts and searches; more finds more of the true ones, slower.
    """

    approximate: bool | None = None
    exact_up_to: int = EXACT_UP_TO
    effort: int = 128

    def build(self, rows: Vectors, mask: NDArray[np.bool_] | None = None) -> Nearest:
        """Index the masked rows. Raises MissingExtraError when usearch is wanted and absent."""
        if rows.ndim != 2:
            raise DataError(f"vectors have {rows.ndim} axes, not 2")
        self.known_ = np.ones(len(rows), bool) if mask is None else mask
        self.rows_ = unit(rows)
        self._index: Any = None
        if self.approximate or (self.approximate is None and len(rows) > self.exact_up_to):
            self._index = _usearch(self.rows_, self.known_, self.effort)
        return self

    def search(self, queries: Vectors, k: int, *, block: int = 1024) -> tuple[NDArray[np.int64], Vectors]:
        """The k nearest rows of each query: rows (n, k) int64 best first, -1 where there are fewer, cosines (n, k)."""
        wanted = unit(np.asarray(queries, np.float32))
        k = min(k, int(self.known_.sum()))
        if getattr(self, "_index", None) is not None and k:
            found = self._index.search(wanted, k)
            distances = np.atleast_2d(found.distances).astype(np.float32)
            return np.atleast_2d(found.keys).astype(np.int64), np.float32(1.0) - distances
        rows = np.full((len(wanted), k), -1, np.int64)
        cosines = np.full((len(wanted), k), -np.inf, np.float32)
        for start in range(0, len(wanted) if k else 0, block):
            near = wanted[start : start + block] @ self.rows_.T
            near[:, ~self.known_] = -np.inf
            some = np.argpartition(-near, k - 1, axis=1)[:, :k]
            some.sort(axis=1)  # ties by row number
            values = np.take_along_axis(near, some, 1)
            order = np.argsort(-values, axis=1, kind="stable")
            rows[start : start + block] = np.take_along_axis(some, order, 1)
            cosines[start : start + block] = np.take_along_axis(values, order, 1)
        return rows, cosines


def _usearch(rows: Vectors, known: NDArray[np.bool_], effort: int) -> Any:
    try:
        from usearch.index import Index  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise MissingExtraError("usearch", "scale") from None
    index = Index(ndim=rows.shape[1], metric="cos", dtype="f32", expansion_add=effort, expansion_search=effort)
    index.add(np.flatnonzero(known).astype(np.uint64), rows[known])
    return index
