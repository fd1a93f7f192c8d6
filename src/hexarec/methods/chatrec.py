"""Chat-REC: a language model in front of a recommender that stays as it is.

Source:  Gao et al. 2023, arXiv:2303.14524; survey section 5.1. Candidates of each turn and what a dialogue keeps follow
         Huang et al. 2023, InteRecAgent, arXiv:2308.16505.
Idea:    profile, rated history, dialogue and the recommender's candidates become one prompt; the model decides whether
         the turn wants a recommendation, orders the candidates, and the answer says why. Items the model never read of
         come from a store of text vectors.
Differs: wishes, refusals and titles are read by rules over the catalog's words and kept as slots, so that no turn drops
         out of a window; refusals are filters and never part of what is searched for; the order of the candidates is a
         closed list (`parts.ask`), so that no item can be invented; a reason is a sentence about history and
         attributes that exist; the model's own words are shown where every claim in them stands in the catalog;
         prompts are bounded in tokens, parts leaving in a fixed order.
Cost:    a turn: one label for the gate, one closed list, with wording="model" one short answer; a rating is one label.
Needs:   text, an encoder, a model with what gate, backend, wording and rating ask of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

from hexarec.classic import Because
from hexarec.classic._spread import spread_over
from hexarec.core import Catalog, Dataset, Desk, Dialogue, Lists, OptionError, Queries, Reply, ready, same_lineage
from hexarec.core.options import at_least, choices, numbers
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.metrics import Measured
from hexarec.parts.ask import Ask, Backend
from hexarec.parts.conversation import Conversation
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.domain import known_domain
from hexarec.parts.known import Known, met_items
from hexarec.parts.lastturn import Acquaintance, LastTurn, Listener
from hexarec.parts.promptroom import Room
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Rater, Scale
from hexarec.parts.require import fields_there, require
from hexarec.parts.textspace import LatestSpace, TextSpace
from hexarec.parts.topics import Topics
from hexarec.parts.turn_candidates import CandidateSources
from hexarec.parts.turn_orders import TurnOrders
from hexarec.parts.turnprompt import TurnPrompts, expected_ratings

PROMPTS = Prompts(
    "chatrec",
    2,
    en={
        "role": "You help a person choose {noun}.\n",
        "profile": "About the person: {profile}.\n",
        "history": "{noun} the person has {verb}, oldest first, with ratings where given:\n{history}\n",
        "nothing": "Nothing is known yet of what the person has {verb}.\n",
        "wanted": "The person wants: {values}.\n",
        "unwanted": "The person does not want: {values}.\n",
        "summary": "Said before: {summary}\n",
        "talk": "The dialogue so far:\n{talk}\n",
        "person": "Person: {said}",
        "helper": "You: {said}",
        "choice": "{condition}{noun} you can suggest:\n{options}\nWhich one suits the person best now? Answer with its "
        "letter only.",
        "list": "{condition}{noun} you can suggest:\n{options}\nRank these {n} by how well they suit the person now. "
        "Answer with the ranking only, one per line: order number, letter or number in brackets, title. Use all of "
        "them and no others.",
        "json": "{condition}{noun} you can suggest:\n{options}\nRank these {n} by how well they suit the person now. "
        'Answer with JSON only: {{"ranking": [the letter or number of every one of them, best first]}}.',
        "pointwise": "{condition}Does this suit the person now?\n[A] {title}\nAnswer Yes or No.",
        "pairwise": "{condition}Which one suits the person better now?\n[A] {first}\n[B] {second}\nAnswer A or B.",
        "lead": "{condition}What suits the person now:",
        "lead_bare": "A suggestion:",
        "rate": "{condition}How would the person rate this, from {low} (worst) to {high} (best)?\n[A] {title}\n"
        "Answer with the number only.",
        "chat": "{condition}Answer the person in one or two short friendly sentences. Suggest nothing, name no titles.",
        "open": "{condition}You will show these:\n{options}\nSay one short friendly sentence in front of the list. Use "
        "only these facts and name no other titles.",
        "shorten": "A part of a dialogue:\n{talk}\nWhat was known before: {summary}\nWhat does the person like, "
        "dislike, want and not want? Keep names, numbers and negations, in the person's own words. Answer with JSON "
        'only: {{"likes": [], "dislikes": [], "must": [], "must_not": [], "open_question": []}}.',
        "yes": "Yes",
        "no": "No",
        "here": "Here is what I would suggest:",
        "none": "Nothing in the catalog fits all of that. What may be different?",
        "relaxed": "Nothing fits all of that; these come closest:",
        "which": "Which one do you mean?",
        "why": "{title}: {reason}",
        "line": "{place}. {title} - {reason}",
        "rated": "I think you would give {title} {value} of {high}.",
        "unrated": "I cannot say how you would rate {title}.",
        "hello": "Tell me what you like, what you are looking for, or what you do not want.",
    },
    zh={
        "role": "你帮助一位用户挑选{noun}。\n",
        "profile": "关于用户：{profile}。\n",
        "history": "用户{verb}的{noun}（由旧到新，附有评分）：\n{history}\n",
        "nothing": "目前不知道用户{verb}什么。\n",
        "wanted": "用户想要：{values}。\n",
        "unwanted": "用户不要：{values}。\n",
        "summary": "之前说过：{summary}\n",
        "talk": "到目前为止的对话：\n{talk}\n",
        "person": "用户：{said}",
        "helper": "你：{said}",
        "choice": "{condition}可以推荐的{noun}：\n{options}\n哪一个现在最适合用户？只回答它的字母。",
        "list": "{condition}可以推荐的{noun}：\n{options}\n请按现在适合用户的程度为这 {n} 个排序。只输出排序结果："
        "每行一个，写出序号、方括号中的字母或数字以及标题。所有的都要排序，不要写列表之外的内容。",
        "json": "{condition}可以推荐的{noun}：\n{options}\n请按现在适合用户的程度为这 {n} 个排序。"
        '只输出 JSON：{{"ranking": [所有的字母或数字，最适合的在前]}}。',
        "pointwise": "{condition}它现在适合用户吗？\n[A] {title}\n请回答是或否。",
        "pairwise": "{condition}哪一个现在更适合用户？\n[A] {first}\n[B] {second}\n请回答 A 或 B。",
        "lead": "{condition}现在适合用户的是：",
        "lead_bare": "推荐：",
        "rate": "{condition}用户会给它打几分？最低 {low} 分，最高 {high} 分。\n[A] {title}\n只回答数字。",
        "chat": "{condition}请用一两句简短友好的话回答用户。不要推荐，也不要提到任何标题。",
        "open": "{condition}你将展示：\n{options}\n请在列表前说一句简短友好的话。只用这些事实，不要提到其他标题。",
        "shorten": "一段对话：\n{talk}\n之前已知：{summary}\n用户喜欢什么、不喜欢什么、想要什么、不要什么？"
        "保留名称、数字和否定，用用户自己的话。只输出 JSON："
        '{{"likes": [], "dislikes": [], "must": [], "must_not": [], "open_question": []}}。',
        "yes": "是",
        "no": "否",
        "here": "我的推荐：",
        "none": "目录中没有完全符合的。哪一点可以放宽？",
        "relaxed": "没有完全符合的，以下最接近：",
        "which": "您指的是哪一个？",
        "why": "{title}：{reason}",
        "line": "{place}. {title} - {reason}",
        "rated": "我想您会给《{title}》打 {value} 分（满分 {high}）。",
        "unrated": "我说不准您会给《{title}》打几分。",
        "hello": "请告诉我您喜欢什么、想找什么，或者不要什么。",
    },
)
FACTS = ("year", "genres", "categories", "brand", "director")
BECAUSE = ("director", "brand", "keywords", "genres", "categories")


@dataclass
class ChatRec:
    """A conversational front of any recommender, and a predictor of ratings.

    lm: the model. encoder: texts to vectors, for the store that finds items the recommender never saw; None = without.
    gate: model lets the model say what a turn wants, rules does it by words, none answers every turn with a list.
    backend: how the model orders candidates (see `parts.ask`); none keeps the recommender's order. candidates: how many
    are put before it. shown: items of an answer. history: newest events of a user in the prompt. profile: user
    attributes in the prompt, where there are any. facts: item attributes beside a title. wording: template, or model
    for an opening sentence of its own. rating: label takes the mean over the scale's numbers, text reads a number. low:
    lowest rating. high: highest. memory: tokens of the dialogue in a prompt; older turns live on in the slots. soft:
    tokens of a prompt beyond which older turns leave it, too. hard: tokens that no prompt exceeds. summary: let the
    model sum up turns that leave. topic: cosine to all that was asked for before, below which a turn begins a new
    topic; -1 = never. share: weight of relevance, 0 to 1, against likeness among the candidates; 1 = as they were
    fused. retries: of lists without any candidate. fields: what of an item is encoded. domain: film, product, game,
    book, news, music, item. prompts: the wording, English and Chinese.
    """

    lm: LanguageModel
    encoder: Encoder | None = None
    gate: Literal["model", "rules", "none"] = "rules"
    backend: Backend | Literal["none"] = "choice"
    candidates: int = 20
    shown: int = 5
    history: int = 10
    profile: Sequence[str] = ("age", "gender", "occupation")
    facts: Sequence[str] = FACTS
    wording: Literal["template", "model"] = "template"
    rating: Literal["label", "text"] = "label"
    low: int = 1
    high: int = 5
    memory: int = 600
    soft: int = 1000
    hard: int = 1400
    summary: bool = False
    topic: float = 0.1
    share: float = 0.7
    retries: int = 1
    fields: Sequence[str] = ("title", "genres", "categories", "keywords", "text")
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        known_domain(self.domain)
        choices(self)
        numbers(self)
        self._rater.check()
        self._room.check()
        at_least(self, candidates=1, shown=1, history=1, retries=0)
        if not -1.0 <= self.topic <= 1.0 or not 0.0 <= self.share <= 1.0:
            raise OptionError(f"topic is {self.topic}, share is {self.share}", hint="-1 to 1; 0 to 1")
        if self.backend != "none":
            self._ask.check(self.lm)
        if self.gate == "model":
            require(self.lm, "label", "gate='rules'")
        if self.wording == "model":
            require(self.lm, "text", "wording='template'")
        if self.summary:
            require(self.lm, "text", "summary=False")

    @property
    def _page(self) -> DialoguePage:
        return DialoguePage(self.prompts, self.domain, self.history, tuple(self.facts))

    @property
    def _room(self) -> Room:
        return Room(self.lm, self.soft, self.hard, self.memory)

    @property
    def _prompts(self) -> TurnPrompts:
        return TurnPrompts(self._room, self._page, self.summary)

    @property
    def _ask(self) -> Ask:
        return Ask(self.backend, retries=self.retries)  # type: ignore[arg-type]

    @property
    def _rater(self) -> Rater:
        return Rater(self.lm, self.rating, Scale(self.low, self.high), self.prompts)

    @cached_property
    def _second(self) -> LatestSpace:
        return LatestSpace(self.fields)  # the store of a second domain

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Encode the catalog, keep the newest events of each user and what they met, learn what gives reasons."""
        fields_there(self, data)
        self.key_, self.seed_ = data.catalog.key, seed
        self.known_ = Known(self.history, tuple(self.profile)).fit(data)
        self.met_ = met_items(data)
        self.because_ = Because(fields=[one for one in BECAUSE if one in data.catalog.attributes]).fit(data, seed=seed)
        self.space_ = None if self.encoder is None else TextSpace(self.encoder, self.fields).fit(data.catalog)
        self.ids_, self.titles_ = data.catalog.items.ids, data.catalog.titles
        return self

    def extend(self, catalog: Catalog) -> Self:
        """New items enter the store: only their text is encoded, nothing is built again."""
        same_lineage(self.key_, catalog.key)
        made = copy.copy(self)
        made.space_ = None if self.space_ is None else self.space_.extend(catalog)
        return made

    def predict(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates with the expected rating as score, float32 within the scale, highest first; NaN = none."""
        ready(self, queries, candidates)
        profiles = [self.known_.profile(user) for user in queries.user_ids()]
        values = expected_ratings(self._rater, self._prompts, queries, candidates, profiles)
        return candidates.scored(values, "chatrec")

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by expected rating."""
        return self.predict(queries, candidates)

    def converse(self, dialogues: Sequence[Dialogue], desk: Desk) -> list[Reply]:
        """One reply per dialogue; all items are ids of the desk's catalog.

        A desk over another catalog is a second domain: the user's history is told as it is, candidates come from the
        desk. Words are also emitted as events as they come (see `parts.ownwords`).
        """
        ready(self)
        turns = self._heard(dialogues, desk)
        conversation = Conversation(self._prompts, self._rater, self.because_, desk)
        wanting = [turn for turn in turns if turn.act == "recommend"]
        ranked = self._orders(desk).ordered(wanting) if wanting else []
        listed = [conversation.listed(one, self.shown, own_words=self.wording == "model") for one in ranked]
        return conversation.replies(turns, listed)

    def agreement(self, dialogues: Sequence[Dialogue], desk: Desk, shuffles: int = 10) -> Measured:
        """How far the model's order of a turn's candidates does not depend on the order they are put before it.

        Mean Kendall's tau between its orders of the same candidates under so many independent shuffles, in [-1, 1],
        1 = the order of the prompt does not matter; a value for each turn that wants a list and has two candidates or
        more in its prompt, NaN for one whose answers are of no use. Raises OptionError for backend="none"
        and for less than two shuffles.
        """
        ready(self)
        wanting = [turn for turn in self._heard(dialogues, desk) if turn.act == "recommend"]
        return self._orders(desk).agreement(wanting, shuffles)

    def _heard(self, dialogues: Sequence[Dialogue], desk: Desk) -> list[LastTurn]:
        """The last turns, those about something else without the talk before them."""
        met = getattr(self, "met_", None)  # one saved earlier knows the newest events alone
        people = Acquaintance(self.known_, self.key_, self.ids_, self.titles_, met)
        topics = Topics(self.encoder, self.topic)
        listener = Listener(self._room, self._page, people, self.gate, topics, self.encoder is not None)
        return [self._prompts.begun(turn) for turn in listener.hear(dialogues, desk.catalog)]

    def _orders(self, desk: Desk) -> TurnOrders:
        """Candidates of recommender and store, not all alike, as the model orders them."""
        own = desk.catalog.key == self.key_
        space = self.space_ if own else self._second.of(desk.catalog, self.encoder)
        spread = spread_over(desk.catalog, space, self.share)
        sources = CandidateSources(desk, space, self.candidates, self.history, spread)
        return TurnOrders(sources, self._prompts, None if self.backend == "none" else self._ask, self.seed_, "chatrec")
