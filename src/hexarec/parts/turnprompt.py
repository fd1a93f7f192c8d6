"""Prompts about a turn within their bounds: what they hold, what they leave out, and the account of it.

A dialogue is compacted and not cut anew each time: turns that left stay out, summed up once where that is asked for,
while what they refused and wished for stands in the slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists, Queries, degrade
from hexarec.lm.base import Prompt
from hexarec.parts.dialoguepage import DialoguePage, Told
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.promptroom import KEPT, Amount, Room, first_fitting, steps
from hexarec.parts.ratings import Rater
from hexarec.parts.said import lexicon_of
from hexarec.parts.summing import Summing

MARGIN = 8  # tokens by which a summary inside a prompt may differ from the same alone
Rows = Sequence[int] | NDArray[Any]
Texts = Callable[[str, Sequence[str]], Sequence[str]]
"""The prompts that a condition and the lines of candidates come to."""


@dataclass(frozen=True)
class Composed:
    """The turn with an account of what was left out, what stands in front of its question, and lines of candidates.

    Of the candidates the first ones have a line. fits: False where even the shortest prompt has no room.
    """

    turn: LastTurn
    condition: str
    lines: tuple[str, ...]
    fits: bool


@dataclass(frozen=True)
class TurnPrompts:
    """Prompts about turns within the bounds of a room. summary: the model sums up turns that leave (piece shorten)."""

    room: Room
    page: DialoguePage
    summary: bool = False

    def composed(self, turn: LastTurn, rows: Rows, texts: Texts) -> Composed:
        """All that there is room for, in front of a question about candidates (none for talk)."""
        turn = self._compacted(turn, rows, texts)
        ladder = steps(self._full(turn, len(rows)))

        def fits(amount: Amount) -> bool:
            return self._size(turn, rows, texts, amount) <= self.room.most

        amount = ladder[0] if fits(ladder[0]) else first_fitting(ladder[1:], fits)
        if amount is None:
            degrade(f"no prompt fits in {self.room.most} tokens; the model was not asked")
            return Composed(turn, "", (), False)
        cut = self._cut(turn, ladder[0].less(amount))
        amount = replace(amount, summary=int(amount.summary and bool(cut.talk.gist)))
        return Composed(cut, *self._made(cut, rows, amount), True)

    def _cut(self, turn: LastTurn, lost: dict[str, int]) -> LastTurn:
        """The turn with an account of what a prompt has no room for."""
        turn = self._leaving(turn, lost.pop("turns", 0), "hard")
        if not turn.talk.gist:
            lost.pop("summary", None)
        if lost:
            degrade(f"a prompt has at most {self.room.most} tokens; left out: {told_of(lost)}")
        return replace(turn, talk=turn.talk.losing("hard", lost))

    def begun(self, turn: LastTurn) -> LastTurn:
        """The turn without those before it, where it is about something else."""
        if turn.reset != "topic":
            return turn
        last = max(place for place, one in enumerate(turn.turns) if one.role == "user")
        return self._leaving(turn, last - turn.talk.left, "topic")

    def _compacted(self, turn: LastTurn, rows: Rows, texts: Texts) -> LastTurn:
        """The turn without the older ones before it, where they do not fit in the soft bound or the memory."""
        kept = turn.kept
        if len(kept) <= KEPT:
            return turn
        said = int(self.room.lm.count([self.page.transcript(kept, turn.lang)])[0])
        if said <= self.room.memory and self._size(turn, rows, texts, self._full(turn, len(rows))) <= self.room.soft:
            return turn
        return self._leaving(turn, len(kept) - KEPT, "soft")

    def _full(self, turn: LastTurn, options: int) -> Amount:
        talk = turn.talk
        return Amount(
            len(turn.kept), options, len(turn.told.past), int(turn.told.profile != ""), options,
            int(self.summary or bool(talk.gist)), max(len(talk.wanted), len(talk.unwanted)),
        )  # fmt: skip

    def _size(self, turn: LastTurn, rows: Rows, texts: Texts, amount: Amount) -> int:
        """Tokens of the longest prompt; where turns leave, the summary counts as long as it may become."""
        size = self.room.size(texts(*self._made(turn, rows, amount)))
        if self.summary and amount.summary and amount.turns < len(turn.kept):
            now = int(self.room.lm.count([turn.talk.gist.words(turn.lang)])[0])
            size += max(self.room.summary - now, 0) + MARGIN
        return size

    def _made(self, turn: LastTurn, rows: Rows, amount: Amount) -> tuple[str, tuple[str, ...]]:
        condition = self.page.before(turn.told, turn.talk, turn.kept, turn.lang, amount)
        lines = self.page.lines(turn.query.catalog, rows[: amount.options], turn.lang, amount.facts)
        return condition, tuple(lines)

    def _leaving(self, turn: LastTurn, n: int, why: str) -> LastTurn:
        """The turn with so many turns less before it, summed up where that is asked for."""
        if n < 1:
            return turn
        talk = turn.talk
        if self.summary:
            lexicon = lexicon_of(turn.query.catalog)
            gist = Summing(self.room, self.page).gist(talk.gist, turn.kept[:n], lexicon, turn.lang)
            talk = replace(talk, gist=gist)
        return replace(turn, talk=talk.leaving(talk.left + n, why))


def expected_ratings(
    rater: Rater, prompts: TurnPrompts, queries: Queries, candidates: Lists, profiles: Sequence[str]
) -> NDArray[np.float64]:
    """The rating that each candidate is expected to get, NaN where a prompt has no room. profiles: of each question."""
    asked: list[Prompt] = []
    room: list[bool] = []
    for i, profile in enumerate(profiles):
        told = prompts.page.known(queries, i, profile)
        lines = prompts.page.lines(queries.catalog, candidates[i].items, queries.lang[i])
        made = rating_prompts(rater, prompts, told, lines, queries.lang[i], int(queries.user[i]))
        asked += made
        room += [bool(made)] * len(lines)
    values = np.full(len(room), np.nan)
    values[np.array(room, bool)] = rater.values(asked)
    return values


def rating_prompts(
    rater: Rater, prompts: TurnPrompts, told: Told, lines: Sequence[str], lang: str, whose: int
) -> list[Prompt]:
    """One question an item outside of a dialogue, with as much of the history as there is room for; none without."""
    ladder = steps(Amount(past=len(told.past), profile=int(told.profile != "")))[: len(told.past) + 2]

    def made(amount: Amount) -> list[Prompt]:
        return rater.prompts_for(prompts.page.person(told, lang, amount), lines, lang, whose)

    amount = first_fitting(ladder, lambda one: prompts.room.fits([prompt.text for prompt in made(one)]))
    if amount is None:
        degrade(f"no prompt fits in {prompts.room.most} tokens; the model was not asked")
        return []
    if lost := ladder[0].less(amount):
        degrade(f"a prompt has at most {prompts.room.most} tokens; left out: {told_of(lost)}")
    return made(amount)


def told_of(lost: dict[str, int]) -> str:
    """Parts and how much of them."""
    return ", ".join(f"{name} {n}" for name, n in lost.items())
