"""A catalog attribute in numbers: which values each item has, and how varied items are in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hexarec.core import CapabilityError, Catalog
from hexarec.core import ragged as rg

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def values_of(catalog: Catalog, attribute: str) -> list[list[str]]:
    """The values of each item as text, each once, in their order; missing ones left out.

    An attribute is text or a tuple of text; other types are read as text. Raises CapabilityError when the catalog lacks
    the attribute.
    """
    column = catalog.attributes.get(attribute)
    if column is None:
        have = ", ".join(sorted(catalog.attributes)) or "none"
        raise CapabilityError(f"the catalog has no attribute {attribute!r}", hint=f"attributes: {have}")
    cells = [one if isinstance(one, tuple) else (one,) for one in column.tolist()]
    return [[str(v) for v in dict.fromkeys(cell) if v is not None and v == v and v != ""] for cell in cells]


def translated(catalog: Catalog, attribute: str, lang: str) -> Iterator[tuple[str, str]]:
    """(value, word) of each item: how its values are called in a language, where the catalog has them in it."""
    column = catalog.text.get((attribute, lang))
    for cell, values in zip(() if column is None else column.tolist(), values_of(catalog, attribute), strict=False):
        spoken = [part for part in re.split("[、,，]", cell or "") if part]
        yield from zip(values, spoken, strict=False)


@lru_cache(maxsize=16)
def value_words(catalog: Catalog, attribute: str, lang: str) -> Mapping[str, str]:
    """Word by value of an attribute in a language ("zh-CN" reads "zh"); values without one are left out."""
    code = lang if (attribute, lang) in catalog.text else lang.partition("-")[0]
    return {} if (attribute, code) not in catalog.text else dict(reversed(list(translated(catalog, attribute, code))))


def indicators(catalog: Catalog, attribute: str, values: Sequence[str] | None = None) -> tuple[csr_array, list[str]]:
    """Which values each item has: float32 (n_items, g) of ones, and the g values, sorted unless given.

    Read as `values_of` does. Values outside `values` are dropped. Raises CapabilityError when the catalog lacks the
    attribute.
    """
    from scipy.sparse import csr_array

    named = values_of(catalog, attribute)
    known = list(values) if values is not None else sorted({v for cell in named for v in cell})
    place = {value: i for i, value in enumerate(known)}
    rows = [[place[v] for v in cell if v in place] for cell in named]
    flat = np.array([v for row in rows for v in row], np.int32)
    offsets = rg.offsets_of(np.array([len(row) for row in rows], np.int64))
    made = csr_array((np.ones(len(flat), np.float32), flat, offsets), shape=(len(catalog), len(known)))
    made.sort_indices()
    return made, known


def variety(
    offsets: NDArray[np.int64], items: NDArray[np.int32], genres: NDArray[np.float32], recent: int
) -> NDArray[np.float64]:
    """Entropy of the mix of genres of `recent` items in a row, counted from the newest, mean over each segment.

    (n,) in [0, 1]: 0 = one genre, 1 = all alike; NaN where no item has a genre. Items without one are left out.
    """
    from scipy.sparse import csr_array

    keep = items < len(genres)
    keep[keep] = genres[items[keep]].any(1)
    offsets, items = rg.kept(offsets, keep), items[keep]
    row, recent = rg.segments(offsets), min(recent, max(len(items), 1))
    age = np.repeat(offsets[1:], np.diff(offsets)) - 1 - np.arange(len(items))
    starts = np.flatnonzero(np.diff(row, prepend=-1) | np.diff(age // recent, prepend=-1))
    length = np.diff(np.append(starts, len(items)))
    windows = csr_array((np.ones(len(items)), items, np.append(starts, len(items))), shape=(len(starts), len(genres)))
    share = (windows @ genres) / length[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(1) / np.log(max(genres.shape[1], 2))
    total = np.bincount(row[starts], entropy * length, minlength=len(offsets) - 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.diff(offsets))
