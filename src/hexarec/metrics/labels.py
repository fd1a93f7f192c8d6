"""Labelled pairs against scores: AUC, AUC per user, log loss, calibration error, accuracy.

A pair is (user, item, label); its score is what a system said. Pairs whose score or label is NaN are left out of
every metric and counted: a system that skips the hard pairs is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError
from hexarec.core.exposures import Exposures
from hexarec.metrics.names import Measured

Floats = NDArray[np.float64]
CLIP = 1e-15  # probabilities are kept this far from 0 and 1 in the log loss


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs that can be judged: label (m,) bool, score (m,) float64, group (m,) int64 (the user or question).

    n_groups: all groups, also those without a judged pair. excluded: pairs left out for a NaN score or label. lost:
    (u,) the groups of labelled pairs without a score.
    """

    label: NDArray[np.bool_]
    score: Floats
    group: NDArray[np.int64]
    n_groups: int
    excluded: int
    lost: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, label: NDArray[Any], score: NDArray[Any], group: NDArray[Any] | None = None) -> Pairs:
        """From columns of one length; a label above 0 is positive. Without `group` all pairs are one group."""
        label, score = np.asarray(label, np.float64), np.asarray(score, np.float64)
        rows = np.zeros(len(label), np.int64) if group is None else np.asarray(group, np.int64)
        if len(score) != len(label) or len(rows) != len(label):
            raise DataError(f"{len(score)} scores and {len(rows)} groups for {len(label)} labels")
        keep = ~(np.isnan(label) | np.isnan(score))
        n_groups = int(rows.max(initial=-1)) + 1
        lost = rows[~np.isnan(label) & np.isnan(score)]
        return cls(label[keep] > 0, score[keep], rows[keep], n_groups, int(np.count_nonzero(~keep)), lost)

    @classmethod
    def of_exposures(cls, exposures: Exposures, score: NDArray[Any] | None = None) -> Pairs:
        """Each shown item with its gain; score: (len(shown.items),), the lists' own scores by default.

        Pairs are grouped by user, questions of nobody each on their own.
        """
        shown, user = exposures.shown, exposures.queries.user.astype(np.int64)
        alone = int(user.max(initial=-1)) + 1 + np.arange(len(user))
        codes = np.unique(np.where(user < 0, alone, user), return_inverse=True)[1]
        given = shown.scores if score is None else score
        return cls.of(shown.fields["gain"], given, codes[ragged.segments(shown.offsets)])

    def probabilities(self) -> Floats:
        """The scores, which must lie in [0, 1]; DataError otherwise."""
        if len(self.score) and not (self.score.min() >= 0.0 and self.score.max() <= 1.0):
            raise DataError("scores are not probabilities", field="score", hint="give values between 0 and 1")
        return self.score


def _auc(pairs: Pairs) -> Floats:
    """AUC of each group, (n_groups,), NaN without both classes: rank sums with average ranks for ties."""
    order = np.lexsort((pairs.score, pairs.group))
    group, score, label = pairs.group[order], pairs.score[order], pairs.label[order]
    if not len(group):
        return np.full(pairs.n_groups, np.nan)
    fresh = np.concatenate([np.ones(1, bool), (group[1:] != group[:-1]) | (score[1:] != score[:-1])])
    starts = np.flatnonzero(fresh)
    size = np.diff(np.append(starts, len(group)))
    total = np.bincount(group, minlength=pairs.n_groups)
    base = (np.cumsum(total) - total)[group]
    rank = np.repeat(starts + (size + 1) / 2, size) - base
    good = np.bincount(group, label, minlength=pairs.n_groups)
    both = good * (total - good)
    above = np.bincount(group, rank * label, minlength=pairs.n_groups) - good * (good + 1) / 2
    return np.asarray(np.where(both > 0, above / np.maximum(both, 1), np.nan))


def auc(pairs: Pairs) -> float:
    """Area under the ROC curve = P(a positive scores above a negative), ties count half; in [0, 1], higher is better.

    All pairs together, whoever the user; NaN without both classes. Source: Mann and Whitney 1947.
    """
    one = Pairs(pairs.label, pairs.score, np.zeros(len(pairs.label), np.int64), 1, pairs.excluded)
    return float(_auc(one)[0])


def uauc(pairs: Pairs) -> Measured:
    """The mean of the AUC inside each user, users with both classes only; their number is `counted`.

    In [0, 1], higher is better; every user counts once. values: (n_groups,). Source: CoLLM (arXiv 2310.19488).
    """
    return Measured.mean(_auc(pairs))


def log_loss(pairs: Pairs) -> Measured:
    """Mean of -log p(label), natural logarithm, p kept 1e-15 from 0 and 1; lower is better. values: per pair."""
    p = np.clip(pairs.probabilities(), CLIP, 1.0 - CLIP)
    return Measured.mean(-np.where(pairs.label, np.log(p), np.log1p(-p)))


def ece(pairs: Pairs, bins: int = 15) -> float:
    """Expected calibration error of P(positive): sum over equal-width bins of share * |mean label - mean score|.

    In [0, 1], lower is better; bins are closed on the right, the first on both sides; NaN without pairs.
    Source: Guo et al. 2017 (arXiv 1706.04599), with the probability of the positive class as confidence.
    """
    p = pairs.probabilities()
    if not len(p):
        return float("nan")
    gap = np.bincount(bins_of(p, bins), pairs.label - p, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def bins_of(p: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each probability, (m,) int64: of equal width, closed on the right, the first on both sides."""
    return np.asarray(np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1))


def accuracy(pairs: Pairs, threshold: float = 0.5) -> Measured:
    """The share of pairs for which (score >= threshold) is the label; in [0, 1], higher is better. values: per pair."""
    return Measured.mean(((pairs.score >= threshold) == pairs.label).astype(np.float64))
