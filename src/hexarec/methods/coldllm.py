"""ColdLLM: would this user like this new item? Two cheap filters, and a language model that judges each pair they keep.

Source:  ColdLLM (arXiv:2402.09176; abstract and summaries); what FilterLLM (2502.16924) calls text-to-judgement.
Idea:    text likeness and mapped behaviour keep some hundred users of an item; the model says yes or no about each of
         them; those it accepts are the item's simulated interactions and move its vector.
Differs: the paper's filters are learned networks, here they are the mean text of what a user liked, and a ridge
         regression from text to the collaborative space; half of the kept users come from each.
Cost:    `kept` label questions per new item, a tuned judge besides reads `shots` questions once an epoch.
Needs:   ratings, text, an encoder, label; weights (hf:) to tune the judge.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic import IALS
from hexarec.core import (
    Backbone,
    Catalog,
    DataError,
    Dataset,
    Lists,
    OptionError,
    PerUser,
    Queries,
    at_least,
    choices,
    fitted,
    ready,
    same_lineage,
)
from hexarec.lm.base import Encoder, LanguageModel, Prompt, Sample, Turn
from hexarec.parts.audience import Audience, How, Placed, moved, people_of
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.encoded import item_texts, taught
from hexarec.parts.funnel import Funnel
from hexarec.parts.pointwise import shots, split_cases, yes_probabilities
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import documents, numbered, present_fields, titles
from hexarec.parts.require import fields_there, require_all

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PROMPTS = Prompts(
    "coldllm",
    1,
    en={
        "item": "A new one among the {noun}:\n[A] {item}\n\n",
        "user": "Some {noun} that a user has {verb} and liked, oldest first.\n{history}\n\n",
        "ask": "Will this user like to {act} the new one? Answer Yes or No.",
        "yes": "Yes",
        "no": "No",
    },
    zh={
        "item": "一件新的{noun}：\n[A] {item}\n\n",
        "user": "一位用户{verb}并喜欢的一些{noun}（由旧到新）。\n{history}\n\n",
        "ask": "这位用户会喜欢{act}这件新的吗？请回答是或否。",
        "yes": "是",
        "no": "否",
    },
)


@dataclass
class ColdLLM:
    """Places new items in a collaborative space by judged users: a backbone, retriever, ranker and enricher.

    lm: the judge. encoder: texts to vectors, for the filters. cf: the collaborative model that keeps serving. fields:
    what of an item is read. kept: users that pass the filters and are judged. history: newest liked items of a user
    shown. first: what a question begins with; the item's text in front is read once for all its users, the user's
    history in front is read anew for each. most: accepted users at most. threshold: least probability of Yes. update:
    how the accepted move the item: bpr a few pairwise steps, solve in closed form, text not at all. ridge: of the map
    from text to the collaborative space, in shares of the mean square. shots: labelled pairs that tune the judge, 0
    asks it as it is. epochs: passes over them. batch: pairs a step. rate: highest step of its LoRA. domain: film,
    product, game, book, news, music, item. prompts: the wording, English and Chinese.
    """

    lm: LanguageModel
    encoder: Encoder
    cf: Backbone = field(default_factory=IALS)
    fields: Sequence[str] = ("title", "genres", "keywords", "brand", "categories", "text")
    kept: int = 100
    history: int = 5
    first: Literal["item", "user"] = "item"
    most: int = 20
    threshold: float = 0.0
    update: How = "bpr"
    ridge: float = 0.1
    shots: int = 0
    epochs: int = 5
    batch: int = 16
    rate: float = 1e-3
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        choices(self)
        at_least(self, kept=1, history=1, most=1, threshold=0, ridge=0, shots=0, epochs=1, batch=1)
        known_domain(self.domain)
        if self.threshold > 1:
            raise OptionError(f"threshold is {self.threshold}", hint="a probability, 0 to 1")
        hint = "an hf: model has both; shots=0 asks a judge as it is" if self.shots else "see `hexarec models list`"
        require_all(self.lm, ("label", "weights") if self.shots else ("label",), "coldllm", hint)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the collaborative model, the filters and the judge; judge and place the items without likes.

        Raises DataError where no item has both words and likes.
        """
        fields_there(self, data)
        cf = fitted(self.cf, data, seed)
        self.key_, self.seed_, self.placed_ = data.catalog.key, seed, Placed.of(cf, data)
        texts = item_texts(data.catalog, self.fields)
        if not (~self.placed_.cold & np.array([bool(text) for text in texts], bool)).any():
            raise DataError(f"no item of {data.name} has words and likes", hint="frozen_encoder learns from no like")
        encoder = taught(self.encoder, texts)
        self.funnel_ = Funnel.of(encoder, texts, data, self.placed_, people_of(cf, data), self.ridge)
        past = data.queries().history
        recent = past.where(past.liked).last(self.history)
        shown = np.full((data.n_users, self.history), -1, np.int32)
        shown[np.arange(self.history) < recent.lengths[:, None]] = recent.item
        self.recent_ = PerUser.of(data.users.ids, shown)
        self.adapter_ = self._tuned(data, seed) if self.shots else None
        cold = np.flatnonzero(self.placed_.cold & data.catalog.alive)
        self.placed_ = self.placed_.with_rows(cold, self.vectors(data.catalog, cold))
        return self

    def _tuned(self, data: Dataset, seed: int) -> dict[str, Any] | None:
        from hexarec.parts.train.kinds import LoRA
        from hexarec.parts.train.loop import Plan
        from hexarec.parts.train.yesno import Asked, tune_yes_no

        asked = []
        for cases in split_cases(data, 0.1, negatives="drawn", seed=seed):
            some = shots(cases, self.shots, balanced=True, seed=seed)
            past = some.queries.history
            recent = past.where(past.liked).last(self.history)
            texts = self._texts(data.catalog, some.item.astype(np.int64))
            prompts = [
                self._question(data.catalog, text, recent.item[slice(*recent.offsets[i : i + 2])], None)
                for i, text in enumerate(texts)
            ]
            asked.append(Asked(prompts, some.liked.tolist()))
        plan = Plan(self.epochs, self.batch, self.rate, patience=2)
        about = {"prompts": self.prompts.hash, "method": "coldllm"}
        labels = self._labels(str(data.catalog.lang))
        return tune_yes_no(self.lm, LoRA(), labels, *asked, plan=plan, about=lambda: about, seed=seed)

    # ------------------------------------------------------------------ new items
    def _texts(self, catalog: Catalog, rows: Ints) -> list[str]:
        return documents(catalog, rows, present_fields(catalog, self.fields), catalog.lang)

    def filtered(self, catalog: Catalog, rows: Ints) -> Audience:
        """The users that pass the filters, `kept` of each item."""
        return self.funnel_.kept(self._texts(catalog, rows), self.kept)

    def audience(self, catalog: Catalog, rows: Ints, k: int | None = None) -> Audience:
        """The users that the judge accepts for items of these rows, k each (default `most`), with their P(Yes)."""
        return self._judged(
            catalog, self._texts(catalog, rows), self.filtered(catalog, rows), self.most if k is None else k
        )

    def _judged(self, catalog: Catalog, texts: Sequence[str], kept: Audience, k: int) -> Audience:
        """One question for each pair of an item and a user it kept, those of an item one behind the other."""
        from hexarec.parts.train.kept import placed

        adapter = None if self.adapter_ is None else placed(self.adapter_)
        item, place = np.nonzero(kept.users >= 0)
        shown = np.asarray(self.recent_.values)[kept.users[item, place]]
        prompts = [
            self._question(catalog, texts[n], own[own >= 0], adapter)
            for n, own in zip(item.tolist(), shown, strict=True)
        ]
        p = np.zeros(kept.p.shape, np.float32)
        if prompts:
            found = yes_probabilities(self.lm, prompts, [self._labels(str(catalog.lang))] * len(prompts))
            p[item, place] = np.nan_to_num(found, nan=0.0)
        p[p < self.threshold] = 0.0
        order = np.argsort(-p, axis=1, kind="stable")[:, :k]
        chosen = np.take_along_axis(p, order, 1)
        return Audience(np.where(chosen > 0, np.take_along_axis(kept.users, order, 1), -1), chosen)

    def _labels(self, lang: str) -> tuple[str, str]:
        return self.prompts.text(lang, "yes"), self.prompts.text(lang, "no")

    def _question(self, catalog: Catalog, text: str, past: NDArray[Any], adapter: str | None) -> Prompt:
        lang = str(catalog.lang)
        words = domain_words(self.domain, lang)
        parts = {
            "item": self.prompts.text(lang, "item", item=text, **words),
            "user": self.prompts.text(lang, "user", history=numbered(titles(catalog, past, lang)), **words),
        }
        front, behind = ("item", "user") if self.first == "item" else ("user", "item")
        asked = parts[front] + parts[behind] + self.prompts.text(lang, "ask", **words)
        return Prompt(turns=(Turn("user", asked),), adapter=adapter, sample=Sample(max_tokens=1))

    def vectors(self, catalog: Catalog, rows: Ints) -> Floats:
        """(n, d) vectors of items in the collaborative model's space: mapped from text, moved by who was accepted."""
        texts = self._texts(catalog, rows)
        accepted = self._judged(catalog, texts, self.funnel_.kept(texts, self.kept), self.most)
        people, start = np.asarray(self.funnel_.behaviour.values), self.funnel_.mapped(texts)
        return moved(start, accepted, people, self.placed_.warm, self.update, catalog.ids(rows), self.seed_)

    def extend(self, catalog: Catalog) -> Self:
        """New items become findable after `kept` judgements each; nothing is trained."""
        same_lineage(self.key_, catalog.key)
        rows = np.arange(len(self.placed_.items), len(catalog))
        if not len(rows):
            return self
        made = copy.copy(self)
        made.placed_ = self.placed_.with_rows(rows, self.vectors(catalog, rows))
        return made

    # ------------------------------------------------------------------ serving
    def enrich(self, data: Dataset) -> Dataset:
        """The data set with the vectors of all items, new ones included, as the feature `coldllm`."""
        stage = self if hasattr(self, "placed_") else copy.copy(self).fit(data)
        return data.with_features("coldllm", stage.extend(data.catalog).placed_.features("coldllm", self.lm.name))

    def users(self, queries: Queries) -> Floats:
        """(n, d) vectors of users: the collaborative model's own."""
        ready(self, queries)
        return self.placed_.cf.users(queries)

    def items(self) -> Floats:
        """(n_items, d): the collaborative model's vectors; of items without likes those made by judgement."""
        return self.placed_.items

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items with the largest product."""
        ready(self, queries)
        return self.placed_.retrieve(queries, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by product."""
        ready(self, queries, candidates)
        return self.placed_.rank(queries, candidates, "coldllm")
