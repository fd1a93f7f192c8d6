"""Item texts as vectors in one space, and where a user stands in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Queries
from hexarec.lm.base import Encoder
from hexarec.parts.encoded import asked, encoded, item_texts, taught, worded
from hexarec.parts.vectors import decayed, unit, whiten

Vectors = NDArray[np.float32]


@dataclass
class TextSpace:
    """Unit vectors (n_items, d) of a catalog, `vectors_`; new items are encoded alone.

    An item without text has a zero vector: nothing is known of it. It is like no other, has no part in the whitening
    and none in a taste, and stands below every item whose text is like what was liked.

    encoder: texts to vectors; one that learns does so from the catalog. fields: what of an item is read. whiten: centre
    and whiten on the catalog. dim: of the whitened vectors, None = all. decay: weight of a history item relative to the
    next newer one.
    """

    encoder: Encoder
    fields: Sequence[str]
    whiten: bool = True
    dim: int | None = 128
    decay: float = 0.9
    reads_text: ClassVar[bool] = True

    def fit(self, catalog: Catalog) -> TextSpace:
        """Encode the catalog."""
        texts = item_texts(catalog, self.fields)
        self.encoder_ = taught(self.encoder, texts)
        rows = encoded(self.encoder_, texts)
        self.mean_, self.axes_ = np.zeros(rows.shape[1], np.float32), np.eye(rows.shape[1], dtype=np.float32)
        if self.whiten:
            self.mean_, self.axes_ = whiten(rows, catalog.alive[: len(rows)] & worded(texts), self.dim)
        self.vectors_ = self._placed(rows, texts)
        return self

    def extend(self, catalog: Catalog) -> TextSpace:
        """The space with the new items of a catalog; the places of the others stay."""
        texts = item_texts(catalog, self.fields, len(self.vectors_))
        if not texts:
            return self
        made = copy.copy(self)
        made.vectors_ = np.concatenate([self.vectors_, self._placed(encoded(self.encoder_, texts), texts)])
        return made

    def taste(self, queries: Queries, last: int) -> Vectors:
        """(n, d) unit: the last liked items, newer ones more, and what is asked for in words; zeros without both."""
        known = queries.history.liked & (queries.history.item < len(self.vectors_))
        made = unit(decayed(queries.history.where(known).last(last), self.vectors_, self.decay))
        words = [] if queries.text is None else [(i, text) for i, text in enumerate(queries.text.tolist()) if text]
        if words:
            texts = [text for _, text in words]
            rows = asked(self.encoder_, texts)
            made[[i for i, _ in words]] += self._placed(rows, texts) * rows.any(axis=1, keepdims=True)
        return unit(made)

    def _placed(self, rows: Vectors, texts: Sequence[str]) -> Vectors:
        return unit((rows - self.mean_) @ self.axes_) * worded(texts)[:, None]


@dataclass
class LatestSpace:
    """The space of the catalog that was asked about last, made at the first question about it and kept in memory."""

    fields: Sequence[str]
    _held: tuple[str, TextSpace] | None = field(default=None, init=False, repr=False, compare=False)

    def of(self, catalog: Catalog, encoder: Encoder | None) -> TextSpace | None:
        """The space; None without an encoder."""
        if encoder is None:
            return None
        held = self._held
        if held is None or held[0] != catalog.digest or held[1].encoder is not encoder:
            held = self._held = (catalog.digest, TextSpace(encoder, self.fields).fit(catalog))
        return held[1]
