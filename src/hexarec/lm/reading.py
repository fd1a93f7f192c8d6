"""How the doubles read a prompt: list lines are history, handle lines are options, the rest asks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HANDLE = re.compile(r"^\[(\w+)\] (.*)$")
_LISTED = re.compile(r"^\s*(?:[-*•]|\d{1,4}[.)])\s+(.*)$")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_DULL = frozenset(
    "a an and are as at be but by can do for from has have he her him his if in into is it its like likes liked me my "
    "no not of on one or our she so that the their them they this to user was watch watched we what which will with "
    "would yes you your movie film item answer history candidate candidates question next".split()
)


@dataclass(frozen=True)
class Page:
    """A prompt as a double sees it: history lines, option handles and texts (same length), and the asking words."""

    history: tuple[str, ...]
    handles: tuple[str, ...]
    options: tuple[str, ...]
    question: str

    @property
    def asks_yes_no(self) -> bool:
        """Whether the asking words want a yes or a no."""
        asked = self.question.casefold()
        return ("yes" in asked and "no" in asked) or ("是" in asked and "否" in asked)


def read(text: str) -> Page:
    """Sort the lines of a prompt. Without list lines, what stands before the options or the last line is history."""
    history: list[str] = []
    options: list[tuple[str, str]] = []
    rest: list[str] = []
    before: list[str] = []
    for line in text.splitlines():
        if handle := _HANDLE.match(line.strip()):
            options.append((handle[1], handle[2]))
        elif listed := _LISTED.match(line):
            history.append(listed[1])
        elif line.strip():
            rest.append(line.strip())
            if not options:
                before.append(line.strip())
    if not history:
        history = before if options else rest[:-1]
        rest = rest[len(before) :] if options else rest[-1:]
    return Page(tuple(history), tuple(h for h, _ in options), tuple(o for _, o in options), "\n".join(rest))


def tokens(text: str) -> list[str]:
    """The telling words of a text, case folded, in order; a CJK character is a word."""
    return [word for word in _WORD.findall(text.casefold()) if word not in _DULL]


def words(text: str) -> list[str]:
    """The distinct telling words of a text, most frequent first, then by first appearance."""
    return [word for word, _ in Counter(tokens(text)).most_common()]


def overlap(history: Sequence[str], text: str) -> float:
    """The share (0..1) of a text's distinct telling words that the history has; 0 for a text without any."""
    own = set(tokens(text))
    return len(own & {word for line in history for word in tokens(line)}) / len(own) if own else 0.0


def fill(schema: Mapping[str, Any], page: Page, ranked: Sequence[int]) -> str:
    """JSON text that fits a schema, filled from the page: lists become rankings, texts the best option."""
    return json.dumps(_value(schema, page, list(ranked)), ensure_ascii=False)


def _value(schema: Mapping[str, Any], page: Page, ranked: list[int]) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _by_worth(schema["enum"], page, ranked)[0]
    kind = schema.get("type", "object")
    kind = kind if isinstance(kind, str) else kind[0]
    if kind == "object":
        return {key: _value(part, page, ranked) for key, part in schema.get("properties", {}).items()}
    if kind == "array":
        return _list(schema, page, ranked)
    if kind in ("integer", "number"):
        return _number(schema, page, ranked)
    if kind == "boolean":
        return overlap(page.history, page.question) > 0
    best = page.options[ranked[0]] if ranked else " ".join(words(" ".join(page.history))[:5]) or "nothing"
    return best[: schema.get("maxLength")] if kind == "string" else None


def _by_worth(values: Sequence[Any], page: Page, ranked: list[int]) -> list[Any]:
    """Enum values that are handles, in ranking order; other values by overlap with the history."""
    place = {page.handles[row]: rank for rank, row in enumerate(ranked)}
    return sorted(values, key=lambda v: (place.get(str(v), len(place)), -overlap(page.history, str(v))))


def _list(schema: Mapping[str, Any], page: Page, ranked: list[int]) -> list[Any]:
    items = schema.get("items", {})
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    if "enum" in items:
        values = _by_worth(items["enum"], page, ranked)
    elif items.get("type") == "integer" and ranked:
        values = [_number(items, page, ranked[rank:]) for rank in range(len(ranked))]
    elif items.get("type", "string") == "string" and ranked:
        values = [page.handles[row] for row in ranked]
    else:
        values = [_value(items, page, ranked[rank:]) for rank in range(max(len(ranked), 1))]
    while values and len(values) < fewest:
        values = values + values
    return values[: most if most is not None else max(len(values), fewest)]


def _number(schema: Mapping[str, Any], page: Page, ranked: list[int]) -> int:
    """The best option's handle where it is a number, else its place counted from 1, kept within the schema's range."""
    best = 1
    if ranked:
        handle = page.handles[ranked[0]]
        best = int(handle) if handle.isdecimal() else ranked[0] + 1
    low, high = schema.get("minimum"), schema.get("maximum")
    best = best if low is None else max(best, int(low))
    return best if high is None else min(best, int(high))
