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
from hexarec.parts.render import clean, numbered
from hexarec.parts.turnprompt import Composed, TurnPrompts

OPENING, TALK = 240, 800  # characters of an opening sentence and of talk


@dataclass(frozen=True)
class OwnWords:
    """Words of a model, from the pieces open and chat; fixed sentences stand where they are of no use."""

    prompts: TurnPrompts

    @property
    def lm(self) -> LanguageModel:
        """The model."""
        return self.prompts.room.lm

    def opening(self, turn: LastTurn, rows: Sequence[int], fixed: Words) -> tuple[LastTurn, Words]:
        """The sentence in front of a list of items; the model's where all that it claims is true of them."""

        def texts(condition: str, lines: Sequence[str]) -> list[str]:
            return [self._text(turn, "open", condition=condition, options=numbered(lines))]

        made = self.prompts.composed(turn, rows, texts)
        if not made.fits:
            return made.turn, fixed
        answer = self.lm.generate([Prompt.user(texts(made.condition, made.lines)[0], max_tokens=60)])[0]
        said = clean(answer.text, OPENING) if answer.good else ""
        claims = check(said, turn.query.catalog, rows, made.condition) if said else ()
        if said and sound(claims):
            return made.turn, Words(said, turn.lang, claims=claims, answers=(answer.text,))
        return made.turn, replace(fixed, answers=(answer.text,))

    def talk(self, turn: LastTurn, place: int, fixed: Words) -> tuple[LastTurn, Words]:
        """Talk, emitted piece by piece; the fixed sentence for a model that writes no text, or nothing said."""
        words = fixed
        if "text" in self.lm.can and turn.said.strip():
            made = self.prompts.composed(turn, (), lambda condition, _: [self._text(turn, "chat", condition=condition)])
            turn, words = made.turn, self._talked(made, place, fixed) if made.fits else fixed
        if not words.answers:
            emit(place, words.text)
        return turn, words

    def _talked(self, made: Composed, place: int, fixed: Words) -> Words:
        prompt = Prompt.user(self._text(made.turn, "chat", condition=made.condition), max_tokens=80)
        pieces: list[str] = []
        try:
            for piece in self.lm.stream(prompt):
                pieces.append(piece)
                emit(place, piece)
        except ModelError as error:
            degrade(f"the model did not answer: {error.message}")
        said = clean("".join(pieces), TALK)
        return Words(said, made.turn.lang, answers=("".join(pieces),)) if said else fixed

    def _text(self, turn: LastTurn, piece: str, **slots: str) -> str:
        return self.prompts.page.prompts.text(turn.lang, piece, **slots)


def emit(place: int, text: str, *, listed: bool = False) -> None:
    """Tell whoever runs this of words in the dialogue at this place of the batch."""
    current().emit({"kind": "words", "dialogue": place, "text": text, "listed": listed})
