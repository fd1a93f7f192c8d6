"""GPT4Rec: a tuned model writes search queries from a history, and a search engine answers them.

Source:  Li et al. 2023, arXiv:2304.03879; survey section 4.1. There is no released code.
Idea:    a model that learned to go on from titles to the next one writes several queries by beam search; BM25 over item
         text answers each with its share of the list. Queries are interests that a person can read, any item with
         words can be found, new ones too, and nothing outside the catalog.
Differs: a LoRA on all linear layers of a chat model instead of all weights of GPT-2; loss on the title alone
         (`loss_on="all"` for all words); cases are all likes that follow another, not the last of each user; k1 and b
         are those of the best recall@20 among 25; what the queries leave open is filled by popularity, and says so;
         without beams the queries are draws.
Cost:    fit reads `examples` prompts an epoch, forward and back, and writes the queries of `valid` questions; a
         question is one prompt and `queries` beams (or as many calls), and as many searches.
Needs:   ratings, text; weights (hf:) unless epochs is 0.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from hexarec.classic import Popular
from hexarec.core import (
    Catalog,
    Dataset,
    Desk,
    Evidence,
    Lists,
    OptionError,
    Queries,
    Reasons,
    Words,
    at_least,
    degrade,
    ready,
    track,
)
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.parts.domain import known_domain
from hexarec.parts.ground import ParseReport
from hexarec.parts.next_title import Held, NextTitle, Recipe
from hexarec.parts.prompts import Prompts
from hexarec.parts.several import How, Said, check_how, line, several
from hexarec.parts.text_search import TextSearch, shared_out

K1, B = (1.5, 0.0, 0.6, 1.0, 3.0), (0.75, 0.0, 0.25, 0.5, 1.0)  # the usual ones first: they win ties
TUNED_AT = 20  # the length of the lists whose recall chooses k1 and b
PROMPTS = Prompts(
    "gpt4rec",
    1,
    en={
        "ask": "Previously, a customer has {verb} these {noun}, oldest first:\n{history}\n\n"
        "In the future, the customer wants to {act} something else. Write the search query that finds it. "
        "Answer with the query and nothing else.",
        "none": "(none)",
    },
    zh={
        "ask": "一位顾客{verb}以下{noun}（由旧到新）：\n{history}\n\n"
        "这位顾客接下来还想{act}别的。请写出能找到它的搜索词。只回答搜索词，不要写其他内容。",
        "none": "（无）",
    },
)
REASONS = Prompts(
    "gpt4rec.reasons",
    1,
    en={
        "query": "Found by the search “{query}”, which your history suggests.",
        "popularity": "Popular with others.",
        "alone": "Chosen for your history as a whole.",
    },
    zh={"query": "根据您的历史搜索“{query}”找到。", "popularity": "受其他人欢迎。", "alone": "根据您的整个历史选出。"},
)


@dataclass
class GPT4Rec:
    """A retriever that writes search queries and answers each with its share of the list.

    lm: the model; an hf: one to be tuned. queries: written for each user; as many as the list is long gave the paper's
    best recall. how: beams (hf:), draws, or auto for beams where the model has them. temperature: of draws. history:
    newest liked events shown. length: most tokens of a query. fields: what of an item is searched. encoder: vectors
    instead of BM25. k1: how fast repeated words stop counting; None for the best on held questions. b: how much long
    texts count less; None as k1. backfill: whether popular items fill what the queries left open. epochs: passes over
    the examples, 0 asks the model as it is. examples: likes that follow another, learned from at most. valid: held
    questions that choose the epoch, k1 and b; 0 learns from the whole log and leaves k1 and b at 1.5 and .75. share:
    newest part of the log, which is held. r: rank of the LoRA. alpha: its scale is alpha / r. dropout: of its inputs.
    targets: layers it goes to, by the last word of their names. batch: examples a step. rate: highest learning rate.
    patience: epochs without a better loss before tuning ends; 0 for never. loss_on: answer, or all tokens. start:
    folder of an adapter to go on from, or to ask with when epochs is 0. domain: film, product, game, book, news, music,
    item. prompts: the wording, English and Chinese. reasons: that of the explanations.
    """

    lm: LanguageModel
    queries: int = 10
    how: How = "auto"
    temperature: float = 0.8
    history: int = 10
    length: int = 32
    fields: Sequence[str] = ("title",)
    encoder: Encoder | None = None
    k1: float | None = None
    b: float | None = None
    backfill: bool = True
    epochs: int = 3
    examples: int = 1000
    valid: int = 100
    share: float = 0.1
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: Sequence[str] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    batch: int = 16
    rate: float = 1e-3
    patience: int = 1
    loss_on: Literal["answer", "all"] = "answer"
    start: str = ""
    domain: str = "item"
    prompts: Prompts = PROMPTS
    reasons: Prompts = REASONS

    def __post_init__(self) -> None:
        known_domain(self.domain)
        at_least(self, queries=1, temperature=0, history=1, length=1, valid=0, k1=0, b=0)
        if self.b is not None and self.b > 1:
            raise OptionError(f"b is {self.b}", hint="b lies between 0 and 1")
        check_how(self.lm, self.how, "gpt4rec")
        Recipe.of(self).check(self.lm, "gpt4rec")

    @property
    def _ask(self) -> NextTitle:
        return NextTitle(self.lm, self.prompts, self.domain, self.history, self.length)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Index the catalog, tune the model, then choose k1 and b. Raises OptionError for a catalog without words."""
        self.key_, self.seed_ = data.catalog.key, int(seed)
        self.popular_ = Popular().fit(data, seed=seed)
        k1, b = (K1[0] if self.k1 is None else self.k1), (B[0] if self.b is None else self.b)
        self.search_ = TextSearch(self.fields, self.encoder, k1, b).build(data.catalog)
        chooses = self.encoder is None and (self.k1 is None or self.b is None)
        held = Held.of(data, self.share, self.valid if self.epochs or chooses else 0, seed)
        about = {"prompts": self.prompts.hash, "method": "gpt4rec"}
        self.adapter_ = Recipe.of(self).learn(self._ask, held, about, seed)
        self.chosen_: dict[str, Any] = {"k1": k1, "b": b, "recall": None, "questions": 0}
        if chooses and len(held.queries):
            self._choose(held)
        return self

    def _choose(self, held: Held) -> None:
        """Take the weights of BM25 with the best recall on held questions; the queries are written once."""
        said = self.written(held.queries)
        best = -1.0
        pairs = itertools.product(K1 if self.k1 is None else (self.k1,), B if self.b is None else (self.b,))
        for k1, b in track(list(pairs), "k1 and b"):
            search = self.search_.weighed(k1, b)
            found = 0.0
            for i, one in enumerate(said):
                ranked = self._ranked(search, held.queries, i, one, TUNED_AT)
                shown = [item for item, _ in shared_out(ranked, TUNED_AT, self.queries)]
                found += float(np.isin(held.truth[i].items, shown).mean()) / len(said)
            if found > best + 1e-12:
                best, self.search_ = found, search
                self.chosen_ = {"k1": k1, "b": b, "recall": round(found, 6), "questions": len(said)}

    def extend(self, catalog: Catalog) -> Self:
        """New items become findable by their words. Raises LineageError for another catalog."""
        made = copy.copy(self)
        made.search_, made.popular_ = self.search_.extend(catalog), self.popular_.extend(catalog)
        return made

    def written(self, queries: Queries) -> list[Said]:
        """The search queries of each question, the likeliest first; none for one without a liked history."""
        asked = np.flatnonzero(queries.history.where(queries.history.liked).lengths > 0)
        prompts = self._ask.asked(queries.take(asked), Recipe.of(self).adapter(self.adapter_), self.seed_)
        found = several(self.lm, prompts, self.queries, how=self.how, temperature=self.temperature)
        made = [Said() for _ in range(len(queries))]
        for i, one in zip(asked.tolist(), found, strict=True):
            made[i] = one
        return made

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """At most k items: ceil(k / queries) of each query in turn, then one of each, then the popular ones.

        `why` points to the query that found an item, or to its popularity. Notes hold, per question, `queries` (text
        and log-probability) and `parse`: of the queries asked for, how many say something new, are said again, are
        missing, or find nothing (`out_of_set`).
        """
        ready(self, queries)
        said = self.written(queries)
        if faults := [one.fault for one in said if one.fault]:
            degrade(f"{len(faults)} of {len(queries)} questions have no query: {faults[0]}")
        popular = self.popular_.retrieve(queries, k if self.backfill else 0)
        rows, evidence, notes = [], [], []
        for i, one in enumerate(said):
            ranked = self._ranked(self.search_, queries, i, one, k)
            found = shared_out(ranked, k, self.queries)
            taken = {item for item, _ in found}
            more = [(item, -1) for item in popular[i].items.tolist() if item not in taken]
            rows.append([*found, *more][:k])
            evidence.append([Evidence("query", detail=query.text) for query in one.answers])
            notes.append(self._note(one, ranked))
        return _lists(queries, rows, evidence, notes)

    def _ranked(self, search: TextSearch, queries: Queries, i: int, said: Said, k: int) -> list[list[int]]:
        """What each of the written queries finds for question i."""
        forbidden = queries.take(slice(i, i + 1)).forbidden(len(queries.catalog))[0]
        return search.found([query.text for query in said.answers], forbidden, k)

    def _note(self, said: Said, ranked: Sequence[Sequence[int]]) -> dict[str, Any]:
        asked, written = self.queries if said.raw or said.fault else 0, sum(bool(line(text)) for text in said.raw)
        report = ParseReport(
            requested=asked,
            matched=len(said.answers),
            out_of_set=sum(not own for own in ranked),
            duplicates=written - len(said.answers),
            missing=max(asked - written, 0),
            refused=int(bool(said.fault)),
        )
        return {"queries": [[one.text, round(one.logprob, 4)] for one in said.answers], "parse": report.as_note()}

    def explain(self, queries: Queries, shown: Lists, desk: Desk) -> list[Reasons]:
        """For each item the query that found it, in a fixed sentence."""
        column = shown.fields.get("why", np.full(len(shown.items), -1, np.int32))
        made = []
        for i in range(len(queries)):
            part = column[slice(*shown.offsets[i : i + 2])].tolist()
            own = [shown.evidence[w] if 0 <= w < len(shown.evidence) else None for w in part]
            words = tuple(self._because(queries.lang[i], one) for one in own)
            made.append(Reasons(words, evidence=tuple((one,) if one else () for one in own)))
        return made

    def _because(self, lang: str, why: Evidence | None) -> Words:
        piece = why.kind if why is not None and why.kind in ("query", "popularity") else "alone"
        slots = {"query": why.detail} if why is not None and piece == "query" else {}
        return Words(self.reasons.text(lang, piece, **slots), lang, status="template")


def _lists(
    queries: Queries, rows: Sequence[Sequence[tuple[int, int]]], evidence: Sequence[Sequence[Evidence]], notes: Any
) -> Lists:
    """Lists in which every item points to its query, or to popularity (the last piece of evidence)."""
    first = np.cumsum([0, *map(len, evidence)])
    whole = [one for own in evidence for one in own]
    why = [first[i] + n if n >= 0 else len(whole) for i, own in enumerate(rows) for _, n in own]
    made = Lists.of(queries.catalog.key, [[item for item, _ in own] for own in rows])
    made = made.with_field("why", np.array(why, np.int32))
    return replace(made, evidence=(*whole, Evidence("popularity")), notes=tuple(notes))
