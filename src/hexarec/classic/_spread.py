"""MMR over what a catalog has to tell two items apart by."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from hexarec.classic.mmr import MMR
from hexarec.core import Catalog
from hexarec.parts.attributes import indicators
from hexarec.parts.textspace import TextSpace

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ALIKE = ("genres", "categories", "keywords", "brand")  # what two items share, where there are no texts as vectors


def spread_over(catalog: Catalog, space: TextSpace | None, share: float) -> MMR | None:
    """MMR over text vectors where there is a store, else over the first of `ALIKE` there is; None = neither."""
    if share == 1.0:
        return None
    if space is not None:
        return MMR.over(catalog.key, space.vectors_, share)
    shared = _shared(catalog)
    return None if shared is None else MMR.over(catalog.key, shared, share)


@lru_cache(maxsize=8)
def _shared(catalog: Catalog) -> csr_array | None:
    """Which values of the first of `ALIKE` each item has, read once while the catalog is in use."""
    name = next((name for name in ALIKE if name in catalog.attributes), None)
    return None if name is None else indicators(catalog, name)[0]
