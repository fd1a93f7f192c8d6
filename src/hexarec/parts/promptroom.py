"""Room in a prompt: how many tokens it may have, and what of it goes first where it has more.

The order in which parts go: beyond the soft bound the older turns, all but the newest `KEPT`. Beyond the hard bound
turns one by one down to the last, the candidates' facts from the last candidate on, the history from the oldest event
on, the profile, candidates from the last on down to one, the summary, the slots' values from the oldest on, and
letters of the turn. What was refused is a filter as well, so a slot that a prompt has no room for still holds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from hexarec.core import OptionError
from hexarec.lm.base import LanguageModel

T = TypeVar("T")
KEPT = 6  # turns that stay when older ones leave
LETTERS = 400  # of a turn
FORMAT = 40  # tokens of a chat format around a text, which `count` leaves out
SHARE = 0.7  # of a model's window that a prompt may take: the answer needs the rest
LEAST = 200  # tokens of the smallest hard bound


@dataclass(frozen=True)
class Amount:
    """How much of each part a prompt holds: newest turns, first candidates with facts, newest events, and so on."""

    turns: int = 0
    facts: int = 0
    past: int = 0
    profile: int = 0
    options: int = 0
    summary: int = 0
    slots: int = 0
    letters: int = LETTERS

    def less(self, other: Amount) -> dict[str, int]:
        """What this one holds beyond the other, by part."""
        lost = {one.name: getattr(self, one.name) - getattr(other, one.name) for one in fields(self)}
        return {name: n for name, n in lost.items() if n > 0}


_LOWEST = {"turns": 1, "facts": 0, "past": 0, "profile": 0, "options": 1, "summary": 0, "slots": 0, "letters": 25}


def steps(full: Amount) -> list[Amount]:
    """The whole, and what is left of it after each cut, in the order of cuts."""

    def cuts() -> Iterator[Amount]:
        now = full
        yield now
        for name, lowest in _LOWEST.items():
            while (held := getattr(now, name)) > lowest:
                now = replace(now, **{name: max(held // 2, lowest) if name == "letters" else held - 1})
                yield now

    return list(cuts())


def first_fitting(steps: Sequence[T], fits: Callable[[T], bool]) -> T | None:
    """The first of ever smaller things that fits; None where none does."""
    at = bisect_left(range(len(steps)), True, key=lambda place: fits(steps[place]))
    return steps[at] if at < len(steps) else None


@dataclass(frozen=True)
class Room:
    """The bounds of prompts to a model, in tokens as it counts them, those of its chat format included.

    soft: beyond it older turns leave a prompt. hard: no prompt is longer. memory: tokens of the turns in a prompt,
    beyond which older ones leave as well. summary: tokens of a summary.
    """

    lm: LanguageModel
    soft: int = 1000
    hard: int = 1400
    memory: int = 600
    summary: int = 200

    def check(self) -> None:
        """Raise OptionError unless the bounds stand in their order and leave room for a question."""
        if self.memory < 1 or not LEAST <= self.soft <= self.hard:
            told = f"memory is {self.memory}, soft {self.soft}, hard {self.hard}"
            raise OptionError(told, hint=f"memory is at least 1, soft at least {LEAST} and at most hard")

    @property
    def most(self) -> int:
        """The hard bound, or what the model's window leaves beside an answer, if that is less."""
        return min(self.hard, int(self.lm.window * SHARE))

    def size(self, texts: Sequence[str]) -> int:
        """Tokens of the longest of these prompts."""
        return FORMAT + int(max(self.lm.count(list(texts)), default=0))

    def fits(self, texts: Sequence[str]) -> bool:
        """Whether all of these prompts are within the hard bound."""
        return self.size(texts) <= self.most
