"""The last turn of each dialogue, read: what it wants, what it names, the question it makes, and where talk began anew.

A person is told of by what was known when a recommender was fitted, also over the catalog of a second domain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import NDArray

from hexarec.core import Catalog, Dialogue, Event, Message, PerUser, Queries, degrade
from hexarec.parts.dialoguepage import DialoguePage, Told, rated
from hexarec.parts.intent import Act, by_model, by_rules
from hexarec.parts.known import Known, met_by
from hexarec.parts.promptroom import Room
from hexarec.parts.said import CJK, Lexicon, Said, lexicon_of, pointed_at
from hexarec.parts.talk import Talk, heard, without_questions
from hexarec.parts.topics import Topics

LATER = 1e6  # what is said in a dialogue comes after all events
Reset = Literal["", "topic", "afresh"]
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


@dataclass(frozen=True)
class LastTurn:
    """One dialogue as it is answered: the slots, the last thing said, its language, and the question it makes.

    told: what is known of the person. turns: the dialogue. named: rows it names or points to. last: rows shown last.
    unkept: what it wishes or refuses that nothing here can keep to, in its own words. reset: why the talk before it
    counts no more: afresh, because it says so, topic, because it is about something else; "" where it counts.
    """

    talk: Talk
    said: str
    lang: str
    act: Act
    query: Queries
    told: Told
    turns: tuple[Message, ...]
    named: tuple[int, ...]
    last: tuple[int, ...]
    unkept: tuple[str, ...] = ()
    reset: Reset = ""

    @property
    def kept(self) -> tuple[Message, ...]:
        """The turns that may stand in a prompt."""
        return self.turns[self.talk.left :]


@dataclass(frozen=True)
class Acquaintance:
    """What is known of users: `known`, with ids and titles by row of the catalog with lineage `key`.

    items: all that each user met, also before the newest events; None = nothing beyond these.
    """

    known: Known
    key: str
    ids: NDArray[Any]
    titles: NDArray[Any]
    items: PerUser | None = None

    def events(self, user: str | None, catalog: Catalog) -> list[Event]:
        """A user's events, oldest first, where the catalog is the one they are of; none in another."""
        return self.known.events(user, self.ids) if catalog.key == self.key else []

    def met(self, user: str | None, catalog: Catalog) -> list[str]:
        """Ids of what a user met, where the catalog is the one they are of; none in another."""
        if self.items is None or catalog.key != self.key:
            return []
        made: list[str] = self.ids[met_by(self.items, user)].tolist()
        return made

    def told(self, page: DialoguePage, user: str | None, query: Queries) -> Told:
        """Profile and history in words; a second domain is told of the first one's history."""
        profile = self.known.profile(user)
        if query.catalog.key == self.key:
            return page.known(query, 0, profile)
        place = {one: row for row, one in enumerate(self.ids.tolist())}
        past = [(str(self.titles[place[e.item]]), e.value) for e in self.known.events(user, self.ids)]
        return Told(profile, rated(past))


@dataclass(frozen=True)
class Listener:
    """Reads dialogues up to their last turn.

    gate: model lets the model say what a turn wants, rules does it by words, none takes all for wishes. topics: says
    which turns are about something else. store: texts are searched, so that a wish needs no word of the catalog.
    """

    room: Room
    page: DialoguePage
    people: Acquaintance
    gate: Literal["model", "rules", "none"]
    topics: Topics = Topics()
    store: bool = True

    def hear(self, dialogues: Sequence[Dialogue], catalog: Catalog) -> list[LastTurn]:
        """One turn per dialogue; rows are those of the catalog."""
        lexicon = lexicon_of(catalog)
        last = [next((t.text for t in reversed(one.turns) if t.role == "user"), "") for one in dialogues]
        langs = [spoken(one.turns, catalog.lang) for one in dialogues]
        made = [
            self._turn(one, said, lang, act, lexicon, catalog)
            for one, said, lang, act in zip(dialogues, last, langs, self._acts(last, langs), strict=True)
        ]
        new = self.topics.new([topic_of(turn, lexicon) for turn in made])
        made = [replace(turn, reset="topic") if anew else turn for turn, anew in zip(made, new, strict=True)]
        if lost := sum(bool(turn.unkept) for turn in made):
            degrade(f"{lost} of {len(made)} turns: the catalog has no word for a wish or refusal, which is not kept")
        return made

    def _turn(self, one: Dialogue, said: str, lang: str, act: Act, lexicon: Lexicon, catalog: Catalog) -> LastTurn:
        read = lexicon.read(said)
        unkept = self._unkept(lexicon.read(without_questions(said)), act)
        talk = heard(Talk.parse(one.state), one.turns, lexicon, catalog).lacking(unkept)
        query = self._query(talk, one.user, read.asked, lang, catalog)
        shown = _shown(one, catalog)
        named = read.items or tuple(shown[place] for place in pointed_at(said, len(shown)))
        told = self.people.told(self.page, one.user, query)
        reset: Reset = "afresh" if read.afresh else ""
        return LastTurn(talk, said, lang, act, query, told, one.turns, named, shown, unkept, reset)

    def _unkept(self, read: Said, act: Act) -> tuple[str, ...]:
        """Refusals that no filter can hold, and wishes that are not searched for either."""
        free = () if self.store or act != "recommend" or read.afresh else read.free
        return (*read.unkept, *free)

    def _acts(self, said: Sequence[str], langs: Sequence[str]) -> list[Act]:
        acts: list[Act] = ["recommend" if self.gate == "none" else by_rules(one) for one in said]
        if self.gate == "model":
            some = [place for place, one in enumerate(said) if one.strip()]
            told = by_model(self.room, [said[p] for p in some], [langs[p] for p in some])
            for place, act in zip(some, told, strict=True):
                acts[place] = act
        return acts

    def _query(self, talk: Talk, user: str | None, asked: str, lang: str, catalog: Catalog) -> Queries:
        """The question of a turn: what the user did, then what the dialogue says they like and do not."""
        spoken = [("like", one) for one in talk.liked] + [("dislike", one) for one in talk.disliked]
        past = self.people.events(user, catalog)
        past += [Event(user or "", one, LATER + place, kind) for place, (kind, one) in enumerate(spoken)]
        past = [event for event in past if event.item in catalog.items]
        met = (*(event.item for event in past), *self.people.met(user, catalog), *talk.excluded())
        hidden = [one for one in met if one in catalog.items]
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


def topic_of(turn: LastTurn, lexicon: Lexicon) -> tuple[str, list[str]]:
    """What a turn asks for, and what the turns before it asked for that still count; "" for one that says too little.

    Refusals are left out: they are about what is not wanted.
    """
    places = [place for place, one in enumerate(turn.turns) if one.role == "user"]
    if turn.act != "recommend" or turn.reset or len(places) < 2:
        return "", []
    before = [turn.turns[place].text for place in places[:-1] if place >= turn.talk.left]
    return wish_in(turn.said, lexicon), [wish for one in before if (wish := wish_in(one, lexicon))]


def wish_in(text: str, lexicon: Lexicon) -> str:
    """The turn without what it refuses; "" where it names nothing and only asks to go on."""
    said = lexicon.read(text)
    return said.asked if said.wanted or said.items or said.free else ""


def _shown(dialogue: Dialogue, catalog: Catalog) -> tuple[int, ...]:
    """The rows of the items that were shown last."""
    last = next((one.items for one in reversed(dialogue.turns) if one.role == "assistant" and one.items), ())
    return tuple(row for row in catalog.rows(list(last)).tolist() if row >= 0 and catalog.alive[row])
