"""Ranked lists in columns: the currency between stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError
from hexarec.core.ids import Rows, same_lineage
from hexarec.core.queries import Queries

Scores = NDArray[np.float32]
BLOCK = 512  # questions scored at once: 512 x 10,000 items x 4 bytes = 20 MB


@dataclass(frozen=True, eq=False)
class RankedList:
    """One list as a view: items are catalog rows, best first."""

    items: NDArray[np.int32]
    scores: Scores
    fields: Mapping[str, NDArray[Any]]
    note: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Lists:
    """One list per question, best first: list i is items[offsets[i]:offsets[i + 1]].

    items: int32 catalog rows, distinct within a list. scores: float32, NaN = not scored. fields: name -> (len(items),)
    column; reserved: source, score.<stage>, propensity, slot, status, why (index into `evidence`, -1 = none).
    notes: one mapping per question (for example its ParseReport), or empty. key: lineage of the rows.
    """

    key: str
    offsets: NDArray[np.int64]
    items: Rows
    scores: Scores
    fields: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: tuple[Mapping[str, Any], ...] = ()
    evidence: tuple[Any, ...] = ()

    @classmethod
    def empty(cls, key: str, n: int) -> Lists:
        """n empty lists."""
        return cls(key, np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    @classmethod
    def of(cls, key: str, rows: Sequence[Sequence[int]], scores: Sequence[Sequence[float]] = ()) -> Lists:
        """From Python sequences, in the order given; without scores, the reciprocal of the place."""
        offsets = ragged.offsets_of(np.array([len(row) for row in rows], np.int64))
        flat = np.array([item for row in rows for item in row], np.int32)
        if scores:
            values = np.array([value for row in scores for value in row], np.float32)
        else:
            values = (1.0 / (1.0 + ragged.positions(offsets))).astype(np.float32)
        if len(values) != len(flat):
            raise DataError(f"{len(values)} scores for {len(flat)} items")
        return cls(key, offsets, flat, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[RankedList]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> RankedList:
        part = slice(*self.offsets[i : i + 2])
        fields = {name: column[part] for name, column in self.fields.items()}
        return RankedList(self.items[part], self.scores[part], fields, self.notes[i] if self.notes else {})

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items per list, (n,) int64."""
        return np.diff(self.offsets)

    def same(self, other: Lists) -> None:
        """Raise unless the other lists are as many and of the same lineage."""
        same_lineage(self.key, other.key)
        if len(self) != len(other):
            raise DataError(f"{len(other)} lists where {len(self)} are expected")

    def at(self, flat: NDArray[np.int64], offsets: NDArray[np.int64]) -> Lists:
        """The elements at flat positions, cut into lists by `offsets`; all fields follow."""
        fields = {name: column[flat] for name, column in self.fields.items()}
        return replace(self, offsets=offsets, items=self.items[flat], scores=self.scores[flat], fields=fields)

    def where(self, keep: NDArray[np.bool_]) -> Lists:
        """Only the elements marked in `keep`, in their order."""
        return self.at(np.flatnonzero(keep), ragged.kept(self.offsets, keep))

    def take(self, rows: NDArray[Any] | slice) -> Lists:
        """The lists at these positions (indices, a boolean mask or a slice)."""
        index = np.arange(len(self))[rows]
        offsets, flat = ragged.gather(self.offsets, index)
        made = self.at(flat, offsets)
        return replace(made, notes=tuple(self.notes[i] for i in index) if self.notes else ())

    def top_k(self, k: int) -> Lists:
        """The first k of each list."""
        return self.where(ragged.positions(self.offsets) < k)

    def without(self, items: Rows, offsets: NDArray[np.int64]) -> Lists:
        """Each list without the items of the ragged set at the same position."""
        wide = int(max(self.items.max(initial=0), items.max(initial=0))) + 1
        ours = ragged.segments(self.offsets) * wide + self.items
        return self.where(~ragged.member(ours, ragged.segments(offsets) * wide + items))

    def permitted(self, queries: Queries) -> Lists:
        """Each list without what its question excludes, filters out, or what is gone from the catalog."""
        same_lineage(queries.catalog.key, self.key)
        return self.where(queries.permits(self.offsets, self.items))

    def scored(self, scores: NDArray[Any], name: str = "") -> Lists:
        """The same elements with new scores (len(items),), sorted best first; ties keep their order, NaN last.

        With `name`, the scores also stay as the field `score.<name>`.
        """
        if len(scores) != len(self.items):
            raise DataError(f"{len(scores)} scores for {len(self.items)} items")
        values = np.asarray(scores, np.float32)
        fields = {**self.fields, f"score.{name}": values} if name else self.fields
        made = replace(self, scores=values, fields=fields)
        return made.at(ragged.order_within(self.offsets, -values), self.offsets)

    def with_field(self, name: str, column: NDArray[Any]) -> Lists:
        """The lists with one more column (len(items),)."""
        if len(column) != len(self.items):
            raise DataError(f"{len(column)} values for {len(self.items)} items", field=name)
        return replace(self, fields={**self.fields, name: column})

    def dropping(self, *names: str) -> Lists:
        """The lists without these fields: what a stage calls when it has made them untrue."""
        return replace(self, fields={n: c for n, c in self.fields.items() if n not in names})

    def padded(self, k: int) -> Rows:
        """Dense (n, k) int32, -1 where a list is shorter."""
        out = np.full((len(self), k), -1, np.int32)
        place = ragged.positions(self.offsets)
        keep = place < k
        out[ragged.segments(self.offsets)[keep], place[keep]] = self.items[keep]
        return out

    @classmethod
    def join(cls, parts: Sequence[Lists]) -> Lists:
        """Batches put one after another; only the fields that all non-empty parts have survive."""
        first = parts[0]
        for part in parts:
            same_lineage(first.key, part.key)
        filled = [part for part in parts if len(part.items)] or [first]
        names = [name for name in filled[0].fields if all(name in part.fields for part in filled)]
        noted = any(part.notes for part in parts)
        evidence: list[Any] = []
        columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        for part in filled:
            for name in names:
                column = part.fields[name]
                columns[name].append(np.where(column >= 0, column + len(evidence), -1) if name == "why" else column)
            evidence += part.evidence
        return cls(
            key=first.key,
            offsets=ragged.offsets_of(np.concatenate([part.lengths for part in parts])),
            items=np.concatenate([part.items for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            fields={name: np.concatenate(column) for name, column in columns.items()},
            notes=tuple(note for part in parts for note in (part.notes or ({},) * len(part))) if noted else (),
            evidence=tuple(evidence),
        )


def best(queries: Queries, score: Callable[[Queries], Scores], k: int, *, block: int = BLOCK) -> Lists:
    """The k best permitted items of every question under a dense scorer.

    score: a batch of b questions -> (b, n_items) float32, larger is better, -inf or NaN = never.
    Ties go to the smaller row, so equal scores give equal lists in any batch.
    """
    parts = [Lists.empty(queries.catalog.key, 0)]
    for _, part in queries.blocks(block):
        # a stage that was extended may know more rows than the catalog of older questions
        scores = np.array(score(part)[:, : len(queries.catalog)], np.float32)
        scores[np.isnan(scores)] = -np.inf
        scores[part.forbidden(scores.shape[1])] = -np.inf
        parts.append(_dense_top(queries.catalog.key, scores, k))
    return Lists.join(parts)


def _dense_top(key: str, scores: Scores, k: int) -> Lists:
    n, width = scores.shape
    k = min(k, width)
    if n == 0 or k <= 0:
        return Lists.empty(key, n)
    if k < width:
        # everything at least as good as the k-th best, so that ties at the border fall by row number
        border = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        keep = (scores >= border) & (scores > -np.inf)
    else:
        keep = scores > -np.inf
    row, item = np.nonzero(keep)
    values = scores[row, item]
    order = np.lexsort((-values, row))
    offsets = ragged.offsets_of(np.bincount(row, minlength=n))
    made = Lists(key, offsets, item[order].astype(np.int32), values[order])
    return made.top_k(k)


def rescored(
    queries: Queries, candidates: Lists, score: Callable[[Queries], Scores], name: str, *, block: int = BLOCK
) -> Lists:
    """The candidates sorted by a dense scorer; items it does not know get NaN and stand last."""
    same_lineage(queries.catalog.key, candidates.key)
    values = np.full(len(candidates.items), np.nan, np.float32)
    for place, part in queries.blocks(block):
        scores = score(part)
        low, high = candidates.offsets[place.start], candidates.offsets[place.stop]
        items = candidates.items[low:high]
        rows = np.repeat(np.arange(len(part)), np.diff(candidates.offsets[place.start : place.stop + 1]))
        known = items < scores.shape[1]
        values[low:high][known] = scores[rows[known], items[known]]
    return candidates.scored(values, name)


def fuse(parts: Sequence[Lists], weights: Sequence[float], k: int, *, constant: float = 60.0) -> Lists:
    """Reciprocal rank fusion: score(item) = sum of weight / (constant + rank), rank from 1; the k best of each.

    The field `source` holds a bit mask of the parts that found the item (bit p = part p). Ties go to the smaller row.
    Source: Cormack et al. 2009, SIGIR.
    """
    if not parts or len(parts) != len(weights):
        raise DataError("fuse needs as many weights as lists")
    for part in parts[1:]:
        parts[0].same(part)
    n = len(parts[0])
    row = np.concatenate([ragged.segments(part.offsets) for part in parts])
    item = np.concatenate([part.items for part in parts]).astype(np.int64)
    gain = np.concatenate(
        [w / (constant + 1.0 + ragged.positions(p.offsets)) for p, w in zip(parts, weights, strict=True)]
    )
    bit = np.concatenate([np.full(len(part.items), 1 << code, np.int64) for code, part in enumerate(parts)])
    if not len(row):
        return Lists.empty(parts[0].key, n)
    wide = int(item.max(initial=0)) + 1
    pairs, inverse = np.unique(row * wide + item, return_inverse=True)
    total = np.bincount(inverse, weights=gain, minlength=len(pairs))
    source = np.bincount(inverse, weights=bit.astype(np.float64), minlength=len(pairs)).astype(np.int64)
    row, item = pairs // wide, pairs % wide
    order = np.lexsort((item, -total, row))
    made = Lists(
        parts[0].key,
        ragged.offsets_of(np.bincount(row, minlength=n)),
        item[order].astype(np.int32),
        total[order].astype(np.float32),
        {"source": source[order]},
    )
    return made.top_k(k)
