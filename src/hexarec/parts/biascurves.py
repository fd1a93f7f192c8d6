"""What a place in the prompt, popularity and the length of the history do to a ranker that asks a model.

Source: Hou et al. 2023, arXiv:2305.08845, figures 3a, 3c and 3d; the agreement of orders is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists, OptionError, Queries, Ranker, ragged, rng, variant
from hexarec.lm.base import LanguageModel
from hexarec.metrics import Measured, mean_kendall, popularity_by_rank
from hexarec.parts.ask import MISSING, Ask, Asked, Question


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


def shuffle_agreement(
    ranker: Ranker, queries: Queries, candidates: Lists, shuffles: int = 10, *, seed: int = 0
) -> Measured:
    """Mean Kendall's tau between a ranker's orders of the same candidates, given in so many independent orders.

    In [-1, 1], 1 = the order of the prompt does not matter; a value for each list. ranker: with the options `shuffle`
    and `rounds`; it shows what it is given as it is given. Raises OptionError for less than two shuffles.
    """
    if shuffles < 2:
        raise OptionError(f"orders agree with each other, {shuffles} is too few", hint="take at least 2 shuffles")
    fixed = variant(ranker, shuffle=False, rounds=1)
    given = [
        candidates.at(
            ragged.order_within(candidates.offsets, rng(seed, "shuffle", n).random(len(candidates.items))),
            candidates.offsets,
        )
        for n in range(shuffles)
    ]
    return mean_kendall([fixed.rank(queries, one) for one in given])


def order_agreement(ask: Ask, lm: LanguageModel, questions: Sequence[Question]) -> Measured:
    """The same for closed lists: tau between the rounds of each question, every one an order of its own.

    (n,); a round of no use does not count, and less than two leave NaN. What a round leaves out stands behind the rest
    in the order of the options. A back end that shows one option at a time has no order that could matter: 1.
    """
    asked = ask(lm, questions)
    orders = [Lists.of("", [_round(one, n) for one in asked]) for n in range(ask.rounds)]
    return mean_kendall(orders)


def _round(asked: Asked, n: int) -> list[int]:
    """The order of one round; none where it values all options alike, or none of them."""
    row = np.nan_to_num(asked.by_round[n % len(asked.by_round)], nan=MISSING)
    return [] if (row == row[0]).all() else np.argsort(-row, kind="stable").tolist()
