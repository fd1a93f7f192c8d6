"""Turns summed up as they leave a prompt: by a model whose entries must stand in them, or by their own sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hexarec.core import Message, degrade
from hexarec.lm.base import JsonSchema, Prompt
from hexarec.parts.dialoguepage import DialoguePage, newest
from hexarec.parts.gist import LETTERS, SETS, Gist
from hexarec.parts.ground import normal
from hexarec.parts.promptroom import Room, first_fitting
from hexarec.parts.render import clean
from hexarec.parts.said import Lexicon

ASKED = ("likes", "dislikes", "must", "must_not", "open_question")
AGAINST = ("dislikes", "must_not")
_SENTENCE = re.compile(r"(?<=[.!?。！？\n])")
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_SCHEMA = JsonSchema({
    "type": "object",
    "properties": {name: {"type": "array", "items": {"type": "string"}, "maxItems": 8} for name in ASKED},
    "required": list(ASKED),
})  # fmt: skip


@dataclass(frozen=True)
class Summing:
    """Sums up by the piece shorten, which asks for JSON with the sets of a `Gist`."""

    room: Room
    page: DialoguePage

    def gist(self, before: Gist, turns: Sequence[Message], lexicon: Lexicon, lang: str) -> Gist:
        """What was known before and what these turns say, in at most the tokens of a summary."""
        made, why = self._by_model(before, turns, lexicon, lang)
        if not made and (said := telling(turns, lexicon)):
            made, why = Gist(said=said), why or "nothing in the answer was said"
        if why:
            degrade(f"the dialogue was not summed up by the model: {why}")
        return before.and_then(made).within(lambda one: self._tokens(one, lang) <= self.room.summary)

    def _tokens(self, gist: Gist, lang: str) -> int:
        return int(self.room.lm.count([gist.words(lang)])[0])

    def _by_model(self, before: Gist, turns: Sequence[Message], lexicon: Lexicon, lang: str) -> tuple[Gist, str]:
        """As the model sums up the newest of them that fit in a prompt, and why it could not, "" where it could."""
        texts = [
            self.page.prompts.text(
                lang, "shorten", talk=self.page.transcript(newest(turns, n), lang), summary=before.words(lang) or "-"
            )
            for n in range(len(turns), 0, -1)
        ]
        text = first_fitting(texts, lambda one: self.room.fits([one]))
        if text is None:
            return Gist(), f"no prompt fits in {self.room.most} tokens"
        lm = self.room.lm
        within = _SCHEMA if "json" in lm.can else None
        answer = lm.generate([Prompt.user(text, max_tokens=self.room.summary)], within)[0]
        if not answer.good:
            return Gist(), answer.error or "the model refused"
        told = read(answer.text)
        return (Gist(), "the answer is no JSON") if told is None else (grounded(told, turns, lexicon), "")


def read(answer: str) -> Gist | None:
    """The sets in an answer, also where text stands around them or a comma too many in them; None without JSON."""
    found = _OBJECT.search(answer)
    for text in (answer, found[0] if found else "", re.sub(r",\s*([\]}])", r"\1", found[0]) if found else ""):
        try:
            told: Any = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            return Gist.parse({name: told.get(name) for name in ASKED})
    return None


def grounded(gist: Gist, turns: Sequence[Message], lexicon: Lexicon) -> Gist:
    """The entries that the person said: in any words what is not wanted, outside of refusals what is.

    A model that drops a "not", or makes something up, changes nothing.
    """
    said = [turn.text for turn in turns if turn.role == "user"]
    whole = f" {normal(' '.join(said))} "
    wished = f" {normal(' '.join(lexicon.read(one).asked for one in said))} "
    return Gist(**{
        name: tuple(one for one in getattr(gist, name) if _stands(one, whole if name in AGAINST else wished))
        for name in SETS
    })  # fmt: skip


def _stands(entry: str, text: str) -> bool:
    words = normal(entry)
    return bool(words) and (f" {words} " in text if words.isascii() else words in text)


def telling(turns: Sequence[Message], lexicon: Lexicon) -> tuple[str, ...]:
    """The person's sentences that say something of likes, wishes, refusals or years, as entries of a `Gist`."""
    made = []
    for turn in turns:
        for one in _SENTENCE.split(turn.text) if turn.role == "user" else ():
            said = lexicon.read(one)
            if said.items or said.wanted or said.unwanted or said.unkept or said.free or said.years != (0, 0):
                made.append(clean(one, LETTERS))
    return tuple(dict.fromkeys(made))
