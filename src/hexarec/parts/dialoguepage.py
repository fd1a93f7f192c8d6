"""How a person, a dialogue and candidates read in the prompts of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Message, Queries
from hexarec.parts.domain import domain_words
from hexarec.parts.promptroom import LETTERS, Amount
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered, titles, value_text
from hexarec.parts.talk import Talk

T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """What is known of a person in words: the profile, and a line for each event, oldest first."""

    profile: str = ""
    past: tuple[str, ...] = ()


@dataclass(frozen=True)
class DialoguePage:
    """Wording from the pieces role, profile, history, nothing, wanted, unwanted, summary, talk, person and helper.

    domain: what items are called. last: events of the history. facts: attributes beside a title.
    """

    prompts: Prompts
    domain: str
    last: int
    facts: Sequence[str]

    def known(self, queries: Queries, i: int, profile: str) -> Told:
        """Profile and newest events of a question's user, with ratings where there are any."""
        part = slice(*queries.history.offsets[i : i + 2])
        rows, values = queries.history.item[part][-self.last :], queries.history.value[part][-self.last :]
        named = titles(queries.catalog, rows, queries.lang[i])
        return Told(profile, rated(list(zip(named, values.tolist(), strict=True))))

    def person(self, told: Told, lang: str, amount: Amount) -> str:
        """As much of it as the amount says."""
        past = newest(told.past, amount.past)
        made = self.prompts.text(lang, "profile", profile=told.profile) if told.profile and amount.profile else ""
        words = domain_words(self.domain, lang)
        if told.past and not past:
            return made  # there is a history, for which there is no room
        return made + self.prompts.text(lang, "history" if past else "nothing", history=numbered(past), **words)

    def before(self, told: Told, talk: Talk, turns: Sequence[Message], lang: str, amount: Amount) -> str:
        """What stands in front of every question of a turn: role, person, slots, and the newest turns."""
        made = [self.prompts.text(lang, "role", **domain_words(self.domain, lang)), self.person(told, lang, amount)]
        for piece, values in (("wanted", talk.wanted), ("unwanted", talk.unwanted)):
            if held := newest(values, amount.slots):
                made.append(self.prompts.text(lang, piece, values=", ".join(clean(value, 40) for _, value in held)))
        if talk.gist and amount.summary:
            made.append(self.prompts.text(lang, "summary", summary=talk.gist.words(lang)))
        if said := newest(turns, amount.turns):
            made.append(self.prompts.text(lang, "talk", talk=self.transcript(said, lang, amount.letters)))
        return "".join(made)

    def transcript(self, turns: Sequence[Message], lang: str, letters: int = LETTERS) -> str:
        """One line a turn, each of at most so many letters."""
        pieces = [("person" if turn.role == "user" else "helper", clean(turn.text, letters)) for turn in turns]
        return "\n".join(self.prompts.text(lang, piece, said=said) for piece, said in pieces)

    def lines(
        self, catalog: Catalog, rows: Sequence[int] | NDArray[Any], lang: str, facts: int | None = None
    ) -> list[str]:
        """Candidates: the title, and behind the first `facts` of them (None = all) what is known of it."""
        made, index = [], np.asarray(rows, np.int64)
        most = len(index) if facts is None else facts
        for place, (row, title) in enumerate(zip(index.tolist(), titles(catalog, index, lang), strict=True)):
            names = self.facts if place < most else ()
            known = [value_text(catalog.attributes[name][row]) for name in names if name in catalog.attributes]
            told = "; ".join(fact for fact in known if fact)
            made.append(clean(f"{title} ({told})" if told else title))
        return made


def rated(past: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    """Lines from titles and ratings (NaN = none)."""
    return tuple(clean(title) + ("" if value != value else f": {value:g}") for title, value in past)


def newest(values: Sequence[T], n: int) -> Sequence[T]:
    """The last n."""
    return values[len(values) - n :] if n < len(values) else values
