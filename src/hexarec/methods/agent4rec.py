"""Agent4Rec: simulated users, cloned from real logs, who look through a recommender page by page.

Source:  Zhang et al. 2024, SIGIR, arXiv:2310.10108; survey section 5.4. The shape of the twin's exits follows the log
         that was released with it.
Idea:    traits measured from ratings, a taste in words, a memory of facts and feelings; on each page a user says what
         suits, takes some of it up, rates it, feels, and goes on or leaves; at the end there is an interview.
Differs: items are judged by id, behind handles; backend="label" asks for each item alone and draws numbers from the
         model's odds instead of one long answer; memories fade by page (as released they do not); titles stand beside
         the taste; the yes of a model may be calibrated on held-out likes; mind="rules" is a twin without any model.
Cost:    label: for a page of m items about m + 4 labels and one a rating; json, text: two answers a page. One
         interview.
Needs:   ratings, text, a model with what `backend` and `taste` ask of it; with mind="rules" ratings alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from hexarec.classic import IALS
from hexarec.core import (
    Backbone,
    CapabilityError,
    Catalog,
    DataError,
    Dataset,
    Lists,
    OptionError,
    Reply,
    StateError,
    at_least,
    choices,
    degrade,
    same_lineage,
)
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.parts.domain import known_domain
from hexarec.parts.heldpairs import held_pairs
from hexarec.parts.known import Known
from hexarec.parts.labelmind import LabelMind
from hexarec.parts.personas import PROMPTS, Personas
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Scale
from hexarec.parts.require import fields_there
from hexarec.parts.rulemind import RuleMind
from hexarec.parts.traits import Traits, mean_ratings, stated
from hexarec.parts.visit import Entry, Judged, Mind, Mood, Scene, Visit, due
from hexarec.parts.writtenmind import WrittenMind

NEEDS = {"label": "label", "json": "json", "text": "text"}
State = Mapping[str, Any]


@dataclass
class Agent4Rec:
    """Simulated users.

    lm: the model that plays them; may be left out with mind="rules". encoder: texts to vectors, to recall memories;
    None = shared words. mind: model, or rules for the twin. backend: what the model is asked for: label (yes, no,
    numbers), json or text (a whole page at once, as published). taste: model writes a taste in words at the first page,
    counted lists frequent tags. history: newest events of a user that persona and prompts rest on. max_pages: pages
    until everybody leaves. recall: memories in a prompt. reflect: a reflection follows more than so many memories. low:
    lowest rating. high: highest. likes: a rating from here on is a like. calibrated: held-out likes that are asked at
    `fit`, beside as many items not met, so that as many of both are said to suit as truly do; 0 = the model's own yes.
    retries: of answers that say nothing. taste_by: vectors that the twin's taste is read from; None = iALS. tags: item
    attribute of kinds. breadth: see `parts.traits`. public: item attribute with a mean rating of others. facts: item
    attributes beside a title. domain: film, product, game, book, news, music, item. prompts: wording, English and
    Chinese.
    """

    lm: LanguageModel | None = None
    encoder: Encoder | None = None
    mind: Literal["model", "rules"] = "model"
    backend: Literal["label", "json", "text"] = "label"
    taste: Literal["model", "counted"] = "model"
    history: int = 20
    max_pages: int = 5
    recall: int = 5
    reflect: int = 3
    low: int = 1
    high: int = 5
    likes: float = 4.0
    calibrated: int = 0
    retries: int = 1
    taste_by: Backbone | None = None
    tags: str = "genres"
    breadth: float = 1.0
    public: str = "rating"
    facts: Sequence[str] = ("genres", "categories")
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        choices(self)
        known_domain(self.domain)
        Scale(self.low, self.high), Traits(self.tags, self.breadth)
        at_least(self, history=1, max_pages=1, recall=0, reflect=0, calibrated=0, retries=0)
        if self.calibrated and (self.mind, self.backend) != ("model", "label"):
            raise OptionError("only mind='model' with backend='label' can be calibrated")
        if self.mind == "model":
            self._able()

    def _able(self) -> None:
        if self.lm is None:
            raise OptionError("mind='model' needs lm", hint="give a model, or use mind='rules'")
        need, can = NEEDS[self.backend], self.lm.can
        if need not in can:
            able = [*(f"backend={name!r}" for name, one in NEEDS.items() if one in can), "mind='rules'"]
            raise CapabilityError(
                f"backend={self.backend!r} needs {need!r}, which {self.lm.name} cannot do",
                hint=f"with this model use {' or '.join(able)}",
            )
        if self.taste == "model" and "text" not in can:
            raise CapabilityError(f"{self.lm.name} cannot do 'text'", hint="use taste='counted', or another model")

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Measure traits, keep the newest events of each user and how items read; calibrate, or learn the twin."""
        fields_there(self, data)
        self.key_, self.seed_, self.table_ = data.catalog.key, seed, data.catalog.items
        self.means_ = mean_ratings(data, self.public)
        self.traits_ = Traits(self.tags, self.breadth).fit(data, self.means_)
        self.personas_ = self._personas().fit(data, self.means_)
        self.rules_ = None
        if self.mind == "rules":
            taste_by = IALS() if self.taste_by is None else self.taste_by
            self.rules_ = RuleMind(taste_by, self.low, self.high, self.likes).fit(data, self.means_, seed=seed)
        self.bias_ = self._calibrate(data, seed) if self.calibrated else 0.0
        return self

    def extend(self, catalog: Catalog) -> Self:
        """New items can be judged: they read as the catalog says, and nobody has rated them yet."""
        self._fitted()
        same_lineage(self.key_, catalog.key)
        made, old = copy.copy(self), len(self.table_)
        made.table_ = catalog.items
        made.means_ = np.concatenate([self.means_, stated(catalog, self.public)[old:]])
        made.personas_ = self.personas_.extend(catalog, made.means_)
        made.rules_ = None if self.rules_ is None else self.rules_.extend(made.means_)
        return made

    # ------------------------------------------------------------ visits
    def react(self, visits: Sequence[State], shown: Lists | Sequence[Reply]) -> list[State]:
        """The visits after one more page: one list (or the items of one reply) for each; who has left stays as is.

        A visit begins as {"user": id}, {} for nobody, with `lang` and `seed` if wanted; it comes back with page,
        exited, judged (of this page, by id), memory, tally, and, once it ended, satisfaction (1 to 10) and why.
        """
        self._fitted()
        if len(visits) != len(shown):
            raise DataError(f"{len(shown)} pages for {len(visits)} visits")
        rows = self._rows(shown)
        made: list[State] = [dict(one) for one in visits]
        going = [i for i, one in enumerate(visits) if one.get("exited") is not True]
        for i, visit in zip(going, self._gone_on([visits[i] for i in going], [rows[i] for i in going]), strict=True):
            made[i] = {**visits[i], **visit.as_json()}
        return made

    def _gone_on(self, states: Sequence[State], rows: Sequence[Sequence[int]]) -> list[Visit]:
        opened = [Visit.parse(one, self.personas_.lang_, self.seed_) for one in states]
        visits = self._tasted([replace(one, page=one.page + 1) for one in opened])
        mind = self._mind()
        scenes = [self._scene(one, own) for one, own in zip(visits, rows, strict=True)]
        judged = mind.judge(scenes)
        told = [self._remembered(scene, own) for scene, own in zip(scenes, judged, strict=True)]
        scenes = [self._scene(one, own) for one, own in zip(told, rows, strict=True)]
        moods = mind.feel(scenes)
        felt = [self._felt(scene, mood) for scene, mood in zip(scenes, moods, strict=True)]
        left = [i for i, one in enumerate(felt) if one.exited]
        asked = mind.interview([self._scene(felt[i], ()) for i in left])
        for i, (score, why) in zip(left, asked, strict=True):
            felt[i] = replace(felt[i], satisfaction=score, why=why or self.personas_.reason(felt[i]))
        return felt

    def _tasted(self, visits: Sequence[Visit]) -> list[Visit]:
        """The visits with a taste in words, written once a visit."""
        made, new = list(visits), [i for i, one in enumerate(visits) if not one.taste]
        lm = self.lm if self.mind == "model" and self.taste == "model" else None
        for i, text in zip(new, self.personas_.tastes([visits[i] for i in new], lm), strict=True):
            made[i] = replace(visits[i], taste=text)
        return made

    def _scene(self, visit: Visit, rows: Sequence[int]) -> Scene:
        who = self.traits_.of(visit.user)
        before = "" if self.mind == "rules" else self.personas_.before(visit, who, rows, self.recall)
        ids = tuple(self.table_.ids[list(rows)].tolist())
        return Scene(visit, who, tuple(rows), ids, *self.personas_.shown(rows, visit.lang), before)

    def _remembered(self, scene: Scene, judged: Sequence[Judged]) -> Visit:
        """The page in tally and memory: a fact."""
        counts = (len(judged), *(sum(getattr(one, name) for one in judged) for name in ("aligned", "watched", "liked")))
        fact = Entry("fact", scene.visit.page, self.personas_.fact(scene, judged))
        visit = replace(scene.visit, judged=tuple(one.as_json() for one in judged))
        return replace(visit, tally=(*visit.tally, counts)).remembering(fact)

    def _felt(self, scene: Scene, mood: Mood) -> Visit:
        """The feeling in memory, a reflection where one is due, and whether the visit ends; the last page ends it."""
        visit = scene.visit
        visit = visit.remembering(Entry("feeling", visit.page, self.personas_.feeling(visit, mood)))
        if due(visit.memory, self.reflect):
            visit = visit.remembering(Entry("reflection", visit.page, self.personas_.reason(visit)))
        return replace(visit, exited=bool(mood.leaves or visit.page >= self.max_pages or not scene.rows))

    def _rows(self, shown: Lists | Sequence[Reply]) -> list[list[int]]:
        """Catalog rows of each page. What came after `fit` cannot be judged, and is told of."""
        if isinstance(shown, Lists):
            same_lineage(self.key_, shown.key)
            rows = [one.items.tolist() for one in shown]
        else:
            rows = [self.table_.rows(list(reply.items)).tolist() for reply in shown]
        known = [[row for row in own if 0 <= row < len(self.table_)] for own in rows]
        if lost := sum(map(len, rows)) - sum(map(len, known)):
            degrade(f"{lost} shown items came after fit and were not looked at: call extend(catalog)")
        return known

    def _fitted(self) -> None:
        if not hasattr(self, "key_"):
            raise StateError("Agent4Rec is not fitted", hint="call fit(data) first")

    def _personas(self) -> Personas:
        return Personas(Known(self.history), self.prompts, self.domain, tuple(self.facts), self.tags, self.encoder)

    def _mind(self) -> Mind:
        if self.mind == "rules":
            assert self.rules_ is not None
            return self.rules_
        assert self.lm is not None
        scale = Scale(self.low, self.high)
        if self.backend == "label":
            return LabelMind(self.lm, self.prompts, self.domain, scale, self.likes, self.bias_)
        return WrittenMind(self.lm, self.prompts, self.domain, scale, self.likes, self.backend, self.retries)

    def _calibrate(self, data: Dataset, seed: int) -> float:
        """The log-odds that half of held-out likes and as many items not met exceed, from personas before the cut."""
        if not len(data.interactions):
            raise DataError("the log is empty: no like to calibrate on", hint="calibrated=0 takes the model's own yes")
        pairs = held_pairs(data, self.calibrated, seed)
        asked = replace(self, calibrated=0).fit(pairs.train, seed=seed)
        opened = [Visit(user or None, asked.personas_.lang_, seed, 1) for user in pairs.queries.user_ids()]
        both = zip(asked._tasted(opened), pairs.liked.tolist(), pairs.other.tolist(), strict=True)
        mind = asked._mind()
        assert isinstance(mind, LabelMind)
        odds = np.concatenate([np.zeros(0), *mind.odds([asked._scene(one, [*two]) for one, *two in both])])
        odds = odds[~np.isnan(odds)]
        if not len(odds):
            degrade("no like could be asked about: the model's own yes stands")
        return float(np.median(odds)) if len(odds) else 0.0
