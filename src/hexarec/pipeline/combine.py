"""Small stages made of stages: Fuse, Window, Cascade, Blend. They give a pipeline its variety, not its slots."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Catalog,
    Dataset,
    Lists,
    OptionError,
    Queries,
    Ranker,
    Retriever,
    at_least,
    fitted,
    fuse,
    holdout,
    ragged,
    rng,
    track,
)
from hexarec.metrics.lists import hits, ndcg

S = TypeVar("S")
ASKED_AT_ONCE = 32
"""Validation questions between two looks at deadline and cancel, and two words on how far it is."""


def grown(stage: S, catalog: Catalog) -> S:
    """The stage for a grown catalog; one without `extend` serves the rows it knows."""
    made: S = stage.extend(catalog) if hasattr(stage, "extend") else stage
    return made


def _with_grown_ranker(stage: S, catalog: Catalog) -> S:
    made: Any = copy.copy(stage)
    made.ranker_ = grown(made.ranker_, catalog)
    result: S = made
    return result


@dataclass
class Fuse:
    """Several retrievers as one, by reciprocal rank fusion (Cormack et al. 2009)."""

    retrievers: Sequence[Retriever]
    """The stages whose lists are fused."""
    weights: Sequence[float] = ()
    """One weight per retriever; 1 for each when left out."""
    depth: int = 100
    """Candidates asked of each retriever, when fewer are wanted."""
    constant: float = 60.0
    """Added to every rank: larger values make the first places count less."""

    def __post_init__(self) -> None:
        if not self.retrievers or (self.weights and len(self.weights) != len(self.retrievers)):
            raise OptionError("Fuse needs retrievers, and as many weights when weights are given")
        at_least(self, depth=1, constant=0)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit each retriever."""
        self.retrievers_ = [fitted(one, data, seed) for one in self.retrievers]
        return self

    def extend(self, catalog: Catalog) -> Self:
        """Each retriever extended, where it can be."""
        made = copy.copy(self)
        made.retrievers_ = [grown(one, catalog) for one in self.retrievers_]
        return made

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k best of the fused lists; the field `source` is a bit mask of who found an item."""
        found = [one.retrieve(queries, max(k, self.depth)) for one in self.retrievers_]
        return fuse(found, self.weights or [1.0] * len(found), k, constant=self.constant)


@dataclass
class Window:
    """Rank only the first `size` candidates; the rest keep their order behind them."""

    ranker: Ranker
    """Orders the head."""
    size: int = 20
    """Candidates in the head."""

    def __post_init__(self) -> None:
        at_least(self, size=1)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the ranker."""
        self.ranker_ = fitted(self.ranker, data, seed)
        return self

    def extend(self, catalog: Catalog) -> Self:
        """The ranker extended, where it can be."""
        return _with_grown_ranker(self, catalog)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The head as the ranker orders it, then the tail."""
        head = self.ranker_.rank(queries, candidates.top_k(self.size))
        return stacked(head, candidates)


@dataclass
class Cascade:
    """Rankers from cheap to dear: each orders the first `sizes[i]` of what the one before left."""

    rankers: Sequence[Ranker]
    """From cheap to dear."""
    sizes: Sequence[int]
    """Candidates each of them orders."""

    def __post_init__(self) -> None:
        if len(self.rankers) != len(self.sizes) or not self.rankers:
            raise OptionError("Cascade needs rankers and one size for each")
        at_least(self, sizes=1)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit each ranker."""
        self.rankers_ = [fitted(one, data, seed) for one in self.rankers]
        return self

    def extend(self, catalog: Catalog) -> Self:
        """Each ranker extended, where it can be."""
        made = copy.copy(self)
        made.rankers_ = [grown(one, catalog) for one in self.rankers_]
        return made

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates after the last ranker; each tail follows in the order of the ranker before."""
        for ranker, size in zip(self.rankers_, self.sizes, strict=True):
            candidates = stacked(ranker.rank(queries, candidates.top_k(size)), candidates)
        return candidates


def stacked(head: Lists, whole: Lists) -> Lists:
    """`head` followed by the elements of `whole` that it lacks, in their order; scores fall with the place.

    Scores become 1 / (1 + place): head and tail come from different scales and must not be compared. Fields of the
    head that the tail lacks are padded with NaN (numbers) or -1 (integers).
    """
    tail = whole.without(head.items, head.offsets)
    row = np.concatenate([ragged.segments(head.offsets), ragged.segments(tail.offsets)])
    order = np.argsort(row, kind="stable")
    fields: dict[str, NDArray[Any]] = {}
    for name in {**head.fields, **tail.fields}:
        fields[name] = np.concatenate([_padded(part, name, head, tail) for part in (head, tail)])[order]
    offsets = ragged.offsets_of(head.lengths + tail.lengths)
    scores = (1.0 / (1.0 + ragged.positions(offsets))).astype(np.float32)
    items = np.concatenate([head.items, tail.items])[order]
    return replace(head, offsets=offsets, items=items, scores=scores, fields=fields)


def _padded(part: Lists, name: str, head: Lists, tail: Lists) -> NDArray[Any]:
    if name in part.fields:
        return part.fields[name]
    like = (head.fields.get(name) if name in head.fields else tail.fields[name]).dtype  # type: ignore[union-attr]
    blank = np.nan if like.kind == "f" else -1 if like.kind in "iu" else None
    return np.full(len(part.items), blank, like)


def z_scores(lists: Lists, scores: NDArray[Any]) -> NDArray[np.float64]:
    """Scores centred and scaled within each list; NaN stands one below the worst known; constant lists give zeros."""
    values = np.asarray(scores, np.float64).copy()
    row, n = ragged.segments(lists.offsets), len(lists)
    known = np.isfinite(values)
    count = np.maximum(np.bincount(row[known], minlength=n), 1)
    mean = np.bincount(row[known], weights=values[known], minlength=n) / count
    centred = values - mean[row]
    deviation = np.sqrt(np.bincount(row[known], weights=centred[known] ** 2, minlength=n) / count)
    out = centred / np.where(deviation > 1e-12, deviation, 1.0)[row]
    low = np.zeros(n)
    np.minimum.at(low, row[known], out[known])
    out[~known] = (low - 1.0)[row[~known]]
    return out


@dataclass
class Blend:
    """A ranker mixed with the retrieval score: (1 - w) z(retrieval) + w z(ranker), w learned on validation.

    The weight is chosen from `grid` by NDCG@10 on a validation cut of the training data, and kept only when its gain
    over w = 0 exceeds two standard errors of the paired differences (the best of eleven is luckier than one): a weak
    model nearly always gets 0, and is then not asked at all.
    """

    ranker: Ranker
    """The model whose order is weighed."""
    source: Retriever
    """The retriever whose candidates are ranked on validation; fitted on the earlier part only."""
    window: int = 20
    """Candidates the ranker sees; the rest stay behind them."""
    sample: int = 60
    """Most validation questions asked, among those whose candidates hold an answer (the others say nothing)."""
    share: float = 0.1
    """Newest share of the log that is the validation."""
    grid: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Weights tried; 0 must be among them."""

    def __post_init__(self) -> None:
        if 0.0 not in self.grid or any(not 0.0 <= w <= 1.0 for w in self.grid):
            raise OptionError("grid holds weights between 0 and 1, and 0 among them")
        at_least(self, window=1, sample=1, share=0)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn the weight on a cut of `data`, then fit the ranker on all of it."""
        self.weight_, self.asked_ = 0.0, 0
        self.curve_: list[list[float]] = []
        self.ranker_ = fitted(self.ranker, data, seed)
        if not len(data.interactions):
            return self  # nothing to validate on: the ranker gets no weight
        cut = holdout(data, self.share)
        queries, truth, candidates = self._validation(cut, seed)
        self.asked_ = len(queries)
        if len(queries):
            ranker = fitted(self.ranker, cut.train, seed)
            parts = track(list(queries.blocks(ASKED_AT_ONCE)), "ask validation users")
            ranked = Lists.join([ranker.rank(part, candidates.take(place)) for place, part in parts])
            self._choose(candidates, ranked, truth)
        return self

    def _validation(self, cut: Any, seed: int) -> tuple[Queries, Lists, Lists]:
        source = fitted(self.source, cut.train, seed)
        candidates = source.retrieve(cut.queries, self.window)
        wide = len(cut.train.catalog) + 1
        row = ragged.segments(candidates.offsets)
        right = ragged.member(
            row * wide + candidates.items, ragged.segments(cut.truth.offsets) * wide + cut.truth.items
        )
        useful = self._useful(row[right], len(cut.queries))
        picked = np.sort(rng(seed, "blend").permutation(useful)[: self.sample])
        return cut.queries.take(picked), cut.truth.take(picked), candidates.take(picked)

    def _useful(self, right: NDArray[Any], n: int) -> NDArray[Any]:
        """The questions to ask among n. right: question of each true candidate."""
        # where nothing true is among the candidates every weight scores 0: asking would only cost
        return np.unique(right)

    def _choose(self, candidates: Lists, ranked: Lists, truth: Lists) -> None:
        scores = {w: ndcg(hits(self._mixed(candidates, ranked, w), truth, 10), 10) for w in self.grid}
        self.curve_ = [[w, float(np.mean(values))] for w, values in scores.items()]
        best = max(self.grid, key=lambda w: (float(np.mean(scores[w])), -w))
        gain = scores[best] - scores[0.0]
        error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else np.inf
        self.gain_, self.error_ = float(gain.mean()), error if np.isfinite(error) else 0.0
        self.weight_ = float(best) if gain.mean() > 2.0 * error else 0.0

    def _mixed(self, candidates: Lists, ranked: Lists, weight: float) -> Lists:
        """The candidates by the weighted z-scores; `score.retrieval` and `score.ranker` stay as fields."""
        own = _aligned(candidates, ranked)
        mixed = (1.0 - weight) * z_scores(candidates, candidates.scores) + weight * z_scores(candidates, own)
        made = candidates.with_field("score.retrieval", candidates.scores).with_field("score.ranker", own)
        return replace(made.scored(mixed, "blend"), notes=ranked.notes)

    def extend(self, catalog: Catalog) -> Self:
        """The ranker extended, where it can be; the weight stays."""
        return _with_grown_ranker(self, catalog)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The mixed head, then the rest as it came. With weight 0 the ranker is not asked."""
        if self.weight_ == 0.0:
            return candidates
        head = candidates.top_k(self.window)
        return stacked(self._mixed(head, self.ranker_.rank(queries, head), self.weight_), candidates)


def _aligned(lists: Lists, ranked: Lists) -> NDArray[np.float32]:
    """The scores of `ranked`, in the element order of `lists` (both hold the same elements)."""
    wide = int(max(lists.items.max(initial=0), ranked.items.max(initial=0))) + 1
    ours = ragged.segments(lists.offsets) * wide + lists.items
    theirs = ragged.segments(ranked.offsets) * wide + ranked.items
    order = np.argsort(theirs)
    return np.asarray(ranked.scores[order[np.searchsorted(theirs[order], ours)]], np.float32)
