"""GenRec: a tuned model writes the title of the next item: inside the catalog, in free words, or grounded in it.

Source:  Ji et al. 2023, ECIR 2024, arXiv:2307.00457; survey section 4.3. Tries after GENRE (arXiv:2010.00904) and
         RecLM-cgen (arXiv:2505.03336), grounding after BIGRec (arXiv:2308.08434).
Idea:    from the titles of a history a model can write the title that comes next; its likeliest titles are the list.
Differs: one template for tuning and asking, the loss on the title alone (the released code has two templates, the loss
         on the prompt too, and never looks whether a title exists); titles are unique, cleaned and capped; titles that
         differ by case, marks, article or year are the same; seen items are left out; what is left open is filled by
         popularity, and says so; a rate and epochs for a model of 135 million parameters.
Cost:    fit reads `examples` prompts an epoch, forward and back; a question is one prompt and its beams (or draws).
Needs:   ratings, text; weights (hf:) unless epochs is 0; trie (hf:) or choice with decode="trie".
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from hexarec.classic import Popular
from hexarec.core import (
    CapabilityError,
    Catalog,
    Dataset,
    Lists,
    OptionError,
    Queries,
    at_least,
    degrade,
    ready,
)
from hexarec.lm.base import Encoder, LanguageModel, Prompt
from hexarec.parts.domain import known_domain
from hexarec.parts.next_title import Held, NextTitle, Recipe
from hexarec.parts.prompts import Prompts
from hexarec.parts.several import How, check_how, several
from hexarec.parts.titling import Titled, inside, named, nearest, read, surfaces

DECODE = ("trie", "free", "grounded")
PROMPTS = Prompts(
    "genrec",
    1,
    en={
        "ask": "Here are {noun} that a user has {verb}, oldest first:\n{history}\n\n"
        "Which one will the user {act} next? Answer with its title and nothing else.",
        "none": "(none)",
    },
    zh={
        "ask": "以下是一位用户{verb}的{noun}（由旧到新）：\n{history}\n\n"
        "用户接下来会{act}哪一个？只回答它的标题，不要写其他内容。",
        "none": "（无）",
    },
)


@dataclass
class GenRec:
    """A retriever that writes the titles of the next items.

    lm: the model; an hf: one to be tuned. decode: trie writes nothing but titles of the catalog, free writes anything
    and keeps what is a title, grounded takes the item nearest to what is none. beams: answers looked at, at least as
    many as the list is long. how: beams (hf:), draws, or auto for beams where the model has them; a trie has its own.
    temperature: of draws. history: newest liked events shown. length: most tokens of an answer in free words. encoder:
    says what is nearest by vectors, as in BIGRec; None for BM25. backfill: whether popular items fill what was left
    open. epochs: passes over the examples, 0 asks the model as it is. examples: likes that follow another, learned from
    at most. valid: held questions whose loss chooses the epoch; 0 learns from the whole log. share: newest part of the
    log, which is held. r: rank of the LoRA. alpha: its scale is alpha / r. dropout: of its inputs. targets: layers it
    goes to, by the last word of their names. batch: examples a step. rate: highest learning rate. patience: epochs
    without a better loss before tuning ends; 0 for never. loss_on: answer, or all tokens as released. start: folder of
    an adapter to go on from, or to ask with when epochs is 0. domain: film, product, game, book, news, music, item.
    prompts: the wording, English and Chinese.
    """

    lm: LanguageModel
    decode: Literal["trie", "free", "grounded"] = "trie"
    beams: int = 20
    how: How = "auto"
    temperature: float = 0.8
    history: int = 10
    length: int = 48
    encoder: Encoder | None = None
    backfill: bool = True
    epochs: int = 3
    examples: int = 1000
    valid: int = 100
    share: float = 0.1
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: Sequence[str] = ("q_proj", "v_proj")
    batch: int = 16
    rate: float = 1e-3
    patience: int = 1
    loss_on: Literal["answer", "all"] = "answer"
    start: str = ""
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        known_domain(self.domain)
        at_least(self, beams=1, temperature=0, history=1, length=1, valid=0)
        if self.decode not in DECODE:
            raise OptionError(f"decode is {self.decode!r}", hint=f"use one of {', '.join(DECODE)}")
        check_how(self.lm, self.how, "genrec")
        if self.decode == "trie" and not {"trie", "choice"} & self.lm.can:
            raise CapabilityError(
                f'genrec with decode="trie" needs trie or choice, which {self.lm.name} lacks',
                hint='an hf: model has tries; decode="grounded" takes any model',
            )
        Recipe.of(self).check(self.lm, "genrec")

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Tune the model. Raises DataError for a log in which nothing follows anything."""
        self.key_, self.seed_ = data.catalog.key, int(seed)
        self.popular_ = Popular().fit(data, seed=seed)
        held = Held.of(data, self.share, self.valid if self.epochs else 0, seed)
        about = {"prompts": self.prompts.hash, "method": "genrec"}
        self.adapter_ = Recipe.of(self).learn(self._ask(self.length), held, about, seed)
        return self

    def _ask(self, length: int) -> NextTitle:
        return NextTitle(self.lm, self.prompts, self.domain, self.history, length, named)

    def extend(self, catalog: Catalog) -> Self:
        """New items are named by their titles at once. Raises LineageError for another catalog."""
        made = copy.copy(self)
        made.popular_ = self.popular_.extend(catalog)
        return made

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """At most k items that the model named, the likeliest first, then the popular ones.

        The field `score.genrec` is the log-probability of a named title, else NaN. Notes hold, per question, `parse`
        (of the answers as they came: `out_of_set` are no titles), `repaired` (the same after grounding), `seen` (titles
        that the question excludes), `status` (how each item was found) and `raw` (the answers).
        """
        ready(self, queries)
        made = self.titled(queries, k)
        if faults := [one.fault for one in made if one.fault]:
            degrade(f"{len(faults)} of {len(queries)} questions have no title: {faults[0]}")
        popular = self.popular_.retrieve(queries, k if self.backfill else 0)
        rows = []
        for one, more in zip(made, popular, strict=True):
            taken = {item for item, _, _ in one.rows}
            rest = [(item, np.nan, "backfilled") for item in more.items.tolist() if item not in taken]
            rows.append([*one.rows, *rest][:k])
        lists = Lists.of(queries.catalog.key, [[item for item, _, _ in own] for own in rows])
        odds = np.array([logprob for own in rows for _, logprob, _ in own], np.float32)
        notes = tuple(
            {"parse": one.parse.as_note(), "repaired": one.repaired.as_note(), "seen": one.seen,
             "status": [status for _, _, status in own], "raw": list(one.raw)}
            for one, own in zip(made, rows, strict=True)
        )  # fmt: skip
        return replace(lists.with_field("score.genrec", odds), notes=notes)

    def titled(self, queries: Queries, k: int) -> list[Titled]:
        """What the model names for each question; nothing for one without a liked history."""
        made = [Titled() for _ in range(len(queries))]
        liked = queries.history.where(queries.history.liked).lengths > 0
        for lang in dict.fromkeys(queries.lang.tolist()) if k > 0 else ():
            rows = np.flatnonzero(liked & (queries.lang == lang))
            if len(rows):
                for i, one in zip(rows.tolist(), self._titled(queries.take(rows), lang, k), strict=True):
                    made[i] = one
        return made

    def _titled(self, queries: Queries, lang: str, k: int) -> list[Titled]:
        """The same for questions of one language."""
        adapter, known = Recipe.of(self).adapter(self.adapter_), surfaces(queries.catalog, lang)
        forbidden = queries.forbidden(len(queries.catalog))

        def asked(room: int) -> list[Prompt]:
            return self._ask(max(self.length, room)).asked(queries, adapter, self.seed_)

        if self.decode == "trie":
            order = np.argsort(-self.popular_.extend(queries.catalog).counts_[: len(queries.catalog)], kind="stable")
            return inside(self.lm, asked, known, forbidden, k, beams=self.beams, order=order, lang=lang)
        near = nearest(queries.catalog, lang, self.encoder) if self.decode == "grounded" else None
        width = max(self.beams, k)
        said = several(self.lm, asked(0), width, how=self.how, temperature=self.temperature)
        return [read(one, known, row, width, near) for one, row in zip(said, forbidden, strict=True)]
