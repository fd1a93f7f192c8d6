"""Chat-REC: a language model in front of a recommender that stays as it is.

Source:  Gao et al. 2023, arXiv:2303.14524; survey section 5.1. Candidates of each turn and what a dialogue keeps follow
         Huang et al. 2023, InteRecAgent, arXiv:2308.16505.
Idea:    profile, rated history, dialogue and the recommender's candidates become one prompt; the model decides whether
         the turn wants a recommendation, orders the candidates, and the answer says why. Items the model never read of
         come from a store of text vectors.
Differs: wishes, refusals and titles are read by rules over the catalog's words and kept as slots, so that no turn drops
         out of a window; refusals are filters and never part of what is searched for; the order of the candidates is a
         closed list (`parts.ask`), so that no item can be invented; a reason is a sentence about history and
         attributes that exist; the model's own words are shown where every claim in them stands in the catalog.
Cost:    a turn: one label for the gate, one closed list, with wording="model" one short answer; a rating is one label.
Needs:   text, an encoder, a model with what gate, backend, wording and rating ask of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from hexarec.classic import Because
from hexarec.core import (
    CapabilityError,
    Catalog,
    Dataset,
    Desk,
    Dialogue,
    Event,
    Lists,
    ModelError,
    OptionError,
    Queries,
    Reply,
    StateError,
    Words,
    best,
    current,
    degrade,
    digest,
    fuse,
    ready,
    same_lineage,
)
from hexarec.lm.base import Encoder, LanguageModel, Prompt
from hexarec.parts.ask import Ask, Backend, Question
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.facts import check, sound
from hexarec.parts.intent import Act, by_model, by_rules
from hexarec.parts.known import Known
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Rater, Scale
from hexarec.parts.render import clean, numbered
from hexarec.parts.replies import Replies
from hexarec.parts.said import CJK, lexicon_of, pointed_at
from hexarec.parts.talk import Talk, fitting, heard
from hexarec.parts.textspace import TextSpace
from hexarec.parts.worded import Worded

PROMPTS = Prompts(
    "chatrec",
    1,
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
        "shorten": "A part of a dialogue:\n{talk}\nWhat was known before: {summary}\nSay in at most three short "
        "sentences what the person likes, dislikes, wants and does not want. Keep names, numbers and negations.",
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
        "shorten": "一段对话：\n{talk}\n之前已知：{summary}\n请用至多三句短句说明用户喜欢什么、不喜欢什么、想要什么、"
        "不要什么。保留名称、数字和否定。",
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
OPENING, SUMMARY = 240, 800  # characters of an opening sentence and of a summary
LATER = 1e6  # what is said in a dialogue comes after all events


@dataclass(frozen=True)
class _Turn:
    """One dialogue as it is answered: the slots, the last thing said, its language, and the question it makes."""

    talk: Talk
    said: str
    lang: str
    act: Act
    query: Queries
    condition: str
    named: tuple[int, ...]
    last: tuple[int, ...]


@dataclass
class ChatRec:
    """A conversational front of any recommender, and a predictor of ratings.

    lm: the model. encoder: texts to vectors, for the store that finds items the recommender never saw; None = without.
    gate: model lets the model say what a turn wants, rules does it by words, none answers every turn with a list.
    backend: how the model orders candidates (see `parts.ask`); none keeps the recommender's order. candidates: how many
    are put before it. shown: items of an answer. history: newest events of a user in the prompt. profile: user
    attributes in the prompt, where there are any. facts: item attributes beside a title. wording: template, or model
    for an opening sentence of its own. rating: label takes the mean over the scale's numbers, text reads a number. low:
    lowest rating. high: highest. memory: tokens of the dialogue in a prompt; older turns live on in the slots. summary:
    let the model sum up turns that no longer fit. retries: of lists without any candidate. fields: what of an item is
    encoded. domain: film, product, game, book, news, music, item. prompts: the wording, English and Chinese.
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
    summary: bool = False
    retries: int = 1
    fields: Sequence[str] = ("title", "genres", "categories", "keywords", "text")
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        known_domain(self.domain)
        if self.gate not in ("model", "rules", "none") or self.wording not in ("template", "model"):
            raise OptionError("gate is model, rules or none, wording template or model")
        self._rater.check()
        if min(self.candidates, self.shown, self.history, self.memory) < 1 or self.retries < 0:
            raise OptionError("candidates, shown, history and memory are at least 1, retries at least 0")
        if self.backend != "none":
            self._ask.check(self.lm)
        needs = {
            "gate='rules'": "label" if self.gate == "model" else "",
            "wording='template'": "text" if self.wording == "model" else "",
            "summary=False": "text" if self.summary else "",
        }
        for instead, need in needs.items():
            if need and need not in self.lm.can:
                raise CapabilityError(f"{self.lm.name} cannot do {need!r}", hint=f"use {instead}, or another model")

    @property
    def _page(self) -> DialoguePage:
        return DialoguePage(self.prompts, self.domain, self.history, tuple(self.facts))

    @property
    def _ask(self) -> Ask:
        return Ask(self.backend, retries=self.retries)  # type: ignore[arg-type]

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Encode the catalog, keep the newest events of each user, learn how rare attribute values are."""
        self.key_, self.seed_ = data.catalog.key, seed
        self.known_ = Known(self.history, tuple(self.profile)).fit(data)
        self.because_ = Because(fields=BECAUSE).fit(data, seed=seed)
        self.space_ = None if self.encoder is None else TextSpace(self.encoder, self.fields).fit(data.catalog)
        self.ids_, self.titles_ = data.catalog.items.ids, data.catalog.titles
        return self

    def extend(self, catalog: Catalog) -> Self:
        """New items enter the store: only their text is encoded, nothing is built again."""
        same_lineage(self.key_, catalog.key)
        made = copy.copy(self)
        made.space_ = None if self.space_ is None else self.space_.extend(catalog)
        return made

    # ------------------------------------------------------------ ratings
    def predict(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates with the expected rating as score, float32 within the scale, highest first; NaN = none."""
        ready(self, queries, candidates)
        prompts = []
        for i in range(len(queries)):
            before = self._page.person(queries, i, self.known_.profile(queries.user_ids()[i]))
            lines = self._page.lines(queries.catalog, candidates[i].items, queries.lang[i])
            prompts += self._rater.prompts_for(before, lines, queries.lang[i], int(queries.user[i]))
        return candidates.scored(self._rater.values(prompts), "chatrec")

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by expected rating."""
        return self.predict(queries, candidates)

    @property
    def _rater(self) -> Rater:
        return Rater(self.lm, self.rating, Scale(self.low, self.high), self.prompts)

    # ------------------------------------------------------------ dialogues
    def converse(self, dialogues: Sequence[Dialogue], desk: Desk) -> list[Reply]:
        """One reply per dialogue; all items are ids of the desk's catalog.

        A desk over another catalog is a second domain: the user's history is told as it is, candidates come from the
        desk. Words are also emitted as events {"kind": "words", "dialogue": place, "text": piece, "listed": False} as
        they come; listed says that a piece is the line of an item.
        """
        if not hasattr(self, "key_"):
            raise StateError("ChatRec is not fitted", hint="call fit(data) first")
        turns = self._turns(dialogues, desk)
        replies: list[Reply | None] = [None] * len(turns)
        wanting = [place for place, turn in enumerate(turns) if turn.act == "recommend"]
        for place, reply in zip(wanting, self._recommended([turns[p] for p in wanting], desk), strict=True):
            replies[place] = reply
        for place, turn in enumerate(turns):
            if turn.act == "explain":
                replies[place] = self._explained(turn, desk)
            elif turn.act == "rate":
                replies[place] = self._rated(turn, desk)
            elif turn.act == "chat":
                replies[place] = self._chatted(turn, place, desk)
        made = [reply for reply in replies if reply is not None]
        for place, reply in enumerate(made):
            if turns[place].act != "chat":  # talk was emitted as it came
                for number, line in enumerate(reply.words.text.splitlines(keepends=True)):
                    _emit(place, line, listed=number > 0 and reply.act == "recommend")
        return made

    def _turns(self, dialogues: Sequence[Dialogue], desk: Desk) -> list[_Turn]:
        """Each dialogue read up to its last turn."""
        lexicon = lexicon_of(desk.catalog)
        last = [next((t.text for t in reversed(one.turns) if t.role == "user"), "") for one in dialogues]
        langs = ["zh" if CJK.search(said) else desk.catalog.lang for said in last]
        acts: list[Act] = ["recommend" if self.gate == "none" else by_rules(said) for said in last]
        if self.gate == "model":
            some = [place for place, said in enumerate(last) if said.strip()]
            told = by_model(self.lm, [last[p] for p in some], [langs[p] for p in some])
            for place, act in zip(some, told, strict=True):
                acts[place] = act
        made = []
        for one, said, lang, act in zip(dialogues, last, langs, acts, strict=True):
            talk = self._remembered(heard(Talk.parse(one.state), one.turns, lexicon, desk.catalog), one, lang)
            query = self._query(talk, one.user, said, lang, desk)
            condition = self._condition(talk, one, query, lang)
            shown = _shown(one, desk.catalog)
            pointed = tuple(shown[place] for place in pointed_at(said, len(shown)))
            named = lexicon.read(said).items or pointed
            made.append(_Turn(talk, said, lang, act, query, condition, named, shown))
        return made

    def _query(self, talk: Talk, user: str | None, said: str, lang: str, desk: Desk) -> Queries:
        """The question of a turn: what the user did, then what the dialogue says they like and do not."""
        catalog, known = desk.catalog, desk.catalog.items
        past = self.known_.events(user, self.ids_) if catalog.key == self.key_ else []
        spoken = [("like", one) for one in talk.liked] + [("dislike", one) for one in talk.disliked]
        past += [Event(user or "", one, LATER + place, kind) for place, (kind, one) in enumerate(spoken)]
        past = [event for event in past if event.item in known]
        hidden = [one for one in (*(event.item for event in past), *talk.excluded()) if one in known]
        return Queries.one(
            catalog,
            user=user,
            history=past,
            exclude=list(dict.fromkeys(hidden)),
            text=talk.need(said) or None,
            lang=lang,
        )

    def _remembered(self, talk: Talk, dialogue: Dialogue, lang: str) -> Talk:
        """The slots, with what no longer fits in the memory counted, and summed up where that is asked for."""
        talk = replace(talk, left=min(talk.left, max(len(dialogue.turns) - 1, 0)))  # the newest turns alone may come
        left = fitting(dialogue.turns, self.memory, self.lm.count)
        if left <= talk.left or not self.summary:
            return replace(talk, left=max(left, talk.left))
        text = self._page.transcript(dialogue.turns[talk.left : left], lang)
        prompt = self.prompts.text(lang, "shorten", talk=text, summary=talk.summary or "-")
        answer = self.lm.generate([Prompt.user(prompt, max_tokens=120)])[0]
        if not answer.good:
            degrade(f"the dialogue was not summed up: {answer.error or 'the model refused'}")
        return replace(talk, left=left, summary=clean(answer.text, SUMMARY) if answer.good else talk.summary)

    def _condition(self, talk: Talk, dialogue: Dialogue, query: Queries, lang: str) -> str:
        """What stands in front of every question of this turn; a second domain is told of the first one's history."""
        profile = self.known_.profile(dialogue.user)
        if query.catalog.key == self.key_:
            person = self._page.person(query, 0, profile)
        else:
            place = {one: row for row, one in enumerate(self.ids_.tolist())}
            past = [(str(self.titles_[place[e.item]]), e.value) for e in self.known_.events(dialogue.user, self.ids_)]
            person = self._page.told(past, profile, lang)
        return self._page.before(person, talk, dialogue.turns, lang)

    # ------------------------------------------------------------ answers
    def _recommended(self, turns: Sequence[_Turn], desk: Desk) -> list[Reply]:
        found = [self._candidates(turn, desk) for turn in turns]
        ranked = self._ordered(turns, [lists for lists, _ in found])
        made = []
        for turn, lists, (_, relaxed) in zip(turns, ranked, found, strict=True):
            shown, replies = lists.top_k(self.shown), self._replies(turn, desk)
            if not len(shown.items):
                made.append(replies.plain("none", "ask"))
                continue
            reasons = self.because_.explain(turn.query, shown, desk)[0].items
            opening = self._opening(turn, shown, replies.fixed("relaxed" if relaxed else "here"), relaxed)
            made.append(replies.listed(opening, shown.items.tolist(), reasons))
        return made

    def _candidates(self, turn: _Turn, desk: Desk) -> tuple[Lists, bool]:
        """The recommender's and the store's, fused; refusals always hold, wishes give way where nothing is left."""
        for wishes in (True, False):
            where = turn.talk.filters(desk.catalog, wishes=wishes)
            query = turn.query if where is None else turn.query.filtered(where)
            made = desk.retrieve(query, self.candidates)
            near = self._near(query, desk.catalog)
            if near is not None:
                made = fuse([made, near], [1.0, 1.0], self.candidates)
            if len(made.items):
                return made, not wishes
        return made, False

    def _near(self, query: Queries, catalog: Catalog) -> Lists | None:
        """What reads most like what is looked for; None without a store, or with nothing to look for."""
        space = self.space_ if catalog.key == self.key_ else self._other(catalog)
        if space is None:
            return None
        taste = space.taste(query, self.history)
        if not taste.any():
            return None
        return best(query, lambda part: space.taste(part, self.history) @ space.vectors_.T, self.candidates)

    def _other(self, catalog: Catalog) -> TextSpace | None:
        """The store of a second domain, made at its first question and kept in memory."""
        if self.encoder is None:
            return None
        held: tuple[str, TextSpace] | None = getattr(self, "_second", None)
        if held is None or held[0] != catalog.digest:
            held = self._second = (catalog.digest, TextSpace(self.encoder, self.fields).fit(catalog))
        return held[1]

    def _ordered(self, turns: Sequence[_Turn], found: Sequence[Lists]) -> list[Lists]:
        if self.backend == "none" or not turns:
            return list(found)
        questions = []
        for turn, lists in zip(turns, found, strict=True):
            wording = Worded(self.prompts, turn.lang, domain_words(self.domain, turn.lang), turn.condition)
            options = tuple(self._page.lines(turn.query.catalog, lists.items, turn.lang))
            questions.append(
                Question(wording, options, (digest(turn.condition, options),), self.seed_, int(turn.query.user[0]))
            )
        asked = self._ask(self.lm, questions)
        # an answer of no use leaves the recommender's order; `Ask` has told of it
        return [
            lists if one.fault else lists.scored(one.scores, "chatrec") for lists, one in zip(found, asked, strict=True)
        ]

    def _opening(self, turn: _Turn, shown: Lists, fixed: Words, relaxed: bool) -> Words:
        """The sentence in front of a list; the model's own where all that it claims is true of the shown items."""
        if self.wording == "template" or relaxed:
            return fixed
        options = numbered(self._page.lines(turn.query.catalog, shown.items, turn.lang))
        text = self.prompts.text(turn.lang, "open", condition=turn.condition, options=options)
        answer = self.lm.generate([Prompt.user(text, max_tokens=60)])[0]
        said = clean(answer.text, OPENING) if answer.good else ""
        claims = check(said, turn.query.catalog, shown.items.tolist()) if said else ()
        if said and sound(claims):
            return Words(said, turn.lang, claims=claims, answers=(answer.text,))
        return replace(fixed, answers=(answer.text,))

    def _explained(self, turn: _Turn, desk: Desk) -> Reply:
        """Reasons for the items named, else for those shown last."""
        rows = list(turn.named) or list(turn.last)
        if not rows:
            return self._replies(turn, desk).plain("which", "ask")
        # an item is no reason for itself
        history = turn.query.history.where(~np.isin(turn.query.history.item, rows))
        reasons = self.because_.explain(turn.query.with_history(history), Lists.of(desk.catalog.key, [rows]), desk)
        return self._replies(turn, desk).explained(rows, reasons[0].items)

    def _rated(self, turn: _Turn, desk: Desk) -> Reply:
        if not turn.named:
            return self._replies(turn, desk).plain("which", "ask")
        lines = self._page.lines(desk.catalog, turn.named, turn.lang)
        values = self._rater.values(self._rater.prompts_for(turn.condition, lines, turn.lang))
        return self._replies(turn, desk).rated(turn.named, values.tolist(), self.high)

    def _replies(self, turn: _Turn, desk: Desk) -> Replies:
        return Replies(self.prompts, desk.catalog, turn.lang, turn.talk.as_json())

    def _chatted(self, turn: _Turn, place: int, desk: Desk) -> Reply:
        """Talk in the model's words, piece by piece; a fixed sentence for one that writes no text, or nothing said."""
        words = self._replies(turn, desk).fixed("hello")
        if "text" in self.lm.can and turn.said.strip():
            prompt = Prompt.user(self.prompts.text(turn.lang, "chat", condition=turn.condition), max_tokens=80)
            pieces = []
            try:
                for piece in self.lm.stream(prompt):
                    pieces.append(piece)
                    _emit(place, piece)
            except ModelError as error:
                degrade(f"the model did not answer: {error.message}")
            said = clean("".join(pieces), SUMMARY)
            words = Words(said, turn.lang, answers=("".join(pieces),)) if said else words
        if not words.answers:
            _emit(place, words.text)
        return Reply(words, (), "chat", turn.talk.as_json())


def _shown(dialogue: Dialogue, catalog: Catalog) -> tuple[int, ...]:
    """The rows of the items that were shown last."""
    last = next((one.items for one in reversed(dialogue.turns) if one.role == "assistant" and one.items), ())
    return tuple(row for row in catalog.rows(list(last)).tolist() if row >= 0 and catalog.alive[row])


def _emit(place: int, text: str, *, listed: bool = False) -> None:
    current().emit({"kind": "words", "dialogue": place, "text": text, "listed": listed})
