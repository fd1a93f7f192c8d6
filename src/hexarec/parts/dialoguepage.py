"""How a person, a dialogue and candidates read in the prompts of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Message, Queries
from hexarec.parts.domain import domain_words
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered, titles, value_text
from hexarec.parts.talk import Talk

SAID = 400  # characters of a turn


@dataclass(frozen=True)
class DialoguePage:
    """Wording from the pieces role, profile, history, nothing, wanted, unwanted, summary, talk, person and helper.

    domain: what items are called. last: events of the history. facts: attributes beside a title.
    """

    prompts: Prompts
    domain: str
    last: int
    facts: Sequence[str]

    def person(self, queries: Queries, i: int, profile: str) -> str:
        """Profile and newest events of a question's user, with ratings where there are any."""
        part = slice(*queries.history.offsets[i : i + 2])
        rows, values = queries.history.item[part][-self.last :], queries.history.value[part][-self.last :]
        named = titles(queries.catalog, rows, queries.lang[i])
        return self.told(list(zip(named, values.tolist(), strict=True)), profile, queries.lang[i])

    def told(self, past: Sequence[tuple[str, float]], profile: str, lang: str) -> str:
        """The same from titles and ratings (NaN = none), oldest first."""
        lines = [clean(title) + ("" if value != value else f": {value:g}") for title, value in past]
        told = self.prompts.text(lang, "profile", profile=profile) if profile else ""
        words = domain_words(self.domain, lang)
        return told + self.prompts.text(lang, "history" if lines else "nothing", history=numbered(lines), **words)

    def before(self, person: str, talk: Talk, turns: Sequence[Message], lang: str) -> str:
        """What stands in front of every question of a turn: role, person, slots, and the turns that fit."""
        made = [self.prompts.text(lang, "role", **domain_words(self.domain, lang)), person]
        for piece, values in (("wanted", talk.wanted), ("unwanted", talk.unwanted)):
            if values:
                made.append(self.prompts.text(lang, piece, values=", ".join(clean(value, 40) for _, value in values)))
        if talk.summary:
            made.append(self.prompts.text(lang, "summary", summary=talk.summary))
        if turns[talk.left :]:
            made.append(self.prompts.text(lang, "talk", talk=self.transcript(turns[talk.left :], lang)))
        return "".join(made)

    def transcript(self, turns: Sequence[Message], lang: str) -> str:
        """One line a turn."""
        pieces = [("person" if turn.role == "user" else "helper", clean(turn.text, SAID)) for turn in turns]
        return "\n".join(self.prompts.text(lang, piece, said=said) for piece, said in pieces)

    def lines(self, catalog: Catalog, rows: Sequence[int] | NDArray[Any], lang: str) -> list[str]:
        """Candidates: the title and its facts."""
        made = []
        for row, title in zip(np.asarray(rows, np.int64).tolist(), titles(catalog, rows, lang), strict=True):
            facts = [value_text(catalog.attributes[name][row]) for name in self.facts if name in catalog.attributes]
            told = "; ".join(fact for fact in facts if fact)
            made.append(clean(f"{title} ({told})" if told else title))
        return made
