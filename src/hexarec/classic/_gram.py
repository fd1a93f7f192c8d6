"""Co-occurrence of items: dense through BLAS where that wins, else sparse, never more than one square array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hexarec.classic._shared import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DENSE_ITEMS = 16384  # up to here an (n, n) float32 table is held whole: at most 1 GiB


def gram(x: csr_array) -> Floats:
    """Item by item products x^T x, float32 (n, n), symmetric, in Fortran order; one such array is the only copy.

    Dense blocks through BLAS when the log is dense enough to win by it, else sparse products block by block.
    """
    from scipy.linalg.blas import ssyrk

    n_users, n = x.shape
    out = np.zeros((n, n), np.float32, order="F")
    if not x.nnz:
        return out
    sparse_cost = 8.0 * float((np.diff(x.indptr).astype(np.float64) ** 2).sum())
    if sparse_cost < 0.02 * n_users * float(n) ** 2:
        for part, rows in _sparse_rows(x, 1024):
            out[:, part] = rows.T
        return out
    step = max(1, (1 << 24) // n)
    for start in range(0, n_users, step):
        block = x[start : start + step].toarray()
        out = ssyrk(1.0, block.T, beta=1.0, c=out, overwrite_c=1)
    mirror(out)
    return out


def mirror(square: Floats) -> None:
    """Copy the upper triangle of a square array onto the lower one, in place, without a second array."""
    n = len(square)
    for low in range(0, n, 512):
        high = min(low + 512, n)
        square[low:high, :low] = square[:low, low:high].T
        corner = square[low:high, low:high]
        square[low:high, low:high] = np.triu(corner) + np.triu(corner, 1).T


def gram_rows(x: csr_array, size: int = 512) -> Iterator[tuple[slice, Floats]]:
    """Rows of x^T x in dense blocks (size, n), each with its place; never the whole table above DENSE_ITEMS."""
    if x.shape[1] <= DENSE_ITEMS:
        whole = gram(x)
        for start in range(0, len(whole), size):
            part = slice(start, min(start + size, len(whole)))
            yield part, np.ascontiguousarray(whole[:, part].T)
    else:
        yield from _sparse_rows(x, size)


def _sparse_rows(x: csr_array, size: int) -> Iterator[tuple[slice, Floats]]:
    turned = x.T.tocsr()
    for start in range(0, turned.shape[0], size):
        part = slice(start, min(start + size, turned.shape[0]))
        yield part, (turned[part] @ x).toarray()
