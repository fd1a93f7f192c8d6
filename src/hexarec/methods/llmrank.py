"""LLMRank: ask a language model to order the candidates, several times over.

Source:  Hou et al. 2023, arXiv:2305.08845 (ECIR 2024); survey sections 1.1-1.3.
Idea:    the history is the condition, the candidates are the options, the model's order is the ranking; rounds with
         independent option orders take out position bias, a short recency-focused history takes out popularity bias.
Differs: scoring back ends beside the paper's list (choice, pointwise, pairwise, likelihood, pmi); handles before
         titles when an answer is read; permutations are independent per round and user (the released code shuffles
         once for a batch); a retry needs an answer without any option in it and never looks at the truth; item words
         follow the domain ("films", "products", ...) in every sentence; titles keep their year.
Cost:    `rounds` calls a query (list, constrained, choice); one per candidate (pointwise); `rounds` x candidates x
         opponents (pairwise); one scored forward per query (likelihood, pmi).
Needs:   text, json, label or score, by back end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Lists, OptionError, Queries, digest, ready, rng
from hexarec.lm.base import LanguageModel
from hexarec.parts.ask import Ask, Asked, Backend, Question
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import numbered, titles
from hexarec.parts.worded import Worded

Variant = Literal["sequential", "recency", "icl", "none", "fake", "shuffled"]
VARIANTS = ("sequential", "recency", "icl", "none", "fake", "shuffled")

PROMPTS = Prompts(
    "llmrank",
    2,
    en={
        "history": "I've {verb} the following {noun} in order, oldest first:\n{history}\n",
        "recency": "Note that the most recent one I've {verb} is: {last}.\n",
        "icl": "I've {verb} the following {noun} in order, oldest first:\n{history}\n"
        "Then, given what I'd {verb}, the right one to recommend next was: {last}.\n"
        "Now that I have also {verb} {last}, what comes next?\n",
        "none": "Nothing is known about what I have {verb} so far.\n",
        "list": "{condition}There are {n} candidate {noun} that I can {act} next:\n{options}\n"
        "Please rank these {n} {noun} by how likely I am to {act} them next, given what I have {verb}. "
        "Think step by step about my taste. Answer with the ranking only: one per line, with its order number, "
        "its letter or number in brackets and its title. Rank all of them and nothing outside the list.",
        "json": "{condition}There are {n} candidate {noun} that I can {act} next:\n{options}\n"
        "Please rank these {n} {noun} by how likely I am to {act} them next, given what I have {verb}. "
        'Answer with JSON only: {{"ranking": [the letter or number of every one of them, best first]}}.',
        "choice": "{condition}Candidate {noun} that I can {act} next:\n{options}\n"
        "Which one of them am I most likely to {act} next? Answer with its letter only.",
        "pointwise": "{condition}Am I likely to {act} this next?\n[A] {title}\nAnswer Yes or No.",
        "pairwise": "{condition}Which of these two am I more likely to {act} next?\n[A] {first}\n[B] {second}\n"
        "Answer A or B.",
        "lead": "{condition}Next I will {act}:",
        "lead_bare": "Next I will {act}:",
        "yes": "Yes",
        "no": "No",
    },
    zh={
        "history": "我按时间顺序{verb}了以下{noun}（由旧到新）：\n{history}\n",
        "recency": "请注意，我最近{verb}的是：{last}。\n",
        "icl": "我按时间顺序{verb}了以下{noun}（由旧到新）：\n{history}\n"
        "根据当时{verb}的内容，下一个正确的推荐是：{last}。\n现在我也{verb}了{last}，接下来会是什么？\n",
        "none": "目前不知道我{verb}什么。\n",
        "list": "{condition}接下来我可以{act}以下 {n} 个候选{noun}：\n{options}\n"
        "请根据我{verb}的内容，按我接下来{act}的可能性为这 {n} 个{noun}排序。请逐步考虑我的喜好。"
        "只输出排序结果：每行一个，写出序号、方括号中的字母或数字以及标题。所有候选都要排序，不要写列表之外的内容。",
        "json": "{condition}接下来我可以{act}以下 {n} 个候选{noun}：\n{options}\n"
        "请根据我{verb}的内容，按我接下来{act}的可能性为这 {n} 个{noun}排序。"
        '只输出 JSON：{{"ranking": [所有候选的字母或数字，最可能的在前]}}。',
        "choice": "{condition}接下来我可以{act}的候选{noun}：\n{options}\n"
        "其中我接下来最可能{act}哪一个？只回答它的字母。",
        "pointwise": "{condition}接下来我可能会{act}它吗？\n[A] {title}\n请回答是或否。",
        "pairwise": "{condition}以下两个中，我接下来更可能{act}哪一个？\n[A] {first}\n[B] {second}\n请回答 A 或 B。",
        "lead": "{condition}接下来我会{act}：",
        "lead_bare": "接下来我会{act}：",
        "yes": "是",
        "no": "否",
    },
)


@dataclass
class LLMRank:
    """Zero-shot ranking of candidates by a language model.

    lm: the model. backend: how the closed list is asked (see `parts.ask`). variant: how the history reads; sequential,
    recency (adds the last item in words), icl (one example from the user's own past), and the controls none, fake (a
    history of random items) and shuffled. history: events read, newest last; the paper's best is 5. rounds: independent
    option orders; the paper's best is 3. aggregate: how rounds are merged, borda sums places. domain: film, product,
    game, book, news, music, item. opponents: comparisons of an option in pairwise, None = all. retries: how often an
    answer that named no option is asked again. temperature: of listwise answers. shuffle: False shows the options in
    the order given. prompts: the wording, English and Chinese.
    """

    lm: LanguageModel
    backend: Backend = "choice"
    variant: Variant = "recency"
    history: int = 5
    rounds: int = 3
    aggregate: Literal["borda", "mean", "median"] = "borda"
    domain: str = "item"
    opponents: int | None = 3
    retries: int = 1
    temperature: float = 0.0
    shuffle: bool = True
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise OptionError(f"unknown variant {self.variant!r}", hint=f"use one of {', '.join(VARIANTS)}")
        known_domain(self.domain)
        if self.history < 1:
            raise OptionError("history must be at least 1")
        self._ask.check(self.lm)

    @property
    def _ask(self) -> Ask:
        return Ask(
            self.backend, self.rounds, self.aggregate, self.opponents, self.retries, self.shuffle, self.temperature
        )

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Zero-shot: keeps the lineage and the seed of its draws."""
        self.key_ = data.catalog.key
        self.seed_ = seed
        return self

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by summed round scores; what no round placed follows in the order it came.

        Notes hold, per query, `parse` (the ParseReport), `orders` (items as shown, per round), `rounds` (scores in the
        order shown); of list, constrained and choice also `prompts` and `raw` (the answers).
        """
        ready(self, queries, candidates)
        questions = self._questions(queries, candidates)
        asked = self._ask(self.lm, questions)
        scores = np.concatenate([self._ask.for_list(one) for one in asked] or [np.zeros(0)])
        notes = tuple(_note(one, candidates[i].items) for i, one in enumerate(asked))
        return replace(candidates.scored(scores, "llmrank"), notes=notes)

    def _questions(self, queries: Queries, candidates: Lists) -> list[Question]:
        names, ids = queries.user_ids(), queries.catalog.items.ids
        out = []
        for i in range(len(queries)):
            rows = candidates[i].items
            options = tuple(titles(queries.catalog, rows, queries.lang[i]))
            past = queries.history.item[slice(*queries.history.offsets[i : i + 2])]
            # not the moment: the same question asked again is the same prompt, which a cache of answers knows; and ids,
            # because rows change when a catalog is read anew
            words = (names[i], self.prompts.id, digest(ids[past], ids[rows]))
            seed = int(queries.seed[i]) + self.seed_
            out.append(
                Question(self._page(queries, i, names[i], seed, rows), options, words, seed, int(queries.user[i]))
            )
        return out

    def _page(self, queries: Queries, i: int, name: str, seed: int, shown: NDArray[np.int32]) -> Worded:
        lang = queries.lang[i]
        words = domain_words(self.domain, lang)
        part = slice(*queries.history.offsets[i : i + 2])
        past = queries.history.item[part][queries.history.liked[part]][-self.history :]
        past = self._controlled(past, queries, name, seed, shown)
        condition = self._condition(titles(queries.catalog, past, lang), lang, words)
        return Worded(self.prompts, lang, words, condition)

    def _controlled(
        self, past: NDArray[np.int32], queries: Queries, name: str, seed: int, shown: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """The history as the variant shows it; a new array for every user, never shared."""
        if self.variant == "none":
            return past[:0]
        if self.variant == "shuffled":
            return rng(seed, name, "shuffled").permutation(past)
        if self.variant == "fake" and len(past):
            alive = np.setdiff1d(np.flatnonzero(queries.catalog.alive), shown)  # a candidate there would tell of itself
            if not len(alive):
                return past[:0]
            return rng(seed, name, "fake").choice(alive, len(past), replace=len(alive) < len(past)).astype(np.int32)
        return past

    def _condition(self, past: Sequence[str], lang: str, words: Mapping[str, str]) -> str:
        if not past:
            return self.prompts.text(lang, "none", **words)
        if self.variant == "icl" and len(past) > 1:
            return self.prompts.text(lang, "icl", history=numbered(past[:-1], 0), last=past[-1], **words)
        text = self.prompts.text(lang, "history", history=numbered(past, 0), **words)
        if self.variant == "recency":
            text += self.prompts.text(lang, "recency", last=past[-1], **words)
        return text


def _note(asked: Asked, items: NDArray[np.int32]) -> dict[str, Any]:
    return {
        "parse": {**asked.report.as_note(), "fallback": int(asked.report.matched == 0)},
        "orders": [[int(items[place]) for place in order] for order in asked.orders],
        "rounds": [
            [float(row[place]) for place in order] for row, order in zip(asked.by_round, asked.orders, strict=True)
        ],
        "raw": list(asked.raw),
        "prompts": list(asked.prompts),
    }
