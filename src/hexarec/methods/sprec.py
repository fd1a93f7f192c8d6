"""SPRec: a recommender that plays against itself, so that what it says too often is pushed down.

Source:  Gao et al. 2025, WWW, arXiv:2412.09243; survey section 6.
Idea:    supervised tuning on next items keeps a model's liking for a few titles, and preference tuning against random
         items makes it stronger; so each round imitates the next item and then prefers it to what the model itself
         would have said: the more a title is over-recommended, the more often it is the rejected one.
Differs: one prompt for tuning, preferring and asking (the released code prefers on a prompt that is never asked); loss
         on the title alone; rejected and recommended titles are found inside the trie of the catalog, so none is
         invented, and a list is the model's own beam, not neighbours of one title; pairs whose answers are equal are
         left out; without a language model the same loop runs on a small soft-max over items; learning rates are for
         a model of 135 million parameters.
Cost:    fit reads `shots` pairs `epochs` times, and each round `pairs` prompts six times over, half of them forward and
         back; a list is one beam search.
Needs:   ratings; text, weights, trie (hf:) with a language model; only text without tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from hexarec.core import (
    Dataset,
    Lists,
    OptionError,
    Queries,
    Retriever,
    at_least,
    best,
    choices,
    degrade,
    fitted,
    ready,
    rng,
)
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.naming import name_items
from hexarec.parts.nexts import Nexts, liked_next
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import numbered, titles
from hexarec.parts.require import require_all
from hexarec.parts.selfplay import Negatives, Sampler, play
from hexarec.parts.softmax import SoftmaxPolicy, Weights
from hexarec.parts.titling import surfaces

PROMPTS = Prompts(
    "sprec",
    1,
    en={
        "ask": "Some {noun} that a user has {verb} and liked, oldest first:\n{liked}\n\n"
        "One more that the user will like to {act} next:\n",
        "none": "(none)",
    },
    zh={
        "ask": "一位用户{verb}并喜欢的一些{noun}（由旧到新）：\n{liked}\n\n用户接下来会喜欢{act}的一个：\n",
        "none": "（无）",
    },
)


@dataclass
class SPRec:
    """A retriever that names the next item, tuned by self-play.

    lm: the model; an hf: one to be tuned; None takes a small soft-max over items in its place. shots: next items
    learned from before the first round. epochs: passes over them; 0 leaves them out. rounds: of self-play; 0 is
    supervised tuning alone. pairs: next items drawn in a round. negatives: where rejected answers come from: self,
    uniform, popular, hard (of a retriever), or mix. temperature: of the model's own answers, 0 is greedy. rho: share of
    own answers in a mix, uniform for the rest. hard: the retriever of hard negatives. beta: of the preferences, the
    paper's .1. history: newest liked events shown. r: rank of the LoRA, the paper's 16. alpha: its scale is alpha / r.
    dropout: of its inputs. targets: layers it goes to, by the last word of their names. batch: pairs a step. rate:
    highest learning rate before the first round. round_rate: that of both steps of a round. start: folder of an adapter
    to go on from. small_width: numbers of an item's vector in the small soft-max. small_rate: its step (AdaGrad) before
    the first round. small_round_rate: that of a round. small_batch: its pairs a step. domain: film, product, game,
    book, news, music, item. prompts: the wording, English and Chinese.
    """

    lm: LanguageModel | None = None
    shots: int = 1024
    epochs: int = 2
    rounds: int = 3
    pairs: int = 256
    negatives: Negatives = "self"
    temperature: float = 0.0
    rho: float = 0.5
    hard: Retriever | None = None
    beta: float = 0.1
    history: int = 10
    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: Sequence[str] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    batch: int = 16
    rate: float = 3e-4
    round_rate: float = 5e-5
    start: str = ""
    small_width: int = 32
    small_rate: float = 0.1
    small_round_rate: float = 0.02
    small_batch: int = 128
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        choices(self)
        known_domain(self.domain)
        at_least(
            self, shots=0, epochs=0, rounds=0, pairs=1, temperature=0, rho=0, history=1, small_width=1, small_rate=0,
            small_round_rate=0, small_batch=1,
        )  # fmt: skip
        if not self.beta > 0 or self.rho > 1:
            raise OptionError(f"beta {self.beta} or rho {self.rho} is impossible", hint="beta > 0, rho in [0, 1]")
        if (self.negatives == "hard") != (self.hard is not None):
            raise OptionError("hard negatives need a retriever, and no other kind takes one", hint="hard=ItemKNN()")
        if self.start and not (self.lm is not None and self._learns):
            raise OptionError("an adapter to go on from needs a model that learns", hint="give lm, and shots or rounds")
        if self.lm is None:
            return
        needs = ["text", "trie", "weights"] if self._learns else ["text"]
        hint = "an hf: model has all; shots=0, rounds=0 asks a model as it is; lm=None plays on a small soft-max"
        require_all(self.lm, needs, "sprec", hint)

    @property
    def _learns(self) -> bool:
        return bool(self.rounds or (self.shots and self.epochs))

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Imitate, then play. Raises DataError for a log in which nobody liked one item after another."""
        self.key_ = data.catalog.key
        self.adapter_: dict[str, Any] | None = None
        self.weights_: Weights | None = None
        self.rounds_: list[dict[str, Any]] = []
        if self.lm is not None and not self._learns:
            return self
        pairs = liked_next(data)
        retriever = None if self.hard is None else fitted(self.hard, data, seed)
        counts = data.interactions.counts(data.n_items, liked=True).astype(np.float64)
        rejected = Sampler(self.negatives, counts, self.temperature, self.rho, retriever, seed)
        if self.lm is None:
            self._fit_small(data, pairs, rejected, seed)
        elif hasattr(self.lm, "count_tuning"):
            self._count(pairs)
        else:
            self._fit_lm(data, pairs, rejected, seed)
        return self

    def _first(self, pairs: Nexts, seed: int) -> Nexts:
        return pairs.take(np.sort(rng(seed, "sprec").permutation(len(pairs))[: self.shots]))

    def _fit_small(self, data: Dataset, pairs: Nexts, rejected: Sampler, seed: int) -> None:
        weights = Weights.drawn(data, self.small_width, self.history, seed)
        policy = SoftmaxPolicy(weights, self.beta, self.small_rate, self.small_round_rate, self.small_batch)
        policy.begin(self._first(pairs, seed), self.epochs if self.shots else 0, seed)
        self.rounds_ = play(policy, pairs, rejected, rounds=self.rounds, size=self.pairs, seed=seed)
        self.weights_ = policy.weights

    def _fit_lm(self, data: Dataset, pairs: Nexts, rejected: Sampler, seed: int) -> None:
        from hexarec.parts.train.kinds import LoRA
        from hexarec.parts.train.loop import Plan
        from hexarec.parts.train.titles import TitlePolicy, Tuning

        assert self.lm is not None
        tuning = Tuning(
            LoRA(self.r, self.alpha, self.dropout, tuple(self.targets)),
            Plan(max(self.epochs, 1), self.batch, self.rate),
            Plan(1, self.batch, self.round_rate),
            self.beta,
        )
        names = surfaces(data.catalog, data.catalog.lang).texts
        policy = TitlePolicy(self.lm, names, self._prompts, tuning, start=self.start, seed=seed)
        try:
            if self.shots and self.epochs:
                policy.begin(self._first(pairs, seed), seed)
            self.rounds_ = play(policy, pairs, rejected, rounds=self.rounds, size=self.pairs, seed=seed)
            about = {"prompts": self.prompts.hash, "method": "sprec", "dropped": policy.dropped}
            self.adapter_ = policy.state(**about, rounds=self.rounds_)
        finally:
            policy.detach()

    def _count(self, pairs: Nexts) -> None:
        """What tuning would read, to a double that counts."""
        lm: Any = self.lm
        prompts = self._prompts(pairs.queries.take(slice(0, max(self.shots, self.pairs))))
        lm.count_tuning(prompts[: self.shots], self.epochs)
        drawn = prompts[: self.pairs]
        for _ in range(self.rounds):
            lm.generate(drawn)
            lm.count_tuning(drawn, 3)  # once to imitate, twice to prefer
            lm.score(drawn, [["a title", "another title"]] * len(drawn))

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items the model would say, best first, scored by log-probability."""
        ready(self, queries)
        if self.weights_ is not None:
            return best(queries, self.weights_.log_odds, k)
        if k < 1 or not len(queries):
            return Lists.empty(queries.catalog.key, len(queries))
        return self._named(queries, k)

    def _named(self, queries: Queries, k: int) -> Lists:
        assert self.lm is not None
        n = len(queries.catalog)
        rows: list[list[int]] = [[] for _ in range(len(queries))]
        scores: list[list[float]] = [[] for _ in range(len(queries))]
        notes: list[dict[str, Any]] = [{} for _ in range(len(queries))]
        banned, prompts, faults = queries.forbidden(n), self._prompts(queries), []
        for lang in dict.fromkeys(queries.lang.tolist()):
            own = [i for i in range(len(queries)) if queries.lang[i] == lang]
            names = surfaces(queries.catalog, lang)
            made = name_items(
                self.lm, [prompts[i] for i in own], [names] * len(own), k=k, lang=lang,
                banned=[np.flatnonzero(banned[i]).tolist() for i in own],
            )  # fmt: skip
            for i, named in zip(own, made, strict=True):
                rows[i] = named.items
                odds = [name.logprob for name in named.names]
                scores[i] = odds if np.isfinite(odds).all() else (1.0 / (1.0 + np.arange(len(odds)))).tolist()
                notes[i] = {"named": dict(named.by_status), "raw_invalid": named.report.raw_invalid_rate}
                faults += [named.fault] if named.fault else []
        if faults:
            degrade(f"{len(faults)} of {len(queries)} questions: {faults[0]}")
        lists = replace(Lists.of(queries.catalog.key, rows, scores), notes=tuple(notes))
        return lists.scored(lists.scores, "sprec")

    def _prompts(self, queries: Queries) -> list[Prompt]:
        """One question a user; the same words in tuning and in asking."""
        from hexarec.parts.train.kept import placed

        adapter = None if self.adapter_ is None else placed(self.adapter_)
        past = queries.history.where(queries.history.liked).last(self.history)
        made = []
        for i, lang in enumerate(queries.lang.tolist()):
            read = titles(queries.catalog, past.item[slice(*past.offsets[i : i + 2])], lang)
            words = {**domain_words(self.domain, lang), "liked": numbered(read) or self.prompts.text(lang, "none")}
            made.append(
                Prompt(raw=self.prompts.text(lang, "ask", **words), adapter=adapter, whose=int(queries.user[i]))
            )
        return made
