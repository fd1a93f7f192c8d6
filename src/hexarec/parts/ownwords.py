"""What a model says in a dialogue in its own words: talk as it comes, and an opening that is shown only where it holds.

Words are emitted as events {"kind": "words", "dialogue": place, "text": piece, "listed": False}; listed says that a
piece is the line of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hexarec.core import ModelError, Words, current, degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.facts import check, sound
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered

OPENING, TALK = 240, 800  # characters of an opening sentence and of talk


@dataclass(frozen=True)
class OwnWords:
    """Words of a model, from the pieces open and chat; fixed sentences stand where they are of no use."""

    lm: LanguageModel
    prompts: Prompts

    def opening(self, turn: LastTurn, rows: Sequence[int], lines: Sequence[str], fixed: Words) -> Words:
        """The sentence in front of a list of items; the model's where all that it claims is true of them."""
        text = self.prompts.text(turn.lang, "open", condition=turn.condition, options=numbered(lines))
        answer = self.lm.generate([Prompt.user(text, max_tokens=60)])[0]
        said = clean(answer.text, OPENING) if answer.good else ""
        claims = check(said, turn.query.catalog, rows, turn.condition) if said else ()
        if said and sound(claims):
            return Words(said, turn.lang, claims=claims, answers=(answer.text,))
        return replace(fixed, answers=(answer.text,))

    def talk(self, turn: LastTurn, place: int, fixed: Words) -> Words:
        """Talk, emitted piece by piece; the fixed sentence for a model that writes no text, or nothing said."""
        words = fixed
        if "text" in self.lm.can and turn.said.strip():
            prompt = Prompt.user(self.prompts.text(turn.lang, "chat", condition=turn.condition), max_tokens=80)
            pieces = []
            try:
                for piece in self.lm.stream(prompt):
                    pieces.append(piece)
                    emit(place, piece)
            except ModelError as error:
                degrade(f"the model did not answer: {error.message}")
            said = clean("".join(pieces), TALK)
            words = Words(said, turn.lang, answers=("".join(pieces),)) if said else words
        if not words.answers:
            emit(place, words.text)
        return words


def emit(place: int, text: str, *, listed: bool = False) -> None:
    """Tell whoever runs this of words in the dialogue at this place of the batch."""
    current().emit({"kind": "words", "dialogue": place, "text": text, "listed": listed})
