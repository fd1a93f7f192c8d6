"""Words to catalog items: handle, exact, normalised, longest first, fuzzy; with a report of what was found.

The measured traps behind it: a title inside another ("Alien" in "Alien 3"), titles that share their first word, the
same title from two years, Chinese titles without word borders, answers in brackets, with numbers, or as JSON.
Nothing here ever looks at the truth.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

FUZZY = 0.9
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|le|la|les|il|der|die|das|el)$", re.IGNORECASE)
_MARK = re.compile(r"^\s*(?:[-*•>]+\s+|\(?\d{1,4}[.):、]\s*|\[\s*\d{1,4}[.)]\s+)+")
_HANDLE = re.compile(r"[\[(【]\s*([A-Za-z]{0,2}\d{0,4})\s*[\])】]")
_BARE_HANDLE = re.compile(r"^\s*([A-Z]{1,2}|[A-Za-z]?\d{1,4})\s*(?:[.):、,>-]|$)")
_REFUSAL = re.compile(r"\b(?:i (?:cannot|can't|am unable|won't)|as an ai)\b|无法|抱歉", re.IGNORECASE)


@dataclass(frozen=True)
class ParseReport:
    """What became of one answer. Counts of items; `by_method` splits `matched`; retried counts requests."""

    requested: int
    matched: int = 0
    by_method: Mapping[str, int] = field(default_factory=dict)
    out_of_set: int = 0
    duplicates: int = 0
    missing: int = 0
    retried: int = 0
    refused: int = 0
    invalid_format: int = 0

    def as_note(self) -> dict[str, Any]:
        """The report as JSON values, for `Lists.notes`."""
        return {**vars(self), "by_method": dict(self.by_method)}


def normal(title: str) -> str:
    """A title for comparison: NFKC, case folded, article in front, punctuation and spaces collapsed, year dropped."""
    text = _YEAR.sub("", unicodedata.normalize("NFKC", title)).strip()
    if article := _ARTICLE.match(text):
        text = f"{article[2]} {article[1]}"
    text = "".join(c if c.isalnum() else " " for c in text.casefold().replace("&", " and "))
    return " ".join(text.split())


def _bounded(needle: str, hay: str, start: int) -> bool:
    """Whether a match of `needle` at `start` stands on word borders; Chinese letters need none."""
    stop = start + len(needle)

    def joined(left: str, right: str) -> bool:
        return left.isalnum() and right.isalnum() and not _CJK.match(left) and not _CJK.match(right)

    before = start > 0 and joined(hay[start - 1], hay[start])
    after = stop < len(hay) and joined(hay[stop - 1], hay[stop])
    return not before and not after


def words_of(text: str) -> list[str]:
    """The words of a normal text; a Chinese, Japanese or Korean letter is one."""
    return _WORD.findall(text)


def first_word(text: str) -> str:
    """The first word of a normal text, "" without one: where whole words stand in a text, their first does."""
    found = _WORD.match(text)
    return found[0] if found else ""


@dataclass(frozen=True)
class Titles:
    """A closed set of titles to ground words in. Options are numbered by their place; equal titles share their words.

    handles: short opaque names ("A", "C3") of the options, or empty. years: to tell equal titles apart.
    """

    options: tuple[str, ...]
    handles: tuple[str, ...] = ()

    @cached_property
    def _normal(self) -> list[str]:
        return [normal(option) for option in self.options]

    @cached_property
    def _by_exact(self) -> dict[str, list[int]]:
        return _grouped(option.strip().casefold() for option in self.options)

    @cached_property
    def _by_normal(self) -> dict[str, list[int]]:
        return _grouped(self._normal)

    @cached_property
    def _by_handle(self) -> dict[str, int]:
        return {handle.casefold(): place for place, handle in enumerate(self.handles)}

    @cached_property
    def _by_first(self) -> dict[str, list[int]]:
        return _grouped(first_word(words) for words in self._normal)

    def _longest_first(self, hay: str) -> list[int]:
        """The options that may stand in a text: those whose first word is one of its words."""
        some = {place for word in set(words_of(hay)) for place in self._by_first.get(word, ())}
        return sorted(some, key=lambda place: (-len(self._normal[place]), place))

    def handle(self, text: str) -> int | None:
        """The option whose handle leads the text or stands in brackets."""
        if not self.handles:
            return None
        for match in (*_HANDLE.finditer(text), *_BARE_HANDLE.finditer(text)):
            place = self._by_handle.get(match[1].casefold())
            if place is not None:
                return place
        return None

    def known(self, text: str, used: frozenset[int] | set[int] = frozenset()) -> tuple[int, str] | None:
        """The option that a piece of text is, exact or normalised; None where it is no option but for a repair."""
        bare = _bare(text)
        for method, table, key in (
            ("exact", self._by_exact, bare.casefold()),
            ("normalised", self._by_normal, normal(bare)),
        ):
            if places := table.get(key):
                return next((p for p in places if p not in used), places[0]), method
        return None

    def find(self, text: str, used: frozenset[int] | set[int] = frozenset()) -> tuple[int, str] | None:
        """The option one piece of text means, and how it was found: exact, normalised, substring or fuzzy.

        Among options with equal words the first not in `used` wins. None when nothing fits.
        """
        bare = _bare(text)
        if not bare:
            return None
        if known := self.known(text, used):
            return known
        if inside := self._inside(normal(bare), used):
            return inside[0], "substring"
        return self._fuzzy(normal(bare), used)

    def _inside(self, hay: str, used: frozenset[int] | set[int]) -> list[int]:
        """Options whose words stand in the text, longest first; a shorter one inside a longer match does not count."""
        taken: list[tuple[int, int]] = []
        found: list[tuple[int, int]] = []
        for place in self._longest_first(hay):
            needle = self._normal[place]
            if not needle or (place in used and len(self._by_normal[needle]) > 1):
                continue
            start = hay.find(needle)
            while start >= 0:
                stop = start + len(needle)
                if _bounded(needle, hay, start) and not any(a < stop and start < b for a, b in taken):
                    taken.append((start, stop))
                    found.append((start, place))
                    break
                start = hay.find(needle, start + 1)
        return [place for _, place in sorted(found)]

    def _fuzzy(self, text: str, used: frozenset[int] | set[int]) -> tuple[int, str] | None:
        best, best_ratio = -1, FUZZY
        numbers, matcher = re.findall(r"\d+", text), SequenceMatcher(None, "", text, autojunk=False)
        for place, option in enumerate(self._normal):
            if place in used or not option or abs(len(option) - len(text)) > 0.25 * max(len(option), len(text)):
                continue
            matcher.set_seq1(option)
            if matcher.real_quick_ratio() < best_ratio or matcher.quick_ratio() < best_ratio:
                continue  # upper bounds of the ratio, which is slow
            ratio = matcher.ratio()
            # "rocky 2" is not "rocky 3": numbers must agree
            if ratio >= best_ratio and re.findall(r"\d+", option) == numbers:
                best, best_ratio = place, ratio + 1e-9
        return (best, "fuzzy") if best >= 0 else None

    def mentions(self, text: str) -> list[int]:
        """All options a free text mentions, in order of appearance, longest match first, each once."""
        return list(dict.fromkeys(self._inside(normal(text), frozenset())))


def _bare(text: str) -> str:
    """A piece of an answer without list marks and quotes."""
    return _MARK.sub("", text).strip().strip("\"'“”‘’`*_").strip()


def _grouped(keys: Any) -> dict[str, list[int]]:
    out: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        if key:
            out.setdefault(key, []).append(place)
    return out


def json_lists(answer: str) -> list[list[str]]:
    """The lists of words or numbers in the JSON of an answer: it alone, or those of an object in its order."""
    for match in (re.search(r"\[.*\]", answer, re.DOTALL), re.search(r"\{.*\}", answer, re.DOTALL)):
        try:
            value = json.loads(match[0]) if match else None
        except (ValueError, RecursionError):
            continue
        found = value.values() if isinstance(value, dict) else [value]
        lists = [one for one in found if isinstance(one, list) and one and all(isinstance(v, str | int) for v in one)]
        if lists:
            return [[str(v) for v in one] for one in lists]
    return []


def pieces(answer: str) -> list[str]:
    """An answer cut into the pieces that may name one item each: JSON list values, else lines, else a comma list."""
    if lists := json_lists(answer):
        return lists[0]
    lines = [line for line in answer.splitlines() if line.strip()]
    if len(lines) == 1 and re.search(r"[,;>，、；]", lines[0]):
        return [piece for piece in re.split(r"\s*[;>，、；]\s*|,\s+", lines[0]) if piece.strip()]
    return lines


def ground_list(answer: str, titles: Titles, *, requested: int | None = None) -> tuple[list[int], ParseReport]:
    """The options an answer ranks, best first, each once, and the report.

    Handles are tried before titles. Pieces that name nothing count as out_of_set when they look like an entry.
    """
    wanted = len(titles.options) if requested is None else requested
    order: list[int] = []
    methods: dict[str, int] = {}
    out_of_set = duplicates = 0
    for piece in pieces(answer):
        place, method = titles.handle(piece), "handle"
        if place is None:
            bare = piece.strip().strip("[]【】\"'")
            numbered = titles._by_handle.get(bare.casefold())
            found = (numbered, "handle") if numbered is not None else titles.find(piece, set(order))
            if found is None:
                out_of_set += _is_entry(piece)
                continue
            place, method = found
        if place in order:
            duplicates += 1
            continue
        order.append(place)
        methods[method] = methods.get(method, 0) + 1
    return order[:wanted], ParseReport(
        requested=wanted,
        matched=len(order[:wanted]),
        by_method=methods,
        out_of_set=out_of_set,
        duplicates=duplicates,
        missing=max(wanted - len(order), 0),
        refused=int(not order and bool(_REFUSAL.search(answer))),
        invalid_format=int(not order),
    )


def _is_entry(piece: str) -> bool:
    """Whether a piece that named nothing reads like a list entry rather than a sentence around the list."""
    text = piece.strip()
    return bool(_MARK.match(text) or _HANDLE.match(text)) or (len(text.split()) <= 8 and not text.endswith((":", "：")))
