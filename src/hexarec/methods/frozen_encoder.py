"""Frozen encoder: item text to vectors by a language model nobody trains; the plain baseline of its family.

Source:  the technique behind LEARN (arXiv:2405.03988), DIRE (2305.06566) and others; survey section 2.1.
Idea:    encode what the catalog says of an item once, describe a user by the mean of the items they liked, recommend
         what is near. New items need text, not events.
Differs: pooling is the encoder's own (mean); whitening after Su et al. 2021 (2103.15316) is an option, on by default
         as mean-pooled vectors crowd in one cone; fusion with id vectors is a concatenation of unit blocks, weighted.
Cost:    one encoding per item, cached by text and model in `dataset.features`; a matrix product per query.
Needs:   text, an encoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Backbone,
    Catalog,
    Dataset,
    Features,
    Lists,
    OptionError,
    Queries,
    best,
    fitted,
    ready,
    rescored,
    same_lineage,
)
from hexarec.lm.base import Encoder
from hexarec.parts.encoded import encoded, feature_of, item_rows, item_texts, taught, worded
from hexarec.parts.require import fields_there
from hexarec.parts.vectors import decayed, unit, whiten

Vectors = NDArray[np.float32]


@dataclass
class FrozenEncoder:
    """Text vectors of items as a retriever, ranker and backbone.

    An item without text has a zero vector: nothing is known of it. It is like no other, has no part in the whitening
    and none in a user, and stands below every item whose text is like what was liked.

    encoder: texts to vectors. fields: what of an item is read. whiten: centre and whiten on the fitted catalog. dim: of
    the whitened vectors, None = all. last: liked events that describe a user. decay: weight of an event relative to the
    next newer one. ids: a collaborative backbone to fuse with. text_weight: share of the text block in the fusion, 1 =
    text only.
    """

    encoder: Encoder
    fields: Sequence[str] = ("title", "genres", "keywords", "text")
    whiten: bool = True
    dim: int | None = 128
    last: int = 10
    decay: float = 0.9
    ids: Backbone | None = None
    text_weight: float = 0.5
    reads_text: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.text_weight <= 1.0:
            raise OptionError("text_weight must lie between 0 and 1")
        if not 0.0 < self.decay <= 1.0:
            raise OptionError("decay must lie in (0, 1]")

    @property
    def feature(self) -> str:
        """The name of the feature table this encoder fills."""
        return feature_of(self.encoder)

    def enrich(self, data: Dataset) -> Dataset:
        """The data set with raw (unwhitened) vectors of all items; rows already there with equal text are kept."""
        fields_there(self, data)
        texts = item_texts(data.catalog, self.fields)
        encoder = getattr(self, "encoder_", None) or taught(self.encoder, texts)
        hashes, rows = item_rows(encoder, texts, data.features.get(self.feature))
        mask = np.ones(len(rows), bool)
        provenance = {"maker": "frozen_encoder", "model": self.encoder.name, "hashes": "\n".join(hashes)}
        return data.with_features(self.feature, Features(rows, mask, provenance))

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Encode the catalog (or take the vectors `enrich` left), learn the whitening, fit the id backbone."""
        fields_there(self, data)
        self.key_ = data.catalog.key
        texts = item_texts(data.catalog, self.fields)
        self.encoder_ = taught(self.encoder, texts)
        rows = item_rows(self.encoder_, texts, data.features.get(self.feature))[1]
        self.mean_, self.axes_ = np.zeros(rows.shape[1], np.float32), np.eye(rows.shape[1], dtype=np.float32)
        if self.whiten:
            self.mean_, self.axes_ = whiten(rows, data.catalog.alive[: len(rows)] & worded(texts), self.dim)
        self.text_ = self._space(rows, texts)
        self.ids_ = None if self.ids is None else fitted(self.ids, data, seed)
        return self

    def _space(self, rows: Vectors, texts: Sequence[str]) -> Vectors:
        return unit((rows - self.mean_) @ self.axes_) * worded(texts)[:, None]

    def extend(self, catalog: Catalog) -> Self:
        """New items become findable: only their text is encoded."""
        same_lineage(self.key_, catalog.key)
        if len(catalog) <= len(self.text_):
            return self
        texts = item_texts(catalog, self.fields, len(self.text_))
        made = copy.copy(self)
        made.text_ = np.concatenate([self.text_, self._space(encoded(self.encoder_, texts), texts)])
        return made

    def users(self, queries: Queries) -> Vectors:
        """(n, d) decayed mean of the last liked items' vectors; zeros without history. Written requests are encoded."""
        ready(self, queries)
        recent = queries.history.where(queries.history.liked & (queries.history.item < len(self.text_))).last(self.last)
        text = decayed(recent, self.text_, self.decay)
        if queries.text is not None:
            asked = [i for i, words in enumerate(queries.text) if words]
            if asked:
                said = [str(queries.text[i]) for i in asked]
                text[asked] += self._space(self.encoder_.encode(said), said)
        text = unit(text)
        if self.ids_ is None:
            return text
        return np.hstack([self.text_weight * text, (1 - self.text_weight) * unit(self.ids_.users(queries))])

    def items(self) -> Vectors:
        """(n_items, d) unit text vectors, followed by unit id vectors when fused (zeros for items the ids lack)."""
        if self.ids_ is None:
            return self.text_
        ids = unit(self.ids_.items())
        padded = np.zeros((len(self.text_), ids.shape[1]), np.float32)
        padded[: len(ids)] = ids[: len(padded)]
        return np.hstack([self.text_, padded])

    def _scores(self, queries: Queries) -> Vectors:
        return self.users(queries) @ self.items().T

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items nearest to the user."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """Candidates by cosine with the user."""
        return rescored(queries, candidates, self._scores, "frozen_encoder")
