"""The last turn of each dialogue, read: what it wants, what it names, the question it makes, and what stands before it.

A person is told of by what was known when a recommender was fitted, also over the catalog of a second domain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import NDArray

from hexarec.core import Catalog, Dialogue, Event, Message, Queries, degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.intent import Act, by_model, by_rules
from hexarec.parts.known import Known
from hexarec.parts.render import clean
from hexarec.parts.said import CJK, Said, lexicon_of, pointed_at
from hexarec.parts.talk import Talk, fitting, heard, without_questions

LATER = 1e6  # what is said in a dialogue comes after all events
SUMMARY = 800  # characters of a summary
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


@dataclass(frozen=True)
class LastTurn:
    """One dialogue as it is answered: the slots, the last thing said, its language, and the question it makes.

    condition: what stands in front of every prompt about it. named: rows it names or points to. last: rows shown last.
    unkept: what it wishes or refuses that nothing here can keep to, in its own words.
    """

    talk: Talk
    said: str
    lang: str
    act: Act
    query: Queries
    condition: str
    named: tuple[int, ...]
    last: tuple[int, ...]
    unkept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Acquaintance:
    """What is known of users: `known`, with ids and titles by row of the catalog with lineage `key`."""

    known: Known
    key: str
    ids: NDArray[Any]
    titles: NDArray[Any]

    def events(self, user: str | None, catalog: Catalog) -> list[Event]:
        """A user's events, oldest first, where the catalog is the one they are of; none in another."""
        return self.known.events(user, self.ids) if catalog.key == self.key else []

    def told(self, page: DialoguePage, user: str | None, query: Queries, lang: str) -> str:
        """Profile and history in words; a second domain is told of the first one's history."""
        profile = self.known.profile(user)
        if query.catalog.key == self.key:
            return page.person(query, 0, profile)
        place = {one: row for row, one in enumerate(self.ids.tolist())}
        past = [(str(self.titles[place[e.item]]), e.value) for e in self.known.events(user, self.ids)]
        return page.told(past, profile, lang)


@dataclass(frozen=True)
class Listener:
    """Reads dialogues up to their last turn.

    gate: model lets the model say what a turn wants, rules does it by words, none takes all for wishes. memory: tokens
    of the dialogue in a prompt. summary: let the model sum up turns that no longer fit, by the piece shorten. store:
    texts are searched, so that a wish needs no word of the catalog.
    """

    lm: LanguageModel
    page: DialoguePage
    people: Acquaintance
    gate: Literal["model", "rules", "none"]
    memory: int
    summary: bool
    store: bool = True

    def hear(self, dialogues: Sequence[Dialogue], catalog: Catalog) -> list[LastTurn]:
        """One turn per dialogue; rows are those of the catalog."""
        lexicon, made = lexicon_of(catalog), []
        last = [next((t.text for t in reversed(one.turns) if t.role == "user"), "") for one in dialogues]
        langs = [spoken(one.turns, catalog.lang) for one in dialogues]
        for one, said, lang, act in zip(dialogues, last, langs, self._acts(last, langs), strict=True):
            talk = self._remembered(heard(Talk.parse(one.state), one.turns, lexicon, catalog), one, lang)
            read = lexicon.read(said)
            unkept = self._unkept(lexicon.read(without_questions(said)), act)
            talk = talk.lacking(unkept)
            query = self._query(talk, one.user, read.asked, lang, catalog)
            condition = self.page.before(self.people.told(self.page, one.user, query, lang), talk, one.turns, lang)
            shown = _shown(one, catalog)
            pointed = tuple(shown[place] for place in pointed_at(said, len(shown)))
            named = read.items or pointed
            made.append(LastTurn(talk, said, lang, act, query, condition, named, shown, unkept))
        if lost := sum(bool(turn.unkept) for turn in made):
            degrade(f"{lost} of {len(made)} turns: the catalog has no word for a wish or refusal, which is not kept")
        return made

    def _unkept(self, read: Said, act: Act) -> tuple[str, ...]:
        """Refusals that no filter can hold, and wishes that are not searched for either."""
        free = () if self.store or act != "recommend" or read.afresh else read.free
        return (*read.unkept, *free)

    def _acts(self, said: Sequence[str], langs: Sequence[str]) -> list[Act]:
        acts: list[Act] = ["recommend" if self.gate == "none" else by_rules(one) for one in said]
        if self.gate == "model":
            some = [place for place, one in enumerate(said) if one.strip()]
            told = by_model(self.lm, [said[p] for p in some], [langs[p] for p in some])
            for place, act in zip(some, told, strict=True):
                acts[place] = act
        return acts

    def _remembered(self, talk: Talk, dialogue: Dialogue, lang: str) -> Talk:
        """The slots, with what no longer fits in the memory counted, and summed up where that is asked for."""
        talk = replace(talk, left=min(talk.left, max(len(dialogue.turns) - 1, 0)))  # the newest turns alone may come
        left = fitting(dialogue.turns, self.memory, self.lm.count)
        if left <= talk.left or not self.summary:
            return replace(talk, left=max(left, talk.left))
        text = self.page.transcript(dialogue.turns[talk.left : left], lang)
        prompt = self.page.prompts.text(lang, "shorten", talk=text, summary=talk.summary or "-")
        answer = self.lm.generate([Prompt.user(prompt, max_tokens=120)])[0]
        if not answer.good:
            degrade(f"the dialogue was not summed up: {answer.error or 'the model refused'}")
        return replace(talk, left=left, summary=clean(answer.text, SUMMARY) if answer.good else talk.summary)

    def _query(self, talk: Talk, user: str | None, asked: str, lang: str, catalog: Catalog) -> Queries:
        """The question of a turn: what the user did, then what the dialogue says they like and do not."""
        spoken = [("like", one) for one in talk.liked] + [("dislike", one) for one in talk.disliked]
        past = self.people.events(user, catalog)
        past += [Event(user or "", one, LATER + place, kind) for place, (kind, one) in enumerate(spoken)]
        past = [event for event in past if event.item in catalog.items]
        hidden = [one for one in (*(event.item for event in past), *talk.excluded()) if one in catalog.items]
        return Queries.one(
            catalog,
            user=user,
            history=past,
            exclude=list(dict.fromkeys(hidden)),
            text=talk.need(asked) or None,
            lang=lang,
        )


def spoken(turns: Sequence[Message], lang: str) -> str:
    """The language of the last thing that a person said with letters in it, `lang` where they tell none.

    Chinese letters are Chinese. Latin ones are `lang`, and English where that is Chinese.
    """
    for turn in reversed(turns):
        if turn.role == "user" and CJK.search(turn.text):
            return "zh"
        if turn.role == "user" and _LATIN.search(turn.text):
            return "en" if lang.startswith("zh") else lang
    return lang


def _shown(dialogue: Dialogue, catalog: Catalog) -> tuple[int, ...]:
    """The rows of the items that were shown last."""
    last = next((one.items for one in reversed(dialogue.turns) if one.role == "assistant" and one.items), ())
    return tuple(row for row in catalog.rows(list(last)).tolist() if row >= 0 and catalog.alive[row])
