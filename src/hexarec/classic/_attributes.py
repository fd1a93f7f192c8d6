"""What the controllers share: a catalog attribute as indicator rows, and ranked lists as dense blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._shared import Floats
from hexarec.core import CapabilityError, Catalog, Lists
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = NDArray[np.int64]


def indicators(catalog: Catalog, attribute: str, values: Sequence[str] | None = None) -> tuple[csr_array, list[str]]:
    """Which values each item has: float32 (n_items, g) of ones, and the g values, sorted unless given.

    An attribute is text or a tuple of text; other types are read as text. Values outside `values` are dropped.
    Raises CapabilityError when the catalog lacks the attribute.
    """
    from scipy.sparse import csr_array

    column = catalog.attributes.get(attribute)
    if column is None:
        have = ", ".join(sorted(catalog.attributes)) or "none"
        raise CapabilityError(f"the catalog has no attribute {attribute!r}", hint=f"attributes: {have}")
    cells = [one if isinstance(one, tuple) else (one,) for one in column.tolist()]
    named = [[str(v) for v in dict.fromkeys(cell) if v is not None and v == v and v != ""] for cell in cells]
    known = list(values) if values is not None else sorted({v for cell in named for v in cell})
    place = {value: i for i, value in enumerate(known)}
    rows = [[place[v] for v in cell if v in place] for cell in named]
    flat = np.array([v for row in rows for v in row], np.int32)
    offsets = rg.offsets_of(np.array([len(row) for row in rows], np.int64))
    made = csr_array((np.ones(len(flat), np.float32), flat, offsets), shape=(len(catalog), len(known)))
    made.sort_indices()
    return made, known


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the lists in dense form: `place` in the batch, `items` (b, m) int64 with 0 where `real` is False.

    relevance: float32 (b, m) in [0, 1], never rising along a list.
    """

    place: slice
    items: Ints
    real: NDArray[np.bool_]
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


def flattened(ranked: Lists, picks: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Flat indices and offsets of the picked places: for each block (b, k) places in the list, -1 = none."""
    width = max((block.shape[1] for block in picks), default=0)
    table = np.concatenate([block for block in picks]) if picks else np.zeros((0, width), np.int64)
    keep = table >= 0
    return (ranked.offsets[:-1, None] + table)[keep], rg.offsets_of(keep.sum(1))


def reordered(ranked: Lists, flat: NDArray[np.int64], offsets: NDArray[np.int64], name: str) -> Lists:
    """The picked elements in their new order: scores become 1 / place, the old ones stay as `score.before_<name>`.

    The fields `slot` and `propensity` are dropped: another order makes them untrue.
    """
    made = ranked.with_field(f"score.before_{name}", ranked.scores).at(flat, offsets).dropping("slot", "propensity")
    places = (1.0 / (1.0 + rg.positions(offsets))).astype(np.float32)
    return Lists(made.key, made.offsets, made.items, places, made.fields, made.notes, made.evidence)
