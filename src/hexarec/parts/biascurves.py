"""What a place in the prompt, popularity and the length of the history do to a ranker that asks a model.

Source: Hou et al. 2023, arXiv:2305.08845, figures 3a, 3c and 3d.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists, Queries, Ranker, ragged, variant
from hexarec.metrics import popularity_by_rank


def position_sweep(
    ranker: Ranker, queries: Queries, candidates: Lists, truth: Lists, places: Sequence[int], k: int = 10
) -> dict[int, float]:
    """Rate of the true item in the top k when it is shown at each prompt place, everything else equal.

    ranker: with the options `shuffle` and `rounds`. Lists without the true item are left out; options are shown in the
    given order, once. Source: the paper, figure 3a.
    """
    fixed = variant(ranker, shuffle=False, rounds=1)
    wide = len(queries.catalog) + 1
    is_true = ragged.member(
        ragged.segments(candidates.offsets) * wide + candidates.items,
        ragged.segments(truth.offsets) * wide + truth.items,
    )
    has = np.flatnonzero(np.bincount(ragged.segments(candidates.offsets)[is_true], minlength=len(queries)) == 1)
    curve = {}
    for place in places:
        moved = _moved(candidates.take(has), is_true[ragged.gather(candidates.offsets, has)[1]], place)
        ranked = fixed.rank(queries.take(has), moved).top_k(k)
        found = ragged.member(
            ragged.segments(ranked.offsets) * wide + ranked.items,
            ragged.segments(truth.take(has).offsets) * wide + truth.take(has).items,
        )
        curve[place] = float(found.sum() / max(len(has), 1))
    return curve


def _moved(lists: Lists, marked: NDArray[np.bool_], place: int) -> Lists:
    """Each list with its one marked element at `place`, the others in their order."""
    at = ragged.positions(lists.offsets).astype(np.float64)
    own = np.repeat(at[marked], lists.lengths)
    keys = np.where(marked, place, at - (at > own) + 0.0)
    keys = np.where(~marked & (keys >= place), keys + 1, keys)
    return lists.at(ragged.order_within(lists.offsets, keys), lists.offsets)


def popularity_curve(ranked: Lists, counts: NDArray[np.int64], depth: int = 20) -> list[float]:
    """Mean training frequency, divided by the largest, of the item at each output rank; 0 where no list is so long.

    Source: figure 3c.
    """
    seen = popularity_by_rank(ranked, counts, depth).rate / max(int(counts.max(initial=0)), 1)
    return [float(share) for share in np.nan_to_num(seen)]


def history_curve(
    ranker: Ranker, queries: Queries, candidates: Lists, counts: NDArray[np.int64], lengths: Sequence[int]
) -> dict[int, float]:
    """Popularity of the first item for each history length: the paper's remedy is a shorter one. Source: figure 3d.

    ranker: with the option `history`.
    """
    return {n: popularity_curve(variant(ranker, history=n).rank(queries, candidates), counts, 1)[0] for n in lengths}
