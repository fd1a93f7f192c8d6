"""Yes or no about one item: labelled cases from a log or from exposures, few of them drawn, prompts, probabilities.

A case is a question about one item at one moment: the history is what came before, the label says whether the item was
liked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core import DataError, Dataset, Exposures, Lists, Queries, degrade, holdout, ragged, rng
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.lm.cassette import keeping
from hexarec.parts.usable import complete, of_rows

Negatives = Literal["log", "drawn"]


@dataclass(frozen=True, eq=False)
class Cases:
    """n labelled cases: questions, the item asked about (n,) int32, and whether it was liked (n,) bool."""

    queries: Queries
    item: NDArray[np.int32]
    liked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: NDArray[Any] | slice) -> Cases:
        """The cases at these positions."""
        return Cases(self.queries.take(rows), self.item[rows], self.liked[rows])

    @property
    def lists(self) -> Lists:
        """Each case's item as a list of one."""
        return Lists.of(self.queries.catalog.key, self.item[:, None].tolist())


def cases_of(data: Dataset, *, negatives: Negatives = "log", past: int = 1, seed: int = 0) -> Cases:
    """All labelled cases of a data set, oldest first.

    Where the data set has exposures of source "log", they are the cases, those of unknown gain left out. Else every
    event with at least `past` events of its user before it is one: liked or not as the log says; with `drawn`, only
    liked events count, and each is followed by a case about an item that its user never met.

    Raises DataError where no case, or none of one of the two labels, is found.
    """
    made = _cases(data, negatives, past, seed)
    if not len(made) or made.liked.all() or not made.liked.any():
        lacking = "no labelled cases" if not len(made) else f"only {'liked' if made.liked.all() else 'disliked'} cases"
        raise DataError(
            f"{data.name} has {lacking} to learn from",
            hint=_mends(data, negatives),
        )
    return made


def _mends(data: Dataset, negatives: Negatives) -> str:
    """What gives a data set cases of both labels."""
    if _shown(data) is not None:
        return "its exposures of source 'log' are the cases: some need a gain above 0, some a gain of 0"
    if negatives == "drawn":
        return "needs liked events with an event of their user before them, and items that these users have not met"
    return "import ratings with a like rule, give exposures, or take negatives='drawn'"


def split_cases(
    data: Dataset, share: float, *, negatives: Negatives = "log", past: int = 1, seed: int = 0
) -> tuple[Cases, Cases]:
    """Cases to learn from, all of them before the cut of `core.holdout(data, share)`, and those from the cut on.

    Raises as `cases_of` does for the first; the second may be empty or of one label.
    """
    held = holdout(data, share)
    train = cases_of(held.train, negatives=negatives, past=past, seed=seed)
    whole = _cases(data, negatives, past, seed)
    if data.interactions.clock:
        return train, whole.take(whole.queries.now >= held.queries.now.min(initial=np.inf))
    cut = np.full(data.n_users + 1, np.inf)  # row -1 is nobody
    cut[held.queries.user] = held.queries.now
    return train, whole.take(whole.queries.now >= cut[whole.queries.user])


def _cases(data: Dataset, negatives: Negatives, past: int, seed: int) -> Cases:
    shown = _shown(data)
    return _of_log(data, past, negatives, seed) if shown is None else _of_exposures(shown)


def _shown(data: Dataset) -> Exposures | None:
    """The exposures that are the cases; None where the log is."""
    return data.exposures if data.exposures is not None and data.exposures.source == "log" else None


def _of_exposures(shown: Exposures) -> Cases:
    rows = ragged.segments(shown.shown.offsets)
    gain = shown.shown.fields["gain"]
    known = np.flatnonzero(~np.isnan(gain))
    known = known[np.argsort(shown.queries.now[rows[known]], kind="stable")]
    return Cases(shown.queries.take(rows[known]), shown.shown.items[known], gain[known] > 0)


def _of_log(data: Dataset, past: int, negatives: Negatives, seed: int) -> Cases:
    log = data.interactions
    before = ragged.count_before(log.offsets, log.time, log.user.astype(np.int64), log.time)
    keep = before >= past
    if negatives == "drawn":
        keep &= log.liked
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(log.time[rows], kind="stable")]
    cases = Cases(data.queries(log.user[rows], now=log.time[rows]), log.item[rows], log.liked[rows].copy())
    return cases if negatives == "log" else _with_drawn(data, cases, rows, seed)


def _with_drawn(data: Dataset, cases: Cases, rows: NDArray[np.int64], seed: int) -> Cases:
    """Each case followed by one about an item that its user never met, at the same moment."""
    log, alive = data.interactions, np.flatnonzero(data.catalog.alive)
    items = np.empty(len(rows), np.int32)
    for n, row in enumerate(rows.tolist()):
        user = int(log.user[row])
        met = log.item[slice(*log.offsets[user : user + 2])]
        free = np.setdiff1d(alive, met)
        draw = rng(seed, "negative", data.users.ids.ids[user], str(float(log.time[row])), int(log.item[row]))
        items[n] = free[int(draw.integers(len(free)))] if len(free) else -1
    both = np.repeat(np.arange(len(rows)), 2)
    item = np.stack([cases.item, items], 1).reshape(-1)
    liked = np.tile([True, False], len(rows))
    made = Cases(cases.queries.take(both), item, liked)
    return made.take(np.flatnonzero(item >= 0))


def shots(cases: Cases, k: int, *, balanced: bool = False, seed: int = 0) -> Cases:
    """k cases drawn without replacement, in their order in time; `balanced`: as many liked as not, where there are.

    Equal seeds give nested draws: the first 16 of 64 are the 16.
    """
    return cases.take(drawn(cases, k, balanced=balanced, seed=seed))


def drawn(cases: Cases, k: int, *, balanced: bool = False, seed: int = 0) -> NDArray[np.int64]:
    """The positions of `shots`, ascending."""
    draw = rng(seed, "shots")
    order = draw.permutation(len(cases))
    if balanced:
        liked = cases.liked[order]
        place = np.where(liked, 2 * np.cumsum(liked), 2 * np.cumsum(~liked) + 1)
        order = order[np.argsort(place, kind="stable")]
    return np.sort(order[:k])


def yes_probabilities(
    lm: LanguageModel, prompts: Sequence[Prompt], labels: Sequence[tuple[str, str]]
) -> NDArray[np.float64]:
    """(n,) probability of each prompt's first label among its two; NaN, and said so, where the model gives none."""
    odds = np.full(len(prompts), np.nan)
    for pair in dict.fromkeys(labels):
        rows = [row for row, own in enumerate(labels) if own == pair]
        with keeping(of_rows(complete)):
            values = lm.label([prompts[row] for row in rows], pair).astype(np.float64)
        with np.errstate(invalid="ignore"):  # both ruled out: no probability
            odds[rows] = values[:, 0] - values[:, 1]
    if lost := int(np.isnan(odds).sum()):
        degrade(f"{lost} of {len(odds)} answers give no probability of {labels[0][0]} and {labels[0][1]}")
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def liked_and_not(queries: Queries, i: int, most: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The liked and the other items among the newest `most` events of a history, oldest first."""
    part = slice(*queries.history.offsets[i : i + 2])
    items, liked = queries.history.item[part][-most:], queries.history.liked[part][-most:]
    return items[liked], items[~liked]
