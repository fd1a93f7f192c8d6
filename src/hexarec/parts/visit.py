"""A simulated visit as JSON: page, memory, what was judged on the last page, exit and interview.

A visit begins as a mapping with at most `user`, `lang` and `seed`. Nothing is kept between two pages but what stands in
it, so a visit may be stored, moved and gone on with elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from hexarec.core import rng
from hexarec.lm.base import Encoder
from hexarec.parts.bm25 import tokenise
from hexarec.parts.traits import Persona

MOST = 40  # entries of a memory, the oldest go first
SAID = 400  # characters of an entry
FADES = 0.9  # weight of a memory against one of a page later


@dataclass(frozen=True)
class Entry:
    """One memory. kind: fact (what was shown and done), feeling (what it was like), reflection (what it came to)."""

    kind: str
    page: int
    text: str


@dataclass(frozen=True)
class Judged:
    """What was thought of one shown item, by catalog id. rating: NaN where it was not taken up."""

    item: str
    aligned: bool = False
    watched: bool = False
    rating: float = math.nan
    liked: bool = False

    def as_json(self) -> dict[str, Any]:
        """As it stands in a visit; no rating is null."""
        return {**vars(self), "rating": None if math.isnan(self.rating) else self.rating}


@dataclass(frozen=True)
class Scene:
    """One page before one visitor. rows: catalog rows; lines: titles and facts; before: persona and memories."""

    visit: Visit
    who: Persona
    rows: tuple[int, ...]
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    lines: tuple[str, ...]
    before: str = ""


@dataclass(frozen=True)
class Mood:
    """What a page came to: content or not, gone or not, and why in words ("" = none)."""

    content: bool
    leaves: bool
    why: str = ""


class Mind(Protocol):
    """Who decides for simulated users; all calls are batched, one answer for each scene."""

    def judge(self, scenes: Sequence[Scene]) -> list[list[Judged]]:
        """What suits, what is taken up, and how it is rated: every item of each page, in order."""

    def feel(self, scenes: Sequence[Scene]) -> list[Mood]:
        """Content or not, and whether the visit ends; the page is in the visit's tally and memory by now."""

    def interview(self, scenes: Sequence[Scene]) -> list[tuple[float, str]]:
        """Satisfaction from 1 to 10 and why."""


@dataclass(frozen=True)
class Visit:
    """One visit. tally: (shown, aligned, watched, liked) of each page. satisfaction: 1 to 10, None before its end."""

    user: str | None = None
    lang: str = "en"
    seed: int = 0
    page: int = 0
    exited: bool = False
    taste: str = ""
    judged: tuple[Mapping[str, Any], ...] = ()
    memory: tuple[Entry, ...] = ()
    tally: tuple[tuple[int, int, int, int], ...] = ()
    satisfaction: float | None = None
    why: str = ""

    @classmethod
    def parse(cls, state: Mapping[str, Any], lang: str, seed: int) -> Visit:
        """From JSON; what is missing or of another kind takes its first value."""
        user, own_lang, own_seed = state.get("user"), state.get("lang"), state.get("seed")
        score = state.get("satisfaction")
        return cls(
            user if isinstance(user, str) else None,
            own_lang if isinstance(own_lang, str) and own_lang else lang,
            _number(own_seed, seed),
            max(_number(state.get("page")), 0),
            state.get("exited") is True,
            _text(state.get("taste")),
            tuple(one for one in _listed(state.get("judged")) if isinstance(one, Mapping)),
            tuple(
                Entry(_text(one.get("kind")), _number(one.get("page")), _text(one.get("text")))
                for one in _listed(state.get("memory"))
                if isinstance(one, Mapping)
            ),
            tuple(_four(one) for one in _listed(state.get("tally"))),
            float(score) if isinstance(score, int | float) and score is not True and math.isfinite(score) else None,
            _text(state.get("why")),
        )

    def as_json(self) -> dict[str, Any]:
        """The state that `parse` reads."""
        made = dict(vars(self))
        made["judged"] = [dict(one) for one in self.judged]
        made["memory"] = [dict(vars(one)) for one in self.memory]
        made["tally"] = [list(one) for one in self.tally]
        return made

    def remembering(self, *entries: Entry) -> Visit:
        """The visit with more in its memory."""
        return replace(self, memory=(*self.memory, *entries)[-MOST:])

    def draw(self, *words: str | int) -> float:
        """A number in [0, 1), the same for this visit, page and words in any batch."""
        return float(rng(self.seed, "visit", self.user or "", self.page, *words).random())

    def share(self, place: int, of: int = 0) -> float:
        """One column of the tally against another, over all pages; 0 without any."""
        total = sum(row[of] for row in self.tally)
        return sum(row[place] for row in self.tally) / total if total else 0.0


def due(memory: Sequence[Entry], after: int) -> bool:
    """Whether more than `after` memories have gathered since the last reflection."""
    last = max((place for place, one in enumerate(memory) if one.kind == "reflection"), default=-1)
    return len(memory) - 1 - last > after


def recalled(memory: Sequence[Entry], about: str, page: int, keep: int, encoder: Encoder | None) -> list[Entry]:
    """The `keep` memories that matter most for a text, oldest first: relevance and recency, each from 0 to 1, added.

    relevance: the cosine of encoded texts, or of word counts without an encoder. recency: `FADES` ** pages ago.
    """
    if len(memory) <= keep:
        return list(memory)
    near = _cosines([one.text for one in memory], about, encoder)
    new = np.array([FADES ** max(page - one.page, 0) for one in memory])
    order = np.argsort(-(_spread(near) + _spread(new)), kind="stable")[:keep]
    return [memory[place] for place in sorted(order.tolist())]


def _cosines(texts: Sequence[str], about: str, encoder: Encoder | None) -> np.ndarray:
    if encoder is not None:
        rows = encoder.encode([*texts, about])
        return np.asarray(rows[:-1] @ rows[-1], np.float64)
    bags = [set(tokenise(text)) for text in (*texts, about)]
    wanted = bags[-1]
    return np.array([len(bag & wanted) / math.sqrt(max(len(bag) * len(wanted), 1)) for bag in bags[:-1]])


def _spread(values: np.ndarray) -> np.ndarray:
    """Between 0 and 1; all 0 where all are alike."""
    width = np.ptp(values)
    return (values - values.min()) / width if width > 0 else np.zeros(len(values))


def _text(value: Any) -> str:
    return value[:SAID] if isinstance(value, str) else ""


def _number(value: Any, otherwise: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _four(value: Any) -> tuple[int, int, int, int]:
    row = [max(_number(one), 0) for one in (*_listed(value), 0, 0, 0, 0)]
    return (row[0], row[1], row[2], row[3])
