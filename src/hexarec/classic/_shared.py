"""What the baselines share: the profile of a question, what stands in for it, and its checks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, History, OptionError, PerUser, Queries
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float32]


def available_memory() -> float:
    """Bytes that can be had without swapping; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) + _cached()
    except (ValueError, OSError, AttributeError):
        return float("inf")


def _cached() -> float:
    """Bytes of file cache, which the system gives back at need."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        return 1024.0 * float(rows["Cached"].split()[0])
    except (OSError, KeyError, ValueError):
        return 0.0


def settled(name: str, *learned: Floats) -> None:
    """Raise OptionError when learning ended in something else than numbers: scores of it would be silently none."""
    if not all(np.isfinite(one).all() for one in learned):
        raise OptionError(f"{name} diverged: what it learned is not numbers", hint="lower the rate")


def popularity(data: Dataset) -> Floats:
    """Liked events per item over the largest such count, (n_items,) float32 in [0, 1]."""
    counts = data.interactions.counts(data.n_items, liked=True).astype(np.float32)
    return counts / max(float(counts.max(initial=0.0)), 1.0)


def profile(history: History, n_items: int, last: int | None = None, discount: float = 1.0) -> csr_array:
    """Histories as rows, float32 (n, n_items): discount ** age for each of the `last` newest liked items.

    Age 0 is the newest. Without a discount a repeated item counts once, with one its weights add up.
    """
    from scipy.sparse import csr_array

    kept = history.where(history.liked & (history.item < n_items))
    if last is not None:
        kept = kept.last(last)
    age = np.repeat(kept.lengths, kept.lengths) - 1 - rg.positions(kept.offsets)
    weights = (discount**age).astype(np.float32) if discount != 1.0 else np.ones(len(age), np.float32)
    made = csr_array((weights, kept.item, kept.offsets), shape=(len(history), n_items))
    made.sum_duplicates()
    if discount == 1.0:
        made.data[:] = 1.0
    return made


def remember(data: Dataset, last: int | None = None, discount: float = 1.0) -> PerUser:
    """The profile of every user of the log: what stands in for an empty history later."""
    return PerUser.of(data.users.ids, profile(data.queries().history, data.n_items, last, discount))


def profiles(queries: Queries, table: PerUser, last: int | None = None, discount: float = 1.0) -> csr_array:
    """The profile of each question, float32 (n, n_items): of its history, or of its known user when that is empty."""
    from scipy.sparse import vstack

    values: Any = table.values
    mine = profile(queries.history, values.shape[1], last, discount)
    blank = queries.history.lengths == 0
    if not blank.any():
        return mine
    rows, known = table.rows(queries)
    known &= blank
    if not known.any():
        return mine
    pick = np.arange(len(queries))
    pick[known] = len(queries) + np.arange(int(known.sum()))
    both: csr_array = vstack([mine, values[rows[known]]], format="csr")
    return both[pick]


def folded(queries: Queries, vectors: Floats, table: PerUser) -> Floats:
    """Vectors (n, d) made from histories; where a history is empty, the vector learned for its known user."""
    blank = queries.history.lengths == 0
    if not blank.any():
        return vectors
    learned, known = table.dense(queries)
    use = blank & known
    return np.where(use[:, None], learned, vectors).astype(np.float32)


def served(queries: Queries, scores: Floats, empty: NDArray[np.bool_], prior: Floats) -> Floats:
    """Scores (n, n_items) with the prior in the rows marked `empty`, cut to the rows the questions' catalog has."""
    if empty.any():
        scores[empty] = prior
    return scores[:, : len(queries.catalog)]


def product(queries: Queries, users: Floats, items: Floats, prior: Floats) -> Floats:
    """Scores (n, n_items) users x items, with the prior where a user's vector is all zeros."""
    return served(queries, users @ items.T, np.asarray(~users.any(axis=1)), prior)


def empty_rows(x: csr_array) -> NDArray[np.bool_]:
    """Rows without a stored value, (n,) bool."""
    return np.asarray(np.diff(x.indptr) == 0)
