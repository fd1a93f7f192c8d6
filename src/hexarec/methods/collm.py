"""CoLLM: what the choices of many say of user and item, as input tokens beside the titles that a model reads.

Source:  Zhang et al. 2023, TKDE 2025, arXiv:2310.19488; survey section 3.2.
Idea:    a collaborative model gives a vector of the user and one of the item; a small network maps each into the input
         embeddings of a language model, where they stand in slots of the question. Two steps: a LoRA learns the task
         from titles alone, then only the network learns, so that what titles tell is kept where nobody has chosen yet.
Differs: the loss is on Yes against No at the next token, which any engine can serve, not on the number of Yes alone;
         vectors are scaled by constants to what a network and a model are used to; one wording, as the paper has it
         (the released code draws among four); T1 and T2 tune vectors of users and items met in the cases, not the
         insides of a collaborative model; this model and the network learn from before the cut that validation begins
         with; learning rates and epochs are for a model of 135 million parameters, not of seven billion.
Cost:    fit reads `shots` questions `epochs` + `map_epochs` times, forward and back; the first step is shared by
         stages that differ in the second. One label question a candidate, each read whole: its vectors are its own.
Needs:   ratings (liked and not), label, vectors, weights (hf:); without shots only label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Backbone,
    Dataset,
    Lists,
    OptionError,
    Queries,
    at_least,
    choices,
    fitted,
    holdout,
    ragged,
    ready,
    with_defaults,
)
from hexarec.lm.base import LanguageModel
from hexarec.parts.backbones import OwnVectors, Paired, drawn_vectors, pair_rows, pair_vectors
from hexarec.parts.domain import known_domain
from hexarec.parts.pointwise import Cases, Negatives, shots, split_cases, yes_probabilities
from hexarec.parts.prompts import Prompts
from hexarec.parts.require import require_all
from hexarec.parts.slotpage import SlotPage

Floats = NDArray[np.float32]
Slots = tuple[Floats | None, NDArray[np.int64] | None]
NOTHING: Slots = (None, None)
SECOND = ("cf", "vectors", "mapper", "wide", "tokens", "tuning", "map_epochs", "map_rate")  # options of that step alone

PROMPTS = Prompts(
    "collm",
    1,
    en={
        "history": "Some {noun} that a user has {verb} and liked, oldest first.\n{liked}\n\n",
        "none": "(none)",
        "user": "What the choices of many users tell about this user: {slot}\n\n",
        "ask": "Will the user like to {act} this one too? Answer Yes or No.\n[A] {title}",
        "item": "\nWhat the choices of many users tell about it: {slot}",
        "yes": "Yes",
        "no": "No",
    },
    zh={
        "history": "一位用户{verb}并喜欢的一些{noun}（由旧到新）。\n{liked}\n\n",
        "none": "（无）",
        "user": "众多用户的选择反映出这位用户的特征：{slot}\n\n",
        "ask": "用户也会喜欢{act}下面这一个吗？请回答是或否。\n[A] {title}",
        "item": "\n众多用户的选择反映出它的特征：{slot}",
        "yes": "是",
        "no": "否",
    },
)


@dataclass
class CoLLM:
    """A pointwise ranker that reads titles and what a collaborative model knows.

    lm: the model; an hf: one to be tuned. cf: the collaborative model, any stage with users and items, or DIN; None
    asks by titles alone, which is TALLRec. shots: labelled cases that are learned from, 0 asks the model as it is.
    balanced: as many liked as not among them. negatives: log takes what the log says was not liked, drawn an item that
    the user never met. history: newest liked events shown. vectors: cf takes those of the collaborative model, random
    numbers that the ids decide (a control), ids learned embeddings of each user and item in their place (the paper's
    UI tokens). mapper: from vectors to embeddings: an MLP, a linear layer, none. wide: hidden width of the MLP in
    widths of a vector, the paper's 10. tokens: embeddings of a vector. tuning: default tunes the mapper in the second
    step, T1 vectors of users and items along, T2 these from nothing, T3 everything in one step. r: rank of the LoRA,
    the paper's 8. alpha: its scale is alpha / r. dropout: of its inputs. targets: layers it goes to, by the last word
    of their names. epochs: passes of the first step at most, 0 leaves the LoRA out. map_epochs: passes of the second.
    batch: cases a step. rate: highest learning rate of the LoRA. map_rate: that of the mapper. decay: weight decay.
    patience: validations without a better AUC, one an epoch, before a step ends; 0 for never. share: newest part of
    the log, which validates. most_valid: cases validated on at most. start: folder of an adapter to go on from in the
    first step. domain: film, product, game, book, news, music, item. prompts: the wording, English and Chinese.
    """

    lm: LanguageModel
    cf: Backbone | Paired | None = None
    shots: int = 1024
    balanced: bool = False
    negatives: Negatives = "log"
    history: int = 10
    vectors: Literal["cf", "random", "ids"] = "cf"
    mapper: Literal["mlp", "linear", "none"] = "mlp"
    wide: int = 10
    tokens: int = 1
    tuning: Literal["default", "T1", "T2", "T3"] = "default"
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: Sequence[str] = ("q_proj", "v_proj")
    epochs: int = 3
    map_epochs: int = 3
    batch: int = 16
    rate: float = 1e-3
    map_rate: float = 1e-3
    decay: float = 1e-3
    patience: int = 2
    share: float = 0.1
    most_valid: int = 200
    start: str = ""
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        choices(self)
        known_domain(self.domain)
        at_least(self, shots=0, history=1, wide=1, tokens=1, epochs=0, map_epochs=1, patience=0, most_valid=1)
        if self.vectors == "random" and self.cf is None:
            raise OptionError("random vectors stand in place of a collaborative model's: there is none", hint="give cf")
        if self.vectors == "ids" and self.tokens > 1:
            raise OptionError("an id is learned as one embedding", hint="tokens=1")
        if self._maps and self.mapper == "none" and self.vectors != "ids" and self.tuning == "default":
            raise OptionError("without a mapper the second step has nothing to tune", hint="take tuning T1, T2 or T3")
        if self.start and not self.epochs:
            raise OptionError("an adapter to go on from needs epochs to go on", hint="epochs=1")
        learns = self.shots > 0 and (self.epochs > 0 or self._maps)
        needs = ["label", *(["weights"] if learns else []), *(["vectors"] if learns and self._maps else [])]
        hint = "an hf: model has all; shots=0 asks a model as it is" if learns else "see `hexarec models list`"
        require_all(self.lm, needs, "collm", hint)

    @property
    def _page(self) -> SlotPage:
        return SlotPage(self.prompts, self.domain, self.history, self.tokens)

    @property
    def _maps(self) -> bool:
        """Whether questions have slots once it has learned."""
        return self.cf is not None or self.vectors == "ids"

    @property
    def _scratch(self) -> bool:
        """Whether users and items begin as draws, without a collaborative model's vectors."""
        return self.vectors == "ids" or self.tuning == "T2"

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Tune in two steps, or in one. Raises DataError for a log without both labels."""
        self.key_, self.width_ = data.catalog.key, 0
        self.adapter_: dict[str, Any] | None = None
        self.bridge_: dict[str, Any] | None = None
        self.cf_: Any = None
        self.own_: OwnVectors | None = None
        if not self.shots:
            return self
        train, valid = split_cases(data, self.share, negatives=self.negatives, seed=seed)
        train = shots(train, self.shots, balanced=self.balanced, seed=seed)
        valid = shots(valid, self.most_valid, seed=seed)
        if not self._maps:
            self.adapter_ = self._tuned((train, NOTHING), (valid, NOTHING), seed) if self.epochs else None
            return self
        if self.epochs and self.tuning != "T3":
            # as a stage of its own: equal for all that differ in the second step, so it is fitted once
            self.adapter_ = fitted(with_defaults(self, SECOND), data, seed).adapter_
        if self.cf is not None:
            self.cf_ = fitted(self.cf, holdout(data, self.share).train, seed)
            self.width_ = pair_vectors(self.cf_, train.queries, train.lists).shape[2]
        self._map(data, train, valid, seed)
        return self

    def _map(self, data: Dataset, train: Cases, valid: Cases, seed: int) -> None:
        """The second step, or the only one: fill `bridge_`, `own_` and, where all is one step, `adapter_`."""
        from hexarec.parts.train.bridge import Bridge, Shape, taken

        rows, others = (pair_rows(data, one.queries, one.lists) for one in (train, valid))
        others[~np.isin(others, rows)] = 0  # of these nothing is learned
        given, also = (self._known(one.queries, one.lists) for one in (train, valid))
        n = 1 + data.n_users + data.n_items if self._scratch or self.tuning == "T1" else 0
        shape = Shape(self.width_, self.mapper, self.wide, self.tokens, n, "drawn" if self._scratch else "zero")
        made: list[Bridge] = []

        def bridge(embeddings: Any) -> Bridge:
            own = Shape(embeddings.shape[1], "none", rows=n, begun="drawn") if self.vectors == "ids" else shape
            made.append(Bridge.of(own, embeddings, given, seed))
            return made[0]

        state = self._tuned((train, (given, rows)), (valid, (also, others)), seed, bridge)
        if state is not None:
            self.bridge_, table = taken(state, made[0].shape)
            self.own_ = None if table is None else OwnVectors.of(data, rows, table)
            self.adapter_ = state if self.tuning == "T3" and self.epochs else self.adapter_

    def _known(self, queries: Queries, lists: Lists) -> Floats | None:
        """What is mapped, (pairs, 2, d): vectors of user and item; None where all of it is learned."""
        if self._scratch:
            return None
        if self.vectors == "random":
            return drawn_vectors(queries, lists, self.width_)
        return pair_vectors(self.cf_, queries, lists)

    def _tuned(
        self, train: tuple[Cases, Slots], valid: tuple[Cases, Slots], seed: int, bridge: Any = None
    ) -> dict[str, Any] | None:
        from hexarec.parts.train.kept import placed
        from hexarec.parts.train.kinds import Frozen, LoRA
        from hexarec.parts.train.loop import Plan
        from hexarec.parts.train.yesno import Asked, tune_yes_no

        asked = [
            Asked(self._page.questions(one.queries, one.lists, slots=bridge is not None), one.liked.tolist(), *slots)
            for one, slots in (train, valid)
        ]
        second = bridge is not None and self.tuning != "T3"
        epochs, rate = (self.map_epochs, self.map_rate) if second or not self.epochs else (self.epochs, self.rate)
        rates = (("bridge", self.map_rate),) if bridge is not None else ()
        return tune_yes_no(
            self.lm,
            LoRA(self.r, self.alpha, self.dropout, tuple(self.targets)) if self.epochs else Frozen(),
            self._page.labels(str(train[0].queries.catalog.lang)),
            *asked,
            plan=Plan(epochs, self.batch, rate, rates, decay=self.decay, patience=self.patience),
            goal="labels",
            start=placed(self.adapter_) if second and self.adapter_ is not None else self.start,
            held=second,
            bridge=bridge,
            about=lambda: {"prompts": self.prompts.hash, "method": "collm"},
            seed=seed,
        )

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by the probability of Yes, float32 in [0, 1]; NaN where the model gives none."""
        ready(self, queries, candidates)
        vectors = None
        if self.bridge_ is not None:
            from hexarec.parts.train.bridge import mapped

            more = None if self.own_ is None else self.own_.of_pairs(queries, candidates)
            vectors = mapped(self.bridge_, self._known(queries, candidates), more)
        prompts = self._page.questions(queries, candidates, vectors=vectors, adapter=self.adapter_)
        labels = [self._page.labels(queries.lang[i]) for i in ragged.segments(candidates.offsets).tolist()]
        return candidates.scored(yes_probabilities(self.lm, prompts, labels), "collm")
