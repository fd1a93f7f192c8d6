"""The encoder of last resort: hashed TF-IDF of words and CJK bigrams, turned into a few axes by a truncated SVD."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from hexarec.core.errors import StateError
from hexarec.core.seeds import rng
from hexarec.lm.base import Floats
from hexarec.lm.engine import unit_rows

_BUCKETS = 1 << 15
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_RUN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")


@dataclass
class TfidfSvd:
    """Words in common, not meaning: a fallback (`fallback` is True) for when no network encoder can be had.

    `fit(texts)` learns the axes; before it, `encode` raises StateError. The last axis is kept for texts without a known
    word, empty ones included. Learned state: `idf_` (32768,) and `axes_` (32768, dim - 1).
    """

    dim: int = 128
    fallback: ClassVar[bool] = True
    name: str = field(default="tfidf-svd", init=False, repr=False)
    spec: str = field(default="tfidf", init=False, repr=False)

    def fit(self, texts: Sequence[str], *, seed: int = 0) -> TfidfSvd:
        """Learn weights and axes from the texts; the same texts give the same axes, signs included."""
        counts = _counts(texts)
        spread = np.asarray((counts > 0).sum(axis=0)).ravel()
        self.idf_ = np.where(spread > 0, np.log((1 + len(texts)) / (1 + spread)) + 1, 0).astype(np.float32)
        self.axes_ = np.zeros((_BUCKETS, self.dim - 1), dtype=np.float32)
        weighted = self._weighted(counts)
        if weighted.nnz:
            axes = _axes(weighted, self.dim - 1, seed)
            self.axes_[:, : axes.shape[1]] = axes
        return self

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit rows."""
        if not hasattr(self, "axes_"):
            raise StateError("the TF-IDF encoder was not fitted", hint="call fit(texts) with the catalog's texts first")
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        rows[:, :-1] = self._weighted(_counts(texts)) @ self.axes_
        rows[np.abs(rows).max(axis=1, initial=0.0) < 1e-7, -1] = 1.0
        return unit_rows(rows)

    def _weighted(self, counts: Any) -> Any:
        """Rows of length 1 with log counts times inverse document frequency."""
        counts = counts.astype(np.float32)
        counts.data = 1 + np.log(counts.data)
        counts = counts.multiply(self.idf_).tocsr()
        lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
        scale = sparse.diags_array((1 / np.maximum(lengths, 1e-12)).astype(np.float32))
        return (scale @ counts).tocsr().astype(np.float32)


def terms(text: str) -> list[str]:
    """Case-folded words; a run of CJK characters gives its bigrams (or its one character)."""
    found: list[str] = []
    for run in _RUN.findall(text.casefold()):
        if "\u3040" <= run[0] <= "\ud7af" and len(run) > 1:
            found += [run[at : at + 2] for at in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def _counts(texts: Sequence[str]) -> Any:
    """(n, 32768) counts of hashed terms, csr."""
    offsets, columns, data = [0], [], []
    for text in texts:
        own = Counter(zlib.crc32(term.encode("utf-8", "replace")) % _BUCKETS for term in terms(text))
        columns += sorted(own)
        data += [own[column] for column in sorted(own)]
        offsets.append(len(columns))
    return sparse.csr_array(
        (np.array(data, np.float32), np.array(columns, np.int32), np.array(offsets, np.int32)),
        shape=(len(texts), _BUCKETS),
    )


def _axes(weighted: Any, most: int, seed: int) -> Floats:
    """(32768, k) right singular vectors, k <= most, largest first, each with its largest entry positive."""
    used = np.flatnonzero(np.asarray(abs(weighted).sum(axis=0)).ravel())
    part = weighted[:, used].astype(np.float64)
    size = min(part.shape)
    if most >= size - 1:
        _, values, right = np.linalg.svd(part.toarray(), full_matrices=False)
    else:
        start = rng(seed, "tfidf").normal(size=size)
        _, values, right = svds(part, k=most, v0=start)
        order = np.argsort(-values)
        values, right = values[order], right[order]
    right = right[: min(most, int((values > 1e-6 * values[0]).sum()))]
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    axes = np.zeros((_BUCKETS, len(right)), dtype=np.float32)
    axes[used] = (right * signs[:, None]).T
    return axes
