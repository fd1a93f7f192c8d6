"""Greedy picking for controllers: ranked lists as dense blocks, one item a step over the whole block, lists again.

What makes an item worth picking is an objective (relevance less likeness, a determinant, a mix of genres); what may be
picked is a rule (quotas). Both are held by the controller; the steps are the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists
from hexarec.core import ragged as rg

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the lists in dense form: `place` in the batch, `items` (b, m) int64 with 0 where `real` is False.

    relevance: float32 (b, m) in [0, 1], never rising along a list.
    """

    place: slice
    items: Ints
    real: Bools
    relevance: Floats


def blocks(ranked: Lists, cells: int) -> Iterator[Block]:
    """The lists as dense blocks of about `cells` elements (at least one list)."""
    width = max(int(ranked.lengths.max(initial=0)), 1)
    step = max(1, cells // width)
    for start in range(0, len(ranked), step):
        place = slice(start, min(start + step, len(ranked)))
        part = ranked.take(place)
        items = part.padded(width).astype(np.int64)
        real = items >= 0
        scores = np.full(items.shape, np.nan, np.float32)
        scores[real] = part.scores
        yield Block(place, np.where(real, items, 0), real, relevance(scores))


def relevance(scores: Floats) -> Floats:
    """Scores (b, m) of lists best first, scaled to [0, 1] per list; unscored (NaN) is 0; the given order stands.

    A list whose scores are all equal or missing gets 1 - place / m, so that its order still counts.
    """
    finite = np.where(np.isfinite(scores), scores, np.nan)
    high = np.fmax.reduce(finite, axis=1, keepdims=True)
    low = np.fmin.reduce(finite, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.nan_to_num((finite - low) / (high - low), nan=0.0)
    places = 1.0 - np.arange(scores.shape[1], dtype=np.float32) / max(scores.shape[1], 1)
    flat = ~(high > low)[:, 0]
    scaled[flat] = places
    made: Floats = np.minimum.accumulate(scaled, axis=1).astype(np.float32)
    return made


class Objective(Protocol):
    """What each candidate of a block would add to its list, while the lists grow."""

    def value(self) -> NDArray[np.floating]:
        """The worth of every candidate as the next pick, (b, m), finite; a new array."""

    def take(self, pick: Ints) -> None:
        """Put the candidate at place `pick` (b,) on each list; what it says of lists that are full does not matter."""


class Rule(Protocol):
    """Which candidates may be picked next."""

    def allowed(self, free: Bools) -> Bools:
        """Of the free candidates (b, m) those that may be picked: at least one where one is free."""

    def take(self, pick: Ints, taken: Bools) -> None:
        """Count the candidate at place `pick` (b,) of the lists marked in `taken` (b,)."""


def greedy(block: Block, k: int, objective: Objective, rule: Rule | None = None) -> Ints:
    """The places picked one after another, (b, min(k, m)), -1 where a list has no candidate left.

    Each step takes the permitted candidate of the largest value; equal values go to the earlier place.
    """
    rows, free = np.arange(len(block.items)), block.real.copy()
    out = np.full((len(rows), min(k, block.items.shape[1])), -1, np.int64)
    for step in range(out.shape[1]):
        value = objective.value()
        value[~(free if rule is None else rule.allowed(free))] = -np.inf
        pick, taken = value.argmax(1), np.asarray(free.any(1))
        out[taken, step] = pick[taken]
        free[rows, pick] = False
        if rule is not None:
            rule.take(pick, taken)
        if step + 1 < out.shape[1]:
            objective.take(pick)
    return out


def flattened(ranked: Lists, picks: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Flat indices and offsets of the picked places: for each block (b, k) places in the list, -1 = none."""
    width = max((block.shape[1] for block in picks), default=0)
    table = np.concatenate([block for block in picks]) if picks else np.zeros((0, width), np.int64)
    keep = table >= 0
    return (ranked.offsets[:-1, None] + table)[keep], rg.offsets_of(keep.sum(1))


def reordered(ranked: Lists, flat: Ints, offsets: Ints, name: str) -> Lists:
    """The picked elements in their new order: scores become 1 / place, the old ones stay as `score.before_<name>`.

    The fields `slot` and `propensity` are dropped: another order makes them untrue.
    """
    made = ranked.with_field(f"score.before_{name}", ranked.scores).at(flat, offsets).dropping("slot", "propensity")
    places = (1.0 / (1.0 + rg.positions(offsets))).astype(np.float32)
    return Lists(made.key, made.offsets, made.items, places, made.fields, made.notes, made.evidence)
