"""A simulated user played by a model that writes: one answer for a whole page, one for what it came to, one interview.

Items are meant by handle, or else by a title in any of the forms that `parts.ground` knows (a year left out, other
case): what cannot be told is counted and said, never dropped in silence. Retries are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hexarec.core import degrade
from hexarec.lm.base import Completion, JsonSchema, LanguageModel, Prompt
from hexarec.lm.cassette import keeping
from hexarec.parts.ask import handles_for
from hexarec.parts.domain import domain_words
from hexarec.parts.ground import Titles
from hexarec.parts.labelmind import tired
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Scale
from hexarec.parts.render import clean, handled
from hexarec.parts.visit import SAID, Judged, Mood, Scene

T = TypeVar("T")
YES = ("yes", "true", "y", "是", "会")
_ANSWER = r"\W{0,4}(yes|no|true|false|y\b|n\b|是|否|不|会)"
_SUITS = re.compile(r"(?:suits?|align|fits?|合适|适合)" + _ANSWER, re.IGNORECASE)
_TAKES = re.compile(r"(?:takes?|watch(?:ed)?|选择)" + _ANSWER, re.IGNORECASE)
_RATING = re.compile(r"(?:rating|rate|评分)\W{0,4}(\d+(?:\.\d+)?)", re.IGNORECASE)
_CONTENT = re.compile(r"(?:content|satisfied|满意)" + _ANSWER, re.IGNORECASE)
_LEAVES = re.compile(r"(?:leaves?|exit|离开)" + _ANSWER, re.IGNORECASE)
_WHY = re.compile(r"(?:why|reason|理由)\s*[:：]\s*(.+)", re.IGNORECASE | re.DOTALL)
_SCORE = re.compile(r"(?:score|分数)\s*[:：]\s*(.+)", re.IGNORECASE)
_CLAUSE = re.compile(
    r"\s*[;；]\s*(?=(?:suits?|align|fits?|takes?|watch|rat(?:e|ing)|合适|适合|选择|评分))", re.IGNORECASE
)
GRADES = Scale(1, 10)


@dataclass(frozen=True)
class WrittenMind:
    """Decides in words. form: json (JSON held to a schema) or text (lines). retries: of answers that say nothing.

    prompts: has the pieces page_json, page_text, decide_json, decide_text, ask_json and ask_text.
    """

    lm: LanguageModel
    prompts: Prompts
    domain: str
    scale: Scale
    likes: float
    form: str = "json"
    retries: int = 1

    def judge(self, scenes: Sequence[Scene]) -> list[list[Judged]]:
        """Every item of each page; one that the answer does not mention does not suit, and is counted."""
        made: list[list[Judged]] = [[] for _ in scenes]
        lost = 0
        # a schema fits one size of page
        for size in sorted({len(one.lines) for one in scenes}):
            group = [i for i, one in enumerate(scenes) if len(one.lines) == size]
            prompts = [self._prompt(scenes[i], "page", 24 + 40 * size, **self._shown(scenes[i])) for i in group]
            readers = [lambda text, one=scenes[i]: self._read_page(one, text) for i in group]
            for i, found in zip(group, self._asked(prompts, readers, _page_schema(size, self.scale)), strict=True):
                lost += size - len(found or {})
                made[i] = [(found or {}).get(n, Judged(item)) for n, item in enumerate(scenes[i].ids)]
        if lost:
            degrade(f"{lost} of {sum(len(one.ids) for one in scenes)} shown items: the answer does not judge them")
        return made

    def feel(self, scenes: Sequence[Scene]) -> list[Mood]:
        """Content and leaving as the answer says; without one content, and stays."""
        prompts = [self._prompt(one, "decide", 80, tired=tired(self.prompts, one)) for one in scenes]
        found = self._asked(prompts, [_mood] * len(prompts), _DECIDE)
        return [self._told(one, Mood(True, False)) for one in found]

    def interview(self, scenes: Sequence[Scene]) -> list[tuple[float, str]]:
        """The score said, 1 to 10, and why; 5.5 without one."""
        prompts = [self._prompt(one, "ask", 80) for one in scenes]
        return [self._told(one, (5.5, "")) for one in self._asked(prompts, [_grade] * len(prompts), _ASK)]

    def _told(self, found: T | None, instead: T) -> T:
        if found is None:
            degrade("an answer of a simulated user says nothing")
        return instead if found is None else found

    def _asked(
        self, prompts: Sequence[Prompt], readers: Sequence[Callable[[str], T | None]], schema: JsonSchema
    ) -> list[T | None]:
        """What each answer says; None where none of 1 + `retries` answers says anything."""
        made: list[T | None] = [None] * len(prompts)
        left = list(range(len(prompts)))
        for attempt in range(self.retries + 1):
            if not left:
                break
            now = [_again(prompts[i], attempt) for i in left]
            with keeping(_useful({one.digest(): readers[i] for one, i in zip(now, left, strict=True)})):
                answers = self.lm.generate(now, schema if self.form == "json" else None)
            for i, answer in zip(left, answers, strict=True):
                made[i] = readers[i](answer.text) if answer.good else None
            # one that never came was tried again already, where retries are counted
            left = [i for i, answer in zip(left, answers, strict=True) if made[i] is None and answer.good]
        return made

    def _prompt(self, scene: Scene, piece: str, room: int, **slots: str | int) -> Prompt:
        words = domain_words(self.domain, scene.visit.lang)
        text = self.prompts.text(scene.visit.lang, f"{piece}_{self.form}", condition=scene.before, **words, **slots)
        return Prompt.user(text, seed=scene.visit.seed, max_tokens=room)

    def _shown(self, scene: Scene) -> dict[str, str | int]:
        n = len(scene.lines)
        return {"options": handled(scene.lines, handles_for(n)), "n": n, "low": self.scale.low, "high": self.scale.high}

    def _read_page(self, scene: Scene, text: str) -> dict[int, Judged] | None:
        """Place on the page -> judgement; None when no item is named."""
        titles = Titles(scene.titles, handles_for(len(scene.titles)))
        found: dict[int, Judged] = {}
        for name, suits, takes, rating in _lines(text):
            place = titles.handle(name)
            if place is None:
                named = titles.find(name, set(found))
                place = None if named is None else named[0]
            if place is None or place in found:
                continue
            value = float("nan")
            if takes:
                value = float("nan") if rating is None else float(np.clip(rating, self.scale.low, self.scale.high))
            found[place] = Judged(scene.ids[place], suits or takes, takes, value, value >= self.likes)
        return found or None


def _useful(readers: Mapping[str, Callable[[str], Any]]) -> Callable[[Prompt, Completion], bool]:
    return lambda prompt, answer: answer.good and readers[prompt.digest()](answer.text) is not None


def _again(prompt: Prompt, attempt: int) -> Prompt:
    if attempt == 0:
        return prompt
    return Prompt.user(prompt.text, seed=prompt.seed + attempt, temperature=0.3, max_tokens=prompt.sample.max_tokens)


Line = tuple[str, bool, bool, float | None]


def _lines(text: str) -> list[Line]:
    """Each judgement: what names the item, suits, takes, rating; from JSON, else from lines."""
    held = _json(text)
    rows = held.get("items") if isinstance(held, Mapping) else None
    if isinstance(rows, list):
        return [made for row in rows if isinstance(row, Mapping) and (made := _of_json(row)) is not None]
    out: list[Line] = []
    for line in text.splitlines():
        suits, takes, rating = _SUITS.search(line), _TAKES.search(line), _RATING.search(line)
        if suits is None and takes is None and rating is None:
            continue
        name = re.sub(r"^\s*(?:movie|title|item)\s*[:：]\s*", "", _CLAUSE.split(line)[0], flags=re.IGNORECASE)
        value = float(rating[1]) if rating else None
        took = _yes(takes) if takes else value is not None
        out.append((name, _yes(suits) or took, took, value))
    return out


def _of_json(row: Mapping[str, Any]) -> Line | None:
    name, rating = row.get("handle", row.get("title")), row.get("rating")
    if not isinstance(name, str):
        return None
    value = float(rating) if isinstance(rating, int | float) and not isinstance(rating, bool) else None
    return f"[{name}]" if len(name) <= 3 else name, row.get("suits") is True, row.get("take") is True, value


def _yes(match: re.Match[str] | None) -> bool:
    return match is not None and match[1].casefold() in YES


def _json(text: str) -> Any:
    match = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        return json.loads(match[0]) if match else None
    except (ValueError, RecursionError):
        return None


def _mood(text: str) -> Mood | None:
    held = _json(text)
    if isinstance(held, Mapping) and isinstance(held.get("leave"), bool):
        return Mood(held.get("content") is not False, held["leave"] is True, _said(held.get("why")))
    leaves, why = _LEAVES.search(text), _WHY.search(text)
    content = _CONTENT.search(text)
    if leaves is None and content is None:
        return None
    return Mood(content is None or _yes(content), _yes(leaves), _said(why[1]) if why else "")


def _grade(text: str) -> tuple[float, str] | None:
    held, why = _json(text), _WHY.search(text)
    if isinstance(held, Mapping) and isinstance(held.get("score"), int | float):
        return GRADES.read(str(held["score"])), _said(held.get("why"))
    said = _SCORE.search(text)
    score = GRADES.read(said[1] if said else text)
    return None if np.isnan(score) else (score, _said(why[1]) if why else "")


def _said(text: Any) -> str:
    """One line of what was said; the dots of the asked form are nothing."""
    said = clean(text, SAID) if isinstance(text, str) else ""
    return said if any(letter.isalnum() for letter in said) else ""


def _object(**fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


_WORDS = {"type": "string", "maxLength": 200}
_BOOL = {"type": "boolean"}
_DECIDE = JsonSchema(_object(content=_BOOL, leave=_BOOL, why=_WORDS))
_ASK = JsonSchema(_object(score={"type": "integer", "minimum": 1, "maximum": 10}, why=_WORDS))


def _page_schema(n: int, scale: Scale) -> JsonSchema:
    rating = {"type": "integer", "minimum": scale.low, "maximum": scale.high}
    handle = {"type": "string", "enum": list(handles_for(n))}
    row = _object(handle=handle, suits=_BOOL, take=_BOOL, rating=rating)
    return JsonSchema(_object(items={"type": "array", "items": row, "minItems": n, "maxItems": n}))
