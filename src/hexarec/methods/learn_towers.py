"""LEARN: item text through a frozen language model, and twin towers trained from scratch that align it with preference.

Source:  Jia et al. 2024, AAAI 2025, arXiv:2405.03988 (no code was released); survey section 2.1.
Idea:    the encoder stays frozen; a causal transformer over the texts of what a user liked, and the same network over
         what they liked later, learn vectors whose cosine is preference. An item needs text, not events.
Differs: the temperature, which is not published, is 0.1; a cut is drawn for each user and step instead of one moment
         for all (`cut="time"`); text vectors are centred and scaled by one number first; what a user likes anyway is
         no counter-example; the tower begins near the encoder's own likeness (`start="random"` is the paper's), as logs
         are small here: 2 layers of width 128 for 100,000 events, not 12 of 768 for ten months of 12 million users.
Cost:    one encoding per item, once; training is seconds to minutes on two cores; a new item is one row through the
         tower; an answer is one forward over the history in numpy.
Needs:   ratings, text, an encoder, torch to fit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Catalog,
    DataError,
    Dataset,
    History,
    Holdout,
    Lists,
    MissingExtraError,
    OptionError,
    PerUser,
    Queries,
    at_least,
    best,
    choices,
    digest,
    holdout,
    ready,
    rescored,
    rng,
    same_lineage,
)
from hexarec.lm.base import Encoder
from hexarec.metrics.lists import hits, ndcg
from hexarec.parts import towers
from hexarec.parts.encoded import feature_of, item_rows, item_texts, taught
from hexarec.parts.require import fields_there
from hexarec.parts.vectors import unit

Vectors = NDArray[np.float32]
Weights = dict[str, Vectors]

DEPTH, AFTER = 100, 0.3  # of the lists that validate; newest share of the log after the one moment of `cut="time"`


@dataclass
class LearnTowers:
    """Preference-aligned text vectors of users and items as a backbone, retriever and ranker.

    encoder: texts to vectors, frozen. fields: what of an item is read. target: the item side in training: sequence runs
    the tower over what was liked later, in order (the paper's default), single over each item by itself, raw leaves it
    as the encoder has it. inputs: text, or ids, a learned vector per item (the paper's ablation, blind to new items).
    start: text begins as the encoder's principal axes and the mean of the history, random as the paper does. width: of
    the tower. layers: of the tower; 0 takes the mean of the history, a plain two-tower model. heads: must divide the
    width. out: length of the vectors of users and items. history: newest liked events read. targets: most later events
    a step reads. places: sampled places of the past that enter the loss. positives: sampled later items that do.
    sampling: recency draws newer ones likelier, uniform all alike. cut: where the past of a user ends in training:
    drawn anew each step, or time, one moment for everybody that leaves the newest 30 % after it. loss: dense takes all
    pairs of sampled places and items, last the newest place and the next item. temperature: of the cosines. epochs:
    passes over the users at most. batch: users a step, whose items are each other's counter-examples. rate: highest
    step of AdamW, falling as a cosine. decay: weight decay of its matrices. dropout: in the tower. patience:
    validations without a better NDCG@100, one an epoch, before it ends; 0 for never. share: newest part of the log that
    validates. most_valid: users who do, at most.
    """

    encoder: Encoder
    fields: Sequence[str] = ("title", "genres", "keywords", "brand", "categories", "text")
    target: Literal["sequence", "single", "raw"] = "sequence"
    inputs: Literal["text", "ids"] = "text"
    start: Literal["text", "random"] = "text"
    width: int = 128
    layers: int = 2
    heads: int = 2
    out: int = 64
    history: int = 50
    targets: int = 10
    places: int = 10
    positives: int = 10
    sampling: Literal["recency", "uniform"] = "recency"
    cut: Literal["drawn", "time"] = "drawn"
    loss: Literal["dense", "last"] = "dense"
    temperature: float = 0.1
    epochs: int = 40
    batch: int = 64
    rate: float = 3e-4
    decay: float = 0.01
    dropout: float = 0.3
    patience: int = 5
    share: float = 0.1
    most_valid: int = 500

    def __post_init__(self) -> None:
        choices(self)
        at_least(
            self, width=1, layers=0, heads=1, out=1, history=1, targets=1, places=1, positives=1, epochs=1, batch=2,
            patience=0, most_valid=1)  # fmt: skip
        if self.width % self.heads or not 0.0 <= self.dropout < 1.0 or not self.temperature > 0.0:
            raise OptionError("width must be a multiple of heads, dropout in [0, 1), temperature above 0")
        if self.inputs == "ids" and self.target == "raw":
            raise OptionError("ids have no raw vectors to leave as they are", hint="target='single' or 'sequence'")

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Encode the catalog and align the towers, stopping early.

        Raises DataError where no item has words, or fewer than two users like two things; MissingExtraError.
        """
        fields_there(self, data)
        self.key_ = data.catalog.key
        counts = data.interactions.counts(data.n_items, liked=True).astype(np.float32)
        self.popular_ = counts / max(float(counts.max(initial=0.0)), 1.0)
        content = self._content(data)
        self.known_ = counts > 0 if self.inputs == "ids" else np.ones(data.n_items, bool)
        held = self._held(data, seed)
        weights, self.curve_ = self._aligned(data if held is None else held.train, held, content, seed)
        self._adopt(weights, content)
        self.users_ = PerUser.of(data.users.ids, made := self._vectors(data.queries()), np.asarray(made.any(axis=1)))
        return self

    def _content(self, data: Dataset) -> Vectors:
        """The encoder's vectors of all items, centred and scaled (n_items, dim); learns how."""
        texts = item_texts(data.catalog, self.fields)
        if self.inputs == "text" and not any(texts):
            raise DataError(f"no item of {data.name} has words in {', '.join(self.fields)}", hint="name other fields")
        self.encoder_ = taught(self.encoder, texts)
        rows = item_rows(self.encoder_, texts, data.features.get(feature_of(self.encoder)))[1]
        worded = rows[[bool(text) for text in texts]] if any(texts) else rows
        self.mean_ = worded.mean(0)
        # one scale for all: a scale per number would blow up what hardly varies, which is noise
        self.scale_ = 1.0 / max(float((worded - self.mean_).std()), 1e-6)
        return self._scaled(rows, texts)

    def _scaled(self, rows: Vectors, texts: Sequence[str]) -> Vectors:
        """Rows in the tower's scale; an item without words stands in the middle of all."""
        made = np.asarray((rows - self.mean_) * self.scale_, np.float32)
        made[[not text for text in texts]] = 0.0
        return made

    def _held(self, data: Dataset, seed: int) -> Holdout | None:
        """The validation cut, None when there is too little to cut."""
        if not len(data.interactions):
            return None
        made = holdout(data, self.share)
        usable = np.flatnonzero((made.truth.lengths > 0) & (made.queries.history.lengths > 0))
        if not len(usable) or (_liked(made.train).lengths > 1).sum() < 2:
            return None
        usable = np.sort(rng(seed, "learn", "valid").permutation(usable)[: self.most_valid])
        return Holdout(made.train, made.queries.take(usable), made.truth.take(usable))

    def _aligned(
        self, data: Dataset, held: Holdout | None, content: Vectors, seed: int
    ) -> tuple[Weights, dict[str, Any]]:
        """The trained weights, and what training did."""
        log = _liked(data)
        if (log.lengths > 1).sum() < 2:
            raise DataError(
                "towers learn from users who liked two things or more; there are fewer than two such users",
                hint="frozen_encoder learns from no event",
            )
        try:
            from hexarec.parts.train.towers import align
        except ImportError:
            raise MissingExtraError("torch", "train") from None

        def look(weights: Weights) -> float:
            assert held is not None
            self._adopt(weights, content)
            found = best(held.queries, lambda part: self._vectors(part) @ self.items_.T, DEPTH)
            return float(np.mean(ndcg(hits(found, held.truth, DEPTH), DEPTH)))

        moment = float(np.quantile(log.time, 1.0 - AFTER)) if self.cut == "time" else None
        return align(
            self, content, log, moment, None if held is None else look, digest(data.key, self.most_valid), seed
        )

    def _adopt(self, weights: Weights, content: Vectors) -> None:
        """Serve these weights."""
        self.weights_, (self.rows_, self.items_) = weights, self._sides(weights, content)

    def _sides(self, weights: Weights, content: Vectors) -> tuple[Vectors, Vectors]:
        """The inputs (n, width) of items and their vectors (n, out)."""
        if self.inputs == "ids":
            rows = weights["adaptor.weight"] * self.known_[:, None]
            return rows, towers.single(weights, self.heads, rows) * self.known_[:, None]
        rows = np.asarray(content @ weights["adaptor.weight"].T + weights["adaptor.bias"], np.float32)
        return rows, unit(content) if self.target == "raw" else towers.single(weights, self.heads, rows)

    def extend(self, catalog: Catalog) -> Self:
        """New items become findable: their text is encoded and passes the tower; nothing is trained."""
        same_lineage(self.key_, catalog.key)
        if len(catalog) <= (n := len(self.rows_)):
            return self
        made = copy.copy(self)
        if self.inputs == "ids":
            rows, vectors = (
                np.zeros((len(catalog) - n, one.shape[1]), np.float32) for one in (self.rows_, self.items_)
            )
        else:
            texts = item_texts(catalog, self.fields, n)
            rows, vectors = self._sides(self.weights_, self._scaled(item_rows(self.encoder_, texts, None)[1], texts))
        made.rows_, made.items_ = np.concatenate([self.rows_, rows]), np.concatenate([self.items_, vectors])
        made.popular_ = np.append(self.popular_, np.zeros(len(rows), np.float32))
        return made

    def _vectors(self, queries: Queries) -> Vectors:
        past = queries.history
        recent = past.where(past.liked & (past.item < len(self.rows_))).last(self.history)
        return towers.last(self.weights_, self.heads, self.rows_, recent)

    def users(self, queries: Queries) -> Vectors:
        """(n, out) unit vectors read from the history, else what fit read of a known user, else zeros."""
        ready(self, queries)
        made, blank = self._vectors(queries), queries.history.lengths == 0
        made[blank] = self.users_.dense(queries)[0][blank]
        return made

    def items(self) -> Vectors:
        """(n_items, out) unit vectors; with ids zeros for items without events."""
        return self.items_

    def _scores(self, queries: Queries) -> Vectors:
        """Cosines; popularity where there is nothing to go by."""
        scores = (users := self.users(queries)) @ self.items_.T
        scores[~users.any(axis=1)] = self.popular_
        return scores

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items nearest to the user."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by cosine with the user."""
        return rescored(queries, candidates, self._scores, "learn_towers")


def _liked(data: Dataset) -> History:
    past = data.queries().history
    return past.where(past.liked)
