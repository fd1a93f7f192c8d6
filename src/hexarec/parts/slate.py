"""What a model named for one prompt: places filled with items, and an account of how they came to be filled."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hexarec.lm.base import Prompt
from hexarec.parts.ground import Titles
from hexarec.parts.render import clean

Status = Literal["constrained", "choice", "number", "exact", "normalised", "fuzzy", "rejected", "backfilled"]


@dataclass(frozen=True)
class Found:
    """A piece of an answer: the option it means, -1 for none, its text and how it was read."""

    item: int
    raw: str
    status: Status


@dataclass(frozen=True)
class Name:
    """One place: the number of an option, or -1 where nothing came; the model's words; how they became the option.

    logprob: of the whole title, where it was searched for; else NaN.
    """

    item: int
    raw: str
    status: Status
    logprob: float = math.nan


@dataclass(frozen=True)
class NamingReport:
    """The account of one prompt. Counts of places and of answers' pieces.

    invalid: places that the first answer left without a new, allowed option; this is what the model is worth by itself.
    repaired: places filled by a second answer or by the next allowed option. outside, duplicates, banned: pieces that
    named no option, one already named, one not allowed. cut: options that an enum had no room for.
    """

    requested: int
    invalid: int = 0
    repaired: int = 0
    outside: int = 0
    duplicates: int = 0
    banned: int = 0
    retried: int = 0
    cut: int = 0

    @property
    def raw_invalid_rate(self) -> float:
        """The share of places that the first answer left empty; 0 where none was asked for."""
        return self.invalid / max(self.requested, 1)

    @property
    def repair_rate(self) -> float:
        """The share of places that were filled afterwards."""
        return self.repaired / max(self.requested, 1)


@dataclass(frozen=True)
class Named:
    """The places of one prompt, best first, and their account. `fault` says why a model gave no answer, else ""."""

    names: tuple[Name, ...]
    report: NamingReport
    fault: str = ""

    @property
    def items(self) -> list[int]:
        """The options that were named, best first."""
        return [name.item for name in self.names if name.item >= 0]

    @property
    def by_status(self) -> Mapping[str, int]:
        """How many places have each status."""
        return Counter(name.status for name in self.names)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """A list of titles as a model reads and writes them: one line each, and no two alike."""

    texts: tuple[str, ...]

    @classmethod
    def of(cls, titles: Sequence[str]) -> Surfaces:
        """The cleaned titles; one that reads like an earlier one gets a number ("Heat #2")."""
        seen: set[str] = set()
        made = []
        for title in titles:
            text = bare = clean(title) or "?"
            again = 1
            while _alike(text) in seen:
                again += 1
                text = f"{bare} #{again}"
            seen.add(_alike(text))
            made.append(text)
        return cls(tuple(made))

    @cached_property
    def titles(self) -> Titles:
        """For grounding."""
        return Titles(self.texts)

    @cached_property
    def place(self) -> dict[str, int]:
        """The number of each text."""
        return {text: place for place, text in enumerate(self.texts)}


def _alike(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


class Slate:
    """The places of one prompt while they are being filled."""

    def __init__(self, prompt: Prompt, surfaces: Surfaces, banned: Iterable[int], k: int) -> None:
        self.prompt, self.surfaces = prompt, surfaces
        self.banned = frozenset(banned)
        self.k = min(k, len(surfaces.texts) - len(self.banned & set(range(len(surfaces.texts)))))
        self.names: list[Name] = []
        self.shown: tuple[int, ...] = ()
        self.fault, self.cut, self.retried = "", 0, 0
        self._lost: list[str] = []
        self._counts: Counter[str] = Counter()
        self._raw = 0

    @property
    def gone(self) -> set[int]:
        """What must not come any more: banned or named."""
        return {*self.banned, *(name.item for name in self.names)}

    @property
    def left(self) -> list[int]:
        """The options that may still come, in their order."""
        gone = self.gone
        return [place for place in range(len(self.surfaces.texts)) if place not in gone]

    @property
    def missing(self) -> int:
        """How many places are empty."""
        return self.k - len(self.names)

    def texts_left(self) -> list[str]:
        """The texts of the options that may still come."""
        return [self.surfaces.texts[place] for place in self.left]

    def offer(self, item: int, raw: str, status: Status, logprob: float = math.nan) -> None:
        """Take an option for the next place, or note why not."""
        if item < 0:
            why = "outside"
        elif item in self.banned:
            why = "banned"
        elif any(name.item == item for name in self.names):
            why = "duplicates"
        else:
            if self.missing:
                self.names.append(Name(item, raw, status, logprob))
            return
        self._counts[why] += 1
        self._lost.append(raw)

    def first_done(self) -> None:
        """The first answer was read: what is filled now is the model's own."""
        self._raw = len(self.names)

    def finished(self, backfill: bool) -> Named:
        """The places with what the model left empty filled by the next allowed options, or by nothing."""
        answered, lost = len(self.names), iter(self._lost)
        for place in self.left[: self.missing]:
            raw = next(lost, "")
            self.names.append(Name(place, raw, "backfilled") if backfill else Name(-1, raw, "rejected"))
        filled = self.k if backfill else answered
        report = NamingReport(
            self.k, self.k - self._raw, filled - self._raw, retried=self.retried, cut=self.cut, **self._counts
        )
        return Named(tuple(self.names), report, self.fault)
