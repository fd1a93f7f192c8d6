"""Items found by words: BM25 over their text, or the nearest vectors of an encoder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, OptionError, same_lineage
from hexarec.lm.base import Encoder
from hexarec.parts.bm25 import BM25
from hexarec.parts.encoded import asked, encoded, taught
from hexarec.parts.render import passages, present_fields

Scores = NDArray[np.float32]


@dataclass
class TextSearch:
    """A search over what a catalog says of its items; items of which it says nothing are never found.

    fields: what of an item is read; those the catalog lacks are left out. encoder: vectors instead of BM25. k1, b: the
    weights of BM25.
    """

    fields: Sequence[str] = ("title",)
    encoder: Encoder | None = None
    k1: float = 1.5
    b: float = 0.75

    def build(self, catalog: Catalog) -> TextSearch:
        """Index a catalog. Raises OptionError when none of the fields says anything."""
        self.key_ = catalog.key
        texts = self._texts(catalog, 0)
        if not any(texts):
            have = ", ".join(["title", "text", *catalog.attributes])
            raise OptionError(f"no item has words in {list(self.fields)}", hint=f"the catalog has {have}")
        return self.index(texts)

    def index(self, texts: Sequence[str]) -> TextSearch:
        """Index texts, in the order of the items."""
        self.known_ = np.array([bool(text) for text in texts], bool)
        if self.encoder is None:
            self.words_ = BM25(self.k1, self.b).build(texts)
            return self
        self.encoder_ = taught(self.encoder, texts)
        self.vectors_ = encoded(self.encoder_, texts)
        return self

    def extend(self, catalog: Catalog) -> TextSearch:
        """With the items that are new in the catalog; only their text is read."""
        same_lineage(self.key_, catalog.key)
        texts = self._texts(catalog, len(self.known_))
        made = copy.copy(self)
        made.known_ = np.append(self.known_, [bool(text) for text in texts])
        if self.encoder is None:
            made.words_ = self.words_.extend(texts)
        elif texts:
            made.vectors_ = np.concatenate([self.vectors_, encoded(self.encoder_, texts)])
        return made

    def weighed(self, k1: float, b: float) -> TextSearch:
        """The same items under other weights of BM25."""
        made = copy.copy(self)
        made.k1, made.b, made.words_ = k1, b, self.words_.weighed(k1, b)
        return made

    def scores(self, queries: Sequence[str]) -> Scores:
        """(n, n_items) float32, larger is better; -inf for an item that shares no word with the query, or has none."""
        if self.encoder is None:
            found = self.words_.scores(queries)
            return np.where(found > 0.0, found, np.float32(-np.inf))
        if not len(queries):
            return np.zeros((0, len(self.known_)), np.float32)
        rows = asked(self.encoder_, queries)
        return np.where(self.known_ & rows.any(axis=1, keepdims=True), rows @ self.vectors_.T, -np.inf).astype(
            np.float32
        )

    def found(self, queries: Sequence[str], forbidden: NDArray[np.bool_], k: int) -> list[list[int]]:
        """For each query its k best items that are not forbidden (n_items,), best first; ties by row number."""
        made = []
        for row in self.scores(queries)[:, : len(forbidden)]:
            some = np.flatnonzero((row > -np.inf) & ~forbidden[: len(row)])
            made.append([int(item) for item in some[np.argsort(-row[some], kind="stable")][:k]])
        return made

    def _texts(self, catalog: Catalog, first: int) -> list[str]:
        return passages(catalog, np.arange(first, len(catalog)), present_fields(catalog, self.fields))


def shared_out(ranked: Sequence[Sequence[int]], k: int, m: int) -> list[tuple[int, int]]:
    """(item, number of its query), at most k: of each query in turn its next ceil(k / m) items, then one at a time.

    ranked: what each query found, best first. An item goes to the first query that reaches it.
    """
    made: dict[int, int] = {}
    left = [list(reversed(own)) for own in ranked]
    share = -(-k // m)
    while len(made) < k and any(left):
        for number, own in enumerate(left):
            room = min(share, k - len(made))
            while own and room > 0:
                item = own.pop()
                if item not in made:
                    made[item], room = number, room - 1
        share = 1
    return list(made.items())
