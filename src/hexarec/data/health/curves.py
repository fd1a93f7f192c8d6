"""The numbers behind the plots of the health report."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset

Curve = tuple[NDArray[Any], NDArray[Any]]
BINS = 60


def curves(data: Dataset) -> dict[str, Curve]:
    """Events per user and item (rank, count), Lorenz curve, events over time, text lengths; those that make sense."""
    log = data.interactions
    made: dict[str, Curve] = {}
    if not len(log):
        return made
    counts = log.counts(data.n_items)
    made["events per user"] = _ranked(np.diff(log.offsets))
    made["events per item"] = _ranked(counts)
    made["lorenz"] = _lorenz(counts)
    if log.clock:
        made["events over time"] = _histogram(log.time)
    lengths = np.fromiter(
        (len(t) + len(x) for t, x in zip(data.catalog.titles, data.catalog.texts, strict=True)), np.int64
    )
    if lengths.any():
        made["text length"] = _histogram(lengths)
    return made


def _ranked(counts: NDArray[np.int64]) -> Curve:
    """Counts from the largest down, thinned to about 200 points evenly spaced on a log scale."""
    ordered = np.sort(counts[counts > 0])[::-1]
    picks = np.unique(np.geomspace(1, len(ordered), 200).astype(np.int64)) - 1
    return picks + 1, ordered[picks]


def _lorenz(counts: NDArray[np.int64]) -> Curve:
    ordered = np.concatenate([[0], np.cumsum(np.sort(counts))]) / max(counts.sum(), 1)
    picks = np.unique(np.linspace(0, len(counts), 200).astype(np.int64))
    return picks / len(counts), ordered[picks]


def _histogram(values: NDArray[Any]) -> Curve:
    counts, edges = np.histogram(values, BINS)
    return edges, counts
