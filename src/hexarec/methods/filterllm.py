"""FilterLLM: the text of a new item to a distribution over all users in one pass; those users give the item its vector.

Source:  arXiv:2502.16924 (Alibaba, 2025) and its released code; survey section 2.1.
Idea:    every user is a token of a vocabulary that begins as the collaborative vectors. One pass over an item's text
         gives the odds of all users; the likeliest are its simulated interactions, and with users fixed they move the
         item to where the unchanged collaborative model finds it.
Differs: no ReLU before the guidance (released: half of the signed coordinates cannot be matched, `relu=True`); the cold
         vector is updated (missing from the release); the head maps to the model's own dimension; collaborative vectors
         are scaled to one spread; the newest items validate by the likelihood of their users; rates are for small logs.
Cost:    one forward, or one encoding, per new item, and one product with all users. Fitting reads each item with likes
         once an epoch (tuned), or once (frozen).
Needs:   ratings, text, torch to fit; a model with hidden and weights (hf:) to be tuned, or an encoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from hexarec.classic import IALS
from hexarec.core import (
    Backbone,
    Catalog,
    DataError,
    Dataset,
    Lists,
    MissingExtraError,
    OptionError,
    PerUser,
    Queries,
    at_least,
    choices,
    fitted,
    ready,
    rng,
    same_lineage,
)
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.parts.audience import Audience, How, Placed, likeliest, moved, newest, people_of, spread
from hexarec.parts.encoded import item_texts
from hexarec.parts.itemstates import ItemStates
from hexarec.parts.prompts import Prompts
from hexarec.parts.require import fields_there, require_all

if TYPE_CHECKING:
    from hexarec.parts.train.audience import Learned, Lessons

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
BLOCK = 256  # items whose odds of all users exist at once

PROMPTS = Prompts(
    "filterllm",
    1,
    en={"ask": "A new item has come in.\n{item}\n\nWhich users will it attract?"},
    zh={"ask": "有一件新物品。\n{item}\n\n它会吸引哪些用户？"},
)


@dataclass
class FilterLLM:
    """Places new items in a collaborative space by their text: a backbone, retriever, ranker and enricher.

    lm: an hf: model, tuned with a LoRA; the state of the prompt's last token is read. encoder: texts to vectors,
    frozen, instead of lm. cf: the collaborative model that keeps serving. fields: what of an item is read. init: what
    the user vocabulary begins with, the collaborative vectors or random ones. guide: weight of the pull towards an
    item's collaborative vector, the release's 10. relu: over the head's output, the release's defect. inner: width of a
    hidden layer of the head, 0 for none. sampled: users drawn for the softmax beside those of the batch, 0 for all.
    most: users a new item is given. debias: power of a user's activity that the odds are divided by. update: how they
    move the item: bpr a few pairwise steps, solve in closed form, text not at all. tune: whether lm is tuned, or its
    states are read as they are. r: rank of the LoRA. alpha: its scale is alpha / r. dropout: of its inputs. epochs:
    passes over the items at most. batch: items a step. rate: highest step of head and vocabulary. lora_rate: of the
    LoRA. decay: weight decay of matrices. patience: validations without a better likelihood, one an epoch, before it
    ends; 0 for never. share: newest part of the items with likes, which validates. prompts: the wording.
    """

    lm: LanguageModel | None = None
    encoder: Encoder | None = None
    cf: Backbone = field(default_factory=IALS)
    fields: Sequence[str] = ("title", "genres", "keywords", "brand", "categories", "text")
    init: Literal["cf", "random"] = "cf"
    guide: float = 10.0
    relu: bool = False
    inner: int = 0
    sampled: int = 0
    most: int = 20
    debias: float = 0.0
    update: How = "bpr"
    tune: bool = True
    r: int = 8
    alpha: float = 32.0
    dropout: float = 0.1
    epochs: int = 20
    batch: int = 16
    rate: float = 1e-3
    lora_rate: float = 2e-4
    decay: float = 0.0
    patience: int = 4
    share: float = 0.1
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        choices(self)
        at_least(self, guide=0, inner=0, sampled=0, most=1, debias=0, r=1, epochs=1, batch=1, decay=0, patience=0,
                 share=0)  # fmt: skip
        if (self.lm is None) == (self.encoder is None):
            raise OptionError(
                "filterllm reads text with a language model or with an encoder, one of the two",
                hint="lm='hf:smollm2' is tuned; encoder='minilm' is frozen and needs no language model",
            )
        needs = ["hidden", "weights"] if self.tune else ["hidden"]
        hint = "an hf: model has both; tune=False needs hidden only; an encoder (minilm) needs no language model"
        if self.lm is not None:
            require_all(self.lm, needs, "filterllm", hint)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the collaborative model, learn text to users from items with likes, place the items without.

        Raises DataError where no item has both words and likes; MissingExtraError.
        """
        fields_there(self, data)
        try:
            from hexarec.parts.train.audience import Lessons
        except ImportError:
            raise MissingExtraError("torch", "train") from None
        cf = fitted(self.cf, data, seed)
        self.key_, self.seed_, self.placed_ = data.catalog.key, seed, Placed.of(cf, data)
        self.behaviour_ = people_of(cf, data)
        liked = data.interactions.matrix(data.n_items)
        liked.data[:] = 1.0
        self.activity_ = PerUser.of(data.users.ids, np.asarray(liked.sum(1), np.float32))
        self.text_ = ItemStates(self.lm, self.encoder, tuple(self.fields), self.prompts).over(data.catalog)
        texts = item_texts(data.catalog, self.fields)
        warm = np.flatnonzero(~self.placed_.cold & np.array([bool(text) for text in texts], bool))
        if not len(warm) or not self.behaviour_.known.any():
            raise DataError(f"no item of {data.name} has words and likes", hint="frozen_encoder learns from no like")
        guides, valid = self.placed_.items[warm], newest(data, warm, self.share, seed)
        self.scale_ = spread(guides)  # guidance weighs the same over any collaborative model
        lessons = Lessons(liked.T.tocsr()[warm], guides / np.float32(self.scale_), valid, self._people(seed))
        learned = self._learned(data.catalog, warm, lessons, seed)
        self.head_, self.curve_, self.text_ = learned.head, learned.curve, replace(self.text_, adapter=learned.adapter)
        self.vocabulary_ = PerUser.of(data.users.ids, learned.people, self.behaviour_.known)
        cold = np.flatnonzero(self.placed_.cold & data.catalog.alive)
        self.placed_ = self.placed_.with_rows(cold, self.vectors(data.catalog, cold))
        return self

    def _people(self, seed: int) -> Floats:
        """What the user vocabulary begins with: a product with a guide is the root of d times their cosine, about."""
        own, known = np.asarray(self.behaviour_.values), self.behaviour_.known
        size = np.float32(np.sqrt(own.shape[1]))
        if self.init == "random":
            return rng(seed, "filterllm", "people").standard_normal(own.shape, np.float32) / size
        return np.asarray(own / (size * np.float32(spread(own[known]))), np.float32)

    def _learned(self, catalog: Catalog, warm: Ints, lessons: Lessons, seed: int) -> Learned:
        """Head, vocabulary and, where the text tower is tuned, its adapter."""
        from hexarec.parts.train import audience as training
        from hexarec.parts.train.kinds import LoRA
        from hexarec.parts.train.loop import Plan

        recipe = training.Recipe(self.inner, self.relu, self.guide, self.sampled)
        own = (("head", self.rate), ("people", self.rate))
        plan = Plan(self.epochs, self.batch, self.lora_rate, own, 0.05, "cosine", self.decay, patience=self.patience)
        if self.encoder is not None or self.lm is None or not self.tune:
            states = self.text_.raw(catalog, warm)
            self.text_ = self.text_.fitted(states)
            return training.over_frozen(np.nan_to_num(self.text_.scaled(states)), lessons, recipe, plan, seed)
        asked = self.text_.asked(catalog, warm)
        if hasattr(self.lm, "count_tuning"):
            self.lm.count_tuning(asked, self.epochs)
            return training.blank(self.lm.hidden(asked[:1], pool="last").shape[1], lessons, recipe)
        kind, told = LoRA(self.r, self.alpha, self.dropout), {"prompts": self.prompts.hash, "method": "filterllm"}
        return training.over_tuned(self.lm, asked, kind, lessons, recipe, plan, seed, **told)

    # ------------------------------------------------------------------ new items
    def heads(self, catalog: Catalog, rows: Ints) -> Floats:
        """(n, d) what the head makes of items' text, in the collaborative scale; zeros without words or state."""
        made = np.zeros((len(rows), self.placed_.items.shape[1]), np.float32)
        reader = replace(self.text_, lm=self.lm, prompts=self.prompts)  # a variant may ask another model
        there, x = reader.read(catalog, np.asarray(rows, np.int64))
        if not len(there):
            return made
        if self.inner:
            x = np.maximum(x @ self.head_["inner.weight"].T + self.head_["inner.bias"], 0.0)
        x = x @ self.head_["out.weight"].T + self.head_["out.bias"]
        made[there] = (np.maximum(x, 0.0) if self.relu else x) * np.float32(self.scale_)
        return made

    def audience(self, catalog: Catalog, rows: Ints, k: int | None = None) -> Audience:
        """The users that items of these rows will attract, k each (default `most`), by their text alone."""
        return self._attracted(self.heads(catalog, rows), self.most if k is None else k)

    def _attracted(self, heads: Floats, k: int) -> Audience:
        people, known = np.asarray(self.vocabulary_.values), self.vocabulary_.known
        heavy = self.debias * np.log(np.maximum(np.asarray(self.activity_.values), 1.0))
        found = [likeliest(np.zeros((0, len(known)), np.float32), known, k)]
        for at in range(0, len(heads), BLOCK):
            own = heads[at : at + BLOCK] / np.float32(self.scale_)
            p = softmax(np.where(known, own @ people.T - heavy, -np.inf), axis=1) * own.any(axis=1, keepdims=True)
            found.append(likeliest(p.astype(np.float32), known, k))
        return Audience(*(np.concatenate([getattr(one, name) for one in found]) for name in ("users", "p")))

    def vectors(self, catalog: Catalog, rows: Ints) -> Floats:
        """(n, d) vectors of items in the collaborative model's space, made from their text."""
        heads = self.heads(catalog, rows)
        drawn = self._attracted(heads, self.most)
        people = np.asarray(self.behaviour_.values)
        return moved(heads, drawn, people, self.placed_.warm, self.update, catalog.ids(rows), self.seed_)

    def extend(self, catalog: Catalog) -> Self:
        """New items become findable: one forward each; nothing is trained."""
        same_lineage(self.key_, catalog.key)
        rows = np.arange(len(self.placed_.items), len(catalog))
        if not len(rows):
            return self
        made = copy.copy(self)
        made.placed_ = self.placed_.with_rows(rows, self.vectors(catalog, rows))
        return made

    # ------------------------------------------------------------------ serving
    def enrich(self, data: Dataset) -> Dataset:
        """The data set with the vectors of all items, new ones included, as the feature `filterllm`."""
        made = (self if hasattr(self, "placed_") else copy.copy(self).fit(data)).extend(data.catalog)
        return data.with_features("filterllm", made.placed_.features("filterllm", made.text_.name))

    def users(self, queries: Queries) -> Floats:
        """(n, d) vectors of users: the collaborative model's own."""
        ready(self, queries)
        return self.placed_.cf.users(queries)

    def items(self) -> Floats:
        """(n_items, d): the collaborative model's vectors; of items without likes those made from text."""
        return self.placed_.items

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the largest product."""
        ready(self, queries)
        return self.placed_.retrieve(queries, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by product."""
        ready(self, queries, candidates)
        return self.placed_.rank(queries, candidates, "filterllm")
