"""TALLRec: a low-rank adapter learned from a handful of yes/no questions about what a user liked and did not like.

Source:  Bao et al. 2023, RecSys, arXiv:2305.00447; survey section 3.1.
Idea:    a language model does not know what recommending is; 16 to 256 rated histories, written as questions whose
         answer is Yes or No, tune a LoRA on queries and values, and the odds of Yes against No are the score.
Differs: the loss is on the answer alone (the released code trains on the question too, `loss_on="all"`); answers are
         resolved as tokens of the tokenizer at hand; cases are cut and validated by time, not by the order of users;
         the instruction stage is left out over a model that was instructed already, or is `start`; learning rate
         and epochs are for a model of 135 million parameters, not of seven billion.
Cost:    fit reads `shots` questions once an epoch, forward and back; one label question per candidate, the history
         of a list once.
Needs:   ratings (liked and not), label, weights (hf:); without shots only label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Dataset, Lists, OptionError, Queries, choices, ragged, ready, rng
from hexarec.lm.base import LanguageModel, Prompt, Sample, Turn
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.pointwise import (
    Cases,
    Negatives,
    drawn,
    liked_and_not,
    shots,
    split_cases,
    yes_probabilities,
)
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import numbered, titles
from hexarec.parts.require import require_all

Rows = Sequence[int] | NDArray[np.int32]
Solved = tuple[list[int], list[int], int, bool]

PROMPTS = Prompts(
    "tallrec",
    2,
    en={
        "history": "Some {noun} that a user has {verb}, oldest first.\nLiked:\n{liked}\nNot liked:\n{other}\n\n",
        "none": "(none)",
        "ask": "Will the user like to {act} this one too? Answer Yes or No.\n[A] {title}",
        "yes": "Yes",
        "no": "No",
    },
    zh={
        "history": "一位用户{verb}的一些{noun}（由旧到新）。\n喜欢：\n{liked}\n不喜欢：\n{other}\n\n",
        "none": "（无）",
        "ask": "用户也会喜欢{act}下面这一个吗？请回答是或否。\n[A] {title}",
        "yes": "是",
        "no": "否",
    },
)


@dataclass
class TALLRec:
    """A pointwise ranker tuned on few labelled histories.

    lm: the model; an hf: one to be tuned. shots: labelled cases that are learned from; with 0 the model is asked as it
    is, or as `start` left it. balanced: as many liked as not among them. negatives: log takes what the log says was not
    liked, drawn an item that the user never met. history: newest events shown, liked and not liked apart. examples:
    solved cases in front of every question (in-context learning), turns of their own of which none is learned from. r:
    rank of the LoRA, the paper's 8. alpha: its scale is alpha / r. dropout: of its inputs. targets: layers it goes to,
    by the last word of their names; the paper's queries and values. epochs: passes over the shots at most. batch: cases
    a step. rate: highest learning rate. patience: validations without a better AUC, one an epoch, before it ends; 0 for
    never. share: newest part of the log, which validates. most_valid: cases validated on at most. goal: tokens is the
    cross-entropy of the answer, labels that of Yes against No. loss_on: answer, or all tokens as released. shuffle:
    True learns from shuffled labels, a control. start: folder of an adapter to go on from (the paper's instruction
    stage), or with shots=0 to be asked unchanged (what another domain taught). domain: film, product, game, book, news,
    music, item. prompts: the wording, English and Chinese.
    """

    lm: LanguageModel
    shots: int = 64
    balanced: bool = False
    negatives: Negatives = "log"
    history: int = 10
    examples: int = 0
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: Sequence[str] = ("q_proj", "v_proj")
    epochs: int = 20
    batch: int = 16
    rate: float = 1e-3
    patience: int = 4
    share: float = 0.1
    most_valid: int = 200
    goal: Literal["tokens", "labels"] = "tokens"
    loss_on: Literal["answer", "all"] = "answer"
    shuffle: bool = False
    start: str = ""
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        choices(self)
        known_domain(self.domain)
        if min(self.shots, self.examples, self.patience) < 0 or min(self.history, self.most_valid) < 1:
            raise OptionError("shots, examples and patience are at least 0, history and most_valid at least 1")
        needs = ["label", "weights"] if self.shots or self.start else ["label"]
        instead = "leave start out" if self.start else "shots=0 asks a model as it is"
        hint = f"an hf: model has both; {instead}" if len(needs) == 2 else "see `hexarec models list`"
        require_all(self.lm, needs, "tallrec", hint)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Tune on `shots` cases; keep solved examples. Raises DataError for a log without both labels."""
        self.key_ = data.catalog.key
        self.examples_: list[Solved] = []  # as items, to be written in the language of each question
        self.adapter_: dict[str, Any] | None = self._carried()
        if not self.shots and not self.examples:
            return self
        train, valid = split_cases(data, self.share, negatives=self.negatives, seed=seed)
        if self.examples:
            rows = drawn(train, self.examples, balanced=True, seed=seed)
            self.examples_ = self._solved(train.take(rows))
            # a question whose answer stands in front of it would teach to look it up
            train = train.take(np.setdiff1d(np.arange(len(train)), rows))
        if self.shots:
            few = shots(train, self.shots, balanced=self.balanced, seed=seed)
            self.adapter_ = self._tuned(few, shots(valid, self.most_valid, seed=seed), seed)
        return self

    def _carried(self) -> dict[str, Any] | None:
        """The adapter of `start` where nothing is learned here."""
        from hexarec.parts.train.kept import read

        return read(self.start) if self.start and not self.shots else None

    def _tuned(self, train: Cases, valid: Cases, seed: int) -> dict[str, Any] | None:
        from hexarec.parts.train.kinds import LoRA
        from hexarec.parts.train.loop import Plan
        from hexarec.parts.train.yesno import Asked, shuffled, tune_yes_no

        answers = [train.liked, valid.liked]
        if self.shuffle:  # validation too, or it would choose the epoch that happens to know the true labels
            answers = [shuffled(own, rng(seed, "tallrec", "shuffle", n)) for n, own in enumerate(answers)]
        return tune_yes_no(
            self.lm,
            LoRA(self.r, self.alpha, self.dropout, tuple(self.targets)),
            self._labels(str(train.queries.catalog.lang)),
            Asked(self._prompts(train.queries, train.lists), answers[0].tolist()),
            Asked(self._prompts(valid.queries, valid.lists), answers[1].tolist()),
            plan=Plan(self.epochs, self.batch, self.rate, patience=self.patience),
            goal=self.goal,
            loss_on=self.loss_on,
            start=self.start,
            about=lambda: {"prompts": self.prompts.hash, "method": "tallrec"},
            seed=seed,
        )

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by the probability of Yes, float32 in [0, 1]; NaN where the model gives none."""
        ready(self, queries, candidates)
        labels = [self._labels(queries.lang[i]) for i in ragged.segments(candidates.offsets).tolist()]
        found = yes_probabilities(self.lm, self._prompts(queries, candidates), labels)
        return candidates.scored(found, "tallrec")

    def _labels(self, lang: str) -> tuple[str, str]:
        return self.prompts.text(lang, "yes"), self.prompts.text(lang, "no")

    def _prompts(self, queries: Queries, lists: Lists) -> list[Prompt]:
        """One question per shown item; those of one history begin alike."""
        from hexarec.parts.train.kept import placed

        adapter = None if self.adapter_ is None else placed(self.adapter_)
        solved = {lang: self._answered(queries.catalog, lang) for lang in dict.fromkeys(queries.lang.tolist())}
        made = []
        for i in range(len(queries)):
            lang, own = queries.lang[i], int(queries.user[i])
            pages = self._pages(queries.catalog, lang, *liked_and_not(queries, i, self.history), lists[i].items)
            for page in pages:
                turns = (*solved[lang], Turn("user", page))
                made.append(Prompt(turns=turns, adapter=adapter, sample=Sample(max_tokens=1), whose=own))
        return made

    def _pages(self, catalog: Catalog, lang: str, liked: Rows, other: Rows, asked: Rows) -> list[str]:
        """One history, and the question about each of the items that are asked about."""
        past = [numbered(titles(catalog, items, lang)) or self._text(lang, "none") for items in (liked, other)]
        page = self._text(lang, "history", liked=past[0], other=past[1])
        return [page + self._text(lang, "ask", title=title) for title in titles(catalog, asked, lang)]

    def _text(self, lang: str, piece: str, **slots: str) -> str:
        return self.prompts.text(lang, piece, **domain_words(self.domain, lang), **slots)

    def _answered(self, catalog: Catalog, lang: str) -> tuple[Turn, ...]:
        """The solved cases as turns: the very question that is asked, and the label that is scored."""
        made: list[Turn] = []
        for liked, other, item, yes in self.examples_:
            (page,) = self._pages(catalog, lang, liked, other, [item])
            made += [Turn("user", page), Turn("assistant", self._labels(lang)[0 if yes else 1])]
        return tuple(made)

    def _solved(self, cases: Cases) -> list[Solved]:
        """Liked items, other items, item asked about and answer of each case."""
        return [
            (*(items.tolist() for items in liked_and_not(cases.queries, i, self.history)), item, liked)
            for i, (item, liked) in enumerate(zip(cases.item.tolist(), cases.liked.tolist(), strict=True))
        ]
