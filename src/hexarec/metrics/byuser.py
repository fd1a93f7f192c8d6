"""Metrics of labelled pairs and of worded reasons with what a bootstrap over users needs: users are what is sampled.

A user's pairs (or reasons) are drawn together, so a few users with many of them do not make an interval narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.metrics.labels import Pairs, accuracy, auc, bins_of, ece, log_loss, uauc
from hexarec.metrics.names import Measured
from hexarec.metrics.stats import user_draws

Floats = NDArray[np.float64]


def ratio(over: Floats, under: Floats, group: NDArray[np.int64], n_groups: int) -> Measured:
    """Sum of `over` / sum of `under`, both (m,), with draws by user; NaN where nothing is below the line."""
    top = np.bincount(group, over, minlength=n_groups)
    bottom = np.bincount(group, under, minlength=n_groups)
    total = bottom.sum()
    value = float(top.sum() / total) if total else float("nan")
    return Measured(value, draws=user_draws(lambda w: _divided(w @ top, w @ bottom), n_groups))


def _divided(over: Floats, under: Floats) -> Floats:
    return np.asarray(np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0))


def weighted_auc(pairs: Pairs, weights: Floats) -> Floats:
    """The AUC of all pairs when user g counts weights[r, g] times, (r,); NaN where a class has no weight."""
    order = np.argsort(pairs.score, kind="stable")
    score = pairs.score[order]
    starts = np.flatnonzero(np.append(True, score[1:] != score[:-1])) if len(score) else np.zeros(0, np.int64)
    if not len(starts):
        return np.full(len(weights), np.nan)
    each = weights[:, pairs.group[order]]
    good = np.add.reduceat(each * pairs.label[order], starts, axis=1)
    bad = np.add.reduceat(each * ~pairs.label[order], starts, axis=1)
    above = (good * (np.cumsum(bad, axis=1) - bad / 2)).sum(1)
    return _divided(above, good.sum(1) * bad.sum(1))


def _auc(pairs: Pairs) -> Measured:
    draws = user_draws(lambda w: weighted_auc(pairs, w), pairs.n_groups, cost=4 * len(pairs.label))
    return Measured(auc(pairs), draws=draws)


def _mean(pairs: Pairs, values: Floats | None) -> Measured:
    assert values is not None
    return ratio(values, np.ones(len(values)), pairs.group, pairs.n_groups)


def _ece(pairs: Pairs, bins: int = 15) -> Measured:
    gaps = np.zeros((pairs.n_groups, bins))
    np.add.at(gaps, (pairs.group, bins_of(pairs.score, bins)), pairs.label - pairs.probabilities())
    sizes = np.bincount(pairs.group, minlength=pairs.n_groups).astype(np.float64)
    draws = user_draws(lambda w: _divided(np.abs(w @ gaps).sum(1), w @ sizes), pairs.n_groups)
    return Measured(ece(pairs, bins), draws=draws)


def _failures(pairs: Pairs) -> Measured:
    lost = np.ones(len(pairs.lost))
    group = np.concatenate([pairs.group, pairs.lost])
    over = np.concatenate([np.zeros(len(pairs.group)), lost])
    return ratio(over, np.ones(len(group)), group, pairs.n_groups)


def _probable(pairs: Pairs, measure: Callable[[Pairs], Measured]) -> Measured:
    """The metric, NaN for scores that are no probabilities: a table of mixed systems leaves the place open."""
    try:
        pairs.probabilities()
    except DataError:
        return Measured(float("nan"))
    return measure(pairs)


_LABELS: dict[str, Callable[[Pairs], Any]] = {
    "auc": _auc,
    "uauc": lambda pairs: uauc(pairs).values,  # per user, as list metrics are
    "uauc_users": lambda pairs: Measured(float(uauc(pairs).counted)),
    "log_loss": lambda pairs: _probable(pairs, lambda p: _mean(p, log_loss(p).values)),
    "ece": lambda pairs: _probable(pairs, _ece),
    "accuracy": lambda pairs: _probable(pairs, lambda p: _mean(p, accuracy(p).values)),
    "parse_failure_rate": _failures,
}


def label_metrics(pairs: Pairs, names: Sequence[str] = tuple(_LABELS)) -> dict[str, Any]:
    """These metrics of labelled pairs: values per user for `uauc`, else a Measured with draws by user.

    `log_loss`, `ece` and `accuracy` are NaN for scores outside [0, 1]. Raises OptionError for another name.
    """
    return {name: _named(_LABELS, name, "labelled pairs")(pairs) for name in names}


def _named(table: Mapping[str, Callable[..., Any]], name: str, what: str) -> Callable[..., Any]:
    if name not in table:
        raise OptionError(f"{name} does not measure {what}", hint=f"take {', '.join(table)}")
    return table[name]


# over and under of each rate, from the counts of one request
_WORDS: dict[str, Callable[[Mapping[str, Floats]], tuple[Floats, Floats]]] = {
    "raw_invention": lambda c: (_some(c["raw_unsupported"]), _ones(c)),
    "repaired_invention": lambda c: (_some(c["claims"] - c["supported"]), _ones(c)),
    "claim_precision": lambda c: (c["supported"], c["claims"]),
    "template_share": lambda c: (c["template"], _ones(c)),
    "retried_share": lambda c: (_some(np.maximum(c["answers"] - 1, 0)), _ones(c)),
    "empty_share": lambda c: (c["empty"], _ones(c)),
}
COUNTS = ("claims", "supported", "raw_unsupported", "answers", "template", "empty")

RESAMPLED = frozenset({*_LABELS, *_WORDS} - {"uauc", "uauc_users"})
"""Metrics of all pairs or requests together: their intervals and tests come from draws of users."""


def _ones(counts: Mapping[str, Floats]) -> Floats:
    return np.ones(len(counts["claims"]))


def _some(counts: Floats) -> Floats:
    return (counts > 0).astype(np.float64)


def word_metrics(
    rows: Sequence[Mapping[str, Any]], group: NDArray[np.int64], n_groups: int, names: Sequence[str] = tuple(_WORDS)
) -> dict[str, Measured]:
    """These metrics of worded requests, with draws by user.

    rows: one per request, also of those that came to nothing, with the counts `claims` and `supported` (of the text
    shown), `raw_unsupported` (claims of the first answer that are not supported), `answers` (how often the model was
    asked), `template` and `empty` (1 or 0). group: the user of each. Raises OptionError for another name.
    """
    counts = {name: np.array([row[name] for row in rows], np.float64) for name in COUNTS}
    out = {}
    for name in names:
        over, under = _named(_WORDS, name, "words")(counts)
        out[name] = ratio(over, under, group, n_groups)
    return out
