"""NIR: candidates from a training-free filter, then three questions: the taste, what stands for it, what comes next.

Source:  Wang and Lim 2023, arXiv:2304.03153; survey section 1.1.
Idea:    a model cannot see a catalog, so a filter over users or items finds the candidates; asked for a taste first,
         then for telling items of the history, it recommends candidates that are each tied to one of those.
Differs: a chat carries the three questions and their answers, and the lists stand in its first turn only; candidates
         have handles; the newest events are read (the published script takes the oldest); nobody is a neighbour of
         himself; a pair counts where its left half is an item of the history and its right half a candidate, never
         by a title found anywhere in the answer; every user is asked about, not only where the truth is a candidate;
         the first two answers end at 120 tokens (released code: 512), the last at 16 and 32 a candidate asked for.
Cost:    three calls a question (steps), or one (combined, single).
Needs:   ratings, text.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic import ItemKNN, UserKNN
from hexarec.core import (
    Dataset,
    Desk,
    Evidence,
    Lists,
    OptionError,
    Queries,
    Reasons,
    Words,
    choices,
    degrade,
    digest,
    ready,
    rng,
)
from hexarec.lm.base import Completion, LanguageModel, Prompt, Sample, Turn
from hexarec.lm.cassette import keeping
from hexarec.parts.ask import handles_for
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.ground import Titles
from hexarec.parts.lockstep import Script, lockstep
from hexarec.parts.pairpage import PairPage, PairsRead, ordered_by_pairs
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import handled, numbered, titles
from hexarec.parts.usable import of_use

PROMPTS = Prompts(
    "nir",
    1,
    en={
        "lists": "{noun} I have {verb}, oldest first:\n{history}\n\nCandidate {noun}:\n{options}\n\n",
        "taste": "Question 1: which features of {noun} matter most to me when I choose what to {act}? "
        "Answer in two or three short sentences.",
        "telling": "Question 2: which of the {noun} I have {verb} say most about that taste? Name at most {telling}, "
        "the most telling first, one per line, with their full titles.",
        "pick": "Question 3: which {n} of the candidate {noun} should I {act} next? Each must be like one of those I "
        "have {verb}. Answer with {n} lines, the best first, each written as: "
        "title I have {verb} - [letter] candidate title",
        "combined": "Think about which features of {noun} matter most to me, and which of the {noun} I have {verb} say "
        "most about that taste. Then answer one question.\n",
    },
    zh={
        "lists": "我{verb}的{noun}（由旧到新）：\n{history}\n\n候选{noun}：\n{options}\n\n",
        "taste": "问题 1：我选择{act}什么时，最看重{noun}的哪些特点？请用两三句简短的话回答。",
        "telling": "问题 2：我{verb}的{noun}中，哪些最能说明这种喜好？最多写 {telling} 个，最能说明的在前，"
        "每行一个，写完整标题。",
        "pick": "问题 3：我接下来应该{act}候选{noun}中的哪 {n} 个？每一个都要与我{verb}的某一个相似。"
        "请写 {n} 行，最好的在前，每行写成：我{verb}的标题 - [字母] 候选标题",
        "combined": "请先想一想我最看重{noun}的哪些特点，以及我{verb}的{noun}中哪些最能说明这种喜好，"
        "然后回答一个问题。\n",
    },
)
REASONS = Prompts(
    "nir.reasons",
    1,
    en={"pair": "Because you {verb} {past}.", "alone": "Chosen for your history as a whole."},
    zh={"pair": "因为您{verb}《{past}》。", "alone": "根据您的整个历史选出。"},
)


@dataclass(frozen=True)
class _Page(PairPage):
    """One user's question, with what its words need."""

    lang: str
    seed: int
    slots: Mapping[str, Any]
    whose: int


@dataclass
class NIR:
    """Next-item recommendation by a filter and three questions.

    lm: the model. filtering: user (neighbours' items) or item (items seen together with the history's). similarity: dot
    as released, cosine as described, or jaccard. neighbours: users that vote, or similar items kept of each item.
    history: newest liked events shown. form: steps asks three questions in turn, combined all in one, single only the
    last. picks: candidates the answer names, the paper's 10. telling: history items named in the second answer.
    retries: how often a last answer without any candidate in it is asked again. domain: film, product, game, book,
    news, music, item. prompts: the wording, English and Chinese. reasons: that of the explanations.
    """

    lm: LanguageModel
    filtering: Literal["user", "item"] = "user"
    similarity: Literal["dot", "cosine", "jaccard"] = "dot"
    neighbours: int = 12
    history: int = 8
    form: Literal["steps", "combined", "single"] = "steps"
    picks: int = 10
    telling: int = 5
    retries: int = 1
    domain: str = "item"
    prompts: Prompts = PROMPTS
    reasons: Prompts = REASONS

    def __post_init__(self) -> None:
        choices(self)
        known_domain(self.domain)
        if min(self.neighbours, self.history, self.picks, self.telling) < 1 or self.retries < 0:
            raise OptionError("neighbours, history, picks and telling must be at least 1, retries at least 0")

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Fit the filter."""
        kind = UserKNN if self.filtering == "user" else ItemKNN
        self.key_, self.seed_ = data.catalog.key, seed
        self.filter_ = kind(neighbours=self.neighbours, shrink=0.0, similarity=self.similarity).fit(data, seed=seed)
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The filter's k best; the paper asks about 19 of them."""
        ready(self, queries)
        return self.filter_.retrieve(queries, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """What the model named, in its order, then the rest as it came.

        `why` points to the history item that stands beside a candidate. Notes hold, per query, `parse` (the
        ParseReport), `pairs` (history item and candidate) and `raw` (the answers).
        """
        ready(self, queries, candidates)
        pages = [self._page(queries, i, candidates[i].items) for i in range(len(queries))]
        judged: dict[str, _Page] = {}
        with keeping(lambda prompt, made: self._keeps(judged, prompt, made)):
            read = lockstep([self._script(page, judged) for page in pages], self.lm)
        faults = [one.error for one, page in zip(read, pages, strict=True) if len(page.shown) and one.error]
        if faults:
            degrade(f"{len(faults)} of {len(pages)} questions: {faults[0]}")
        return ordered_by_pairs(candidates, pages, read, "nir")

    def explain(self, queries: Queries, shown: Lists, desk: Desk) -> list[Reasons]:
        """For each item the history item that the model named beside it, in a fixed sentence."""
        column = shown.fields.get("why", np.full(len(shown.items), -1, np.int32))
        made = []
        for i in range(len(queries)):
            past = set(queries.history.item[slice(*queries.history.offsets[i : i + 2])].tolist())
            own = [shown.evidence[w] if w >= 0 else None for w in column[slice(*shown.offsets[i : i + 2])].tolist()]
            pairs = [one if one and one.kind == "history" and past.issuperset(one.items) else None for one in own]
            evidence = tuple((one,) if one else () for one in pairs)
            made.append(Reasons(tuple(self._because(queries, i, one) for one in pairs), evidence=evidence))
        return made

    def _because(self, queries: Queries, i: int, pair: Evidence | None) -> Words:
        lang, slots = queries.lang[i], domain_words(self.domain, queries.lang[i])
        if pair is None:
            return Words(self.reasons.text(lang, "alone", **slots), lang, status="template")
        past = titles(queries.catalog, pair.items, lang)[0]
        return Words(self.reasons.text(lang, "pair", past=past, **slots), lang, status="template")

    def _page(self, queries: Queries, i: int, items: NDArray[np.int32]) -> _Page:
        lang, seed = queries.lang[i], int(queries.seed[i]) + self.seed_
        part = slice(*queries.history.offsets[i : i + 2])
        past = queries.history.item[part][queries.history.liked[part]][-self.history :]
        shown = rng(seed, self.prompts.id, "order", digest(past, items)).permutation(items)
        watched = Titles(tuple(titles(queries.catalog, past, lang)))
        handles = handles_for(len(shown))
        options = Titles(tuple(titles(queries.catalog, shown, lang)), handles)
        n = min(self.picks, len(shown))
        slots = {
            **domain_words(self.domain, lang),
            "history": numbered(watched.options) or "-",
            "options": handled(options.options, handles),
            "n": n,
            "telling": min(self.telling, max(len(past), 1)),
        }
        return _Page(past, shown, watched, options, n, lang, seed, slots, int(queries.user[i]))

    def _questions(self, page: _Page) -> list[str]:
        """The user's turns; the first carries the lists."""
        names = {"steps": ("taste", "telling", "pick"), "combined": ("combined", "pick"), "single": ("pick",)}[
            self.form
        ]
        texts = [self.prompts.text(page.lang, name, **page.slots) for name in names]
        turns = texts if self.form == "steps" else ["".join(texts)]
        return [self.prompts.text(page.lang, "lists", **page.slots) + turns[0], *turns[1:]]

    def _script(self, page: _Page, judged: dict[str, _Page]) -> Script[PairsRead]:
        """The questions of one user, each after the answers to those before it."""
        if not len(page.shown):
            return PairsRead()
        turns, said = [], []
        *before, last = self._questions(page)
        for question in before:
            turns.append(Turn("user", question))
            answer = (yield [Prompt(tuple(turns), seed=page.seed, sample=Sample(max_tokens=120), whose=page.whose)])[0]
            if answer.finish == "error":
                return PairsRead(error=answer.error or "no answer came")
            turns.append(Turn("assistant", answer.text))
            said.append(answer.text)
        return (yield from self._last(page, [*turns, Turn("user", last)], said, judged))

    def _last(
        self, page: _Page, turns: Sequence[Turn], said: Sequence[str], judged: dict[str, _Page]
    ) -> Generator[Sequence[Prompt], list[Completion], PairsRead]:
        room = 16 + page.n * 32
        for attempt in range(self.retries + 1):
            sample = Sample(temperature=0.3 * bool(attempt), max_tokens=room)
            prompt = Prompt(tuple(turns), seed=page.seed + attempt, sample=sample, whose=page.whose)
            judged[prompt.digest()] = page
            answer = (yield [prompt])[0]
            if answer.finish == "error":
                return PairsRead(said=(*said, answer.error), error=answer.error or "no answer came")
            pairs, report = page.read(answer.text)
            if pairs:  # whether another try is earned never depends on the truth
                break
        report = replace(report, retried=attempt)
        short = "" if of_use(report) else f"the model named {report.matched} of {report.requested} candidates"
        return PairsRead(tuple(pairs), report, (*said, answer.text), short)

    def _keeps(self, judged: Mapping[str, _Page], prompt: Prompt, made: Any) -> bool:
        """Whether an answer may stay in a cache: earlier steps when they came, the last one when it is of use."""
        page = judged.get(prompt.digest())
        if page is None or not made.good:
            return bool(made.good)
        return of_use(page.read(made.text)[1])
