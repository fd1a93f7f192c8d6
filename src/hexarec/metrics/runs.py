"""What a whole run of lists does to the catalog: coverage, concentration, novelty, popularity; and run metrics by name.

Every function takes (lists, reference, k) and returns `Measured`; with per-list values, `value` is their mean.
An empty list is NaN per list and adds nothing to the counts of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from hexarec.core.errors import OptionError
from hexarec.core.lists import Lists
from hexarec.metrics import diversity, fairness
from hexarec.metrics.names import Measured, Metric, parse
from hexarec.metrics.reference import Floats, Reference, first, segment_means

MOST = 3  # items that are recommended most, by SPRec


def exposures_of(lists: Lists, reference: Reference, k: int) -> Floats:
    """How often each living catalog item stands in a top k, (n_alive,), in catalog order."""
    reference.check(lists)
    alive = reference.queries.catalog.alive
    return np.bincount(first(lists, k).items, minlength=len(alive))[: len(alive)][alive].astype(np.float64)


def coverage(lists: Lists, reference: Reference, k: int) -> Measured:
    """Coverage@k = living items in at least one top k / living items; in [0, 1], higher is better."""
    shown = exposures_of(lists, reference, k)
    return Measured(float(np.count_nonzero(shown) / len(shown)) if len(shown) else float("nan"))


def gini(lists: Lists, reference: Reference, k: int) -> Measured:
    """Gini@k of exposure over the whole living catalog = sum (2 i - n - 1) x_i / (n sum x), x ascending, i from 1.

    0 = every item equally often, 1 - 1 / n = one item only; lower is better; NaN when nothing was shown.
    """
    shown = np.sort(exposures_of(lists, reference, k))
    n, total = len(shown), shown.sum()
    if not total:
        return Measured(float("nan"))
    return Measured(float(((2.0 * np.arange(1, n + 1) - n - 1.0) * shown).sum() / (n * total)))


def entropy(lists: Lists, reference: Reference, k: int) -> Measured:
    """Entropy@k of exposure = -sum p log2 p (bits), p = an item's share of places; in [0, log2 n], more is wider."""
    shown = exposures_of(lists, reference, k)
    if not shown.sum():
        return Measured(float("nan"))
    share = shown[shown > 0] / shown.sum()
    return Measured(float(max(0.0, -(share * np.log2(share)).sum())))


def novelty(lists: Lists, reference: Reference, k: int) -> Measured:
    """Novelty@k = mean of -log2 p(i) in bits over the top k, p(i) = (events of i + 1) / (all events + n_items).

    At least 0; neither direction is better by itself. Source: Zhou et al. 2010, PNAS (mean self-information).
    """
    reference.check(lists)
    top, seen = first(lists, k), reference.popularity()
    surprise = np.log2(seen.sum() + len(seen)) - np.log2(seen + 1.0)
    return Measured.mean(segment_means(top.offsets, surprise[top.items]))


def avg_popularity(lists: Lists, reference: Reference, k: int) -> Measured:
    """Average popularity@k = mean number of training events of the items in the top k; at least 0."""
    reference.check(lists)
    top = first(lists, k)
    return Measured.mean(segment_means(top.offsets, reference.popularity()[top.items]))


def popularity_lift(lists: Lists, reference: Reference, k: int) -> Measured:
    """Popularity lift@k = mean popularity of the lists / mean popularity of their users' histories (all events).

    1 = as popular as what these users chose, above 1 = more. Only questions with a list and a history count; both
    means are over users. values: a list's popularity / the common mean of the histories, so that their mean is the
    value. Source: Abdollahpouri et al. 2019 (arXiv 1907.13286); theirs is this ratio - 1.
    """
    ours = avg_popularity(lists, reference, k).values
    seen, past = reference.popularity(), reference.queries.history
    theirs = segment_means(past.offsets, seen[past.item])
    assert ours is not None
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    base = theirs[both].mean() if both.any() else 0.0
    return Measured.mean(np.where(both, ours / base, np.nan) if base > 0 else np.full(len(ours), np.nan))


def div_ratio(lists: Lists, reference: Reference, k: int) -> Measured:
    """DivRatio@k = distinct items in the top k of all lists / (lists x k); in [0, 1], higher is more varied.

    The denominator is what was asked for: places that a list leaves empty count. Source: SPRec (arXiv 2412.09243).
    """
    shown = exposures_of(lists, reference, k)
    return Measured(float(np.count_nonzero(shown) / (len(lists) * k)) if shown.sum() else float("nan"))


def or_ratio(lists: Lists, reference: Reference, k: int) -> Measured:
    """ORRatio@k = places taken by the 3 items that are recommended most / (lists x k); in [0, 1], lower is better.

    The denominator is that of `div_ratio`. Source: SPRec (arXiv 2412.09243).
    """
    shown = np.sort(exposures_of(lists, reference, k))
    return Measured(float(shown[-MOST:].sum() / (len(lists) * k)) if shown.sum() else float("nan"))


MEASURES: Mapping[str, Callable[[Lists, Reference, int], Measured]] = {
    "coverage": coverage, "gini": gini, "entropy": entropy, "novelty": novelty, "avg_popularity": avg_popularity,
    "popularity_lift": popularity_lift, "ild": diversity.ild, "ild_tags": diversity.ild_tags,
    "calibration": diversity.calibration, "unexpectedness": diversity.unexpectedness, "div_ratio": div_ratio,
    "or_ratio": or_ratio, "mgu": fairness.mgu, "dgu": fairness.dgu,
    "tag_coverage": diversity.tag_coverage,
}  # fmt: skip


def measure(lists: Lists, reference: Reference, metrics: Iterable[str | Metric]) -> dict[str, Measured]:
    """Run metrics by name, canonical name -> Measured.

    Raises OptionError for a name that is not a run metric or has a slice, DataError where the reference lacks what
    a metric needs.
    """
    out: dict[str, Measured] = {}
    for one in map(parse, metrics):
        if one.family != "run" or one.slice:
            raise OptionError(f"{one} is not a run metric", hint=f"run metrics: {', '.join(MEASURES)}")
        out[str(one)] = MEASURES[one.name](lists, reference, one.k)
    return out
