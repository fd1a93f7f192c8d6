"""What a turn of a dialogue says about a catalog: titles, attribute values, years, and whether they are wanted.

Rules over the catalog's own words, in English and Chinese: a negation governs its clause, and a clause that only goes
on listing ("no horror, war or westerns") goes on with it. Embeddings do not know "not"; constraints are read here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from hexarec.core import Catalog
from hexarec.parts.attributes import translated, values_of
from hexarec.parts.ground import normal
from hexarec.parts.phrases import phrases

FIELDS = ("genres", "categories", "director", "star", "country", "brand", "author", "keywords")
LONGEST = 8  # words of a title or value that are looked up together
Value = tuple[str, str]  # field, value

_CLAUSE = re.compile(
    r"[,.;:!?，。；：！？、\n]+|(?<!anything )(?<!everything )\bbut\b|\bhowever\b|但是|但|不过", re.IGNORECASE
)
_NOT = re.compile(
    r"\b(?:no|not|never|don'?t|do not|didn'?t|does not|doesn.?t|isn'?t|won'?t|hate|hates|hated|dislike|disliked|"
    r"without|except|avoid|nothing|neither|nor|tired of|sick of|other than|anything but|enough)\b"
    r"|不|没|别|讨厌|除了|除开|烦",
    re.IGNORECASE,
)
_NOT_MEANT = re.compile(
    r"\bnot only\b|\bno (?:problem|doubt|idea|preference)\b|\bdon'?t mind\b"
    r"|不仅|不错|没问题|有没有|是不是|能不能|可不可以|特别|别的|差不多",
    re.IGNORECASE,
)
# what is ruled out from here on leaves what was said before it: "a comedy without war", "a comedy and no war"
_BUT_NOT = re.compile(
    r"\b(?:without|except|other than)\b|\b(?:and|with)\s+(?:no|not|never|nothing|don'?t|do not)\b|除了|除开",
    re.IGNORECASE,
)
_SEEN = re.compile(r"\b(?:seen|watched|read|played|own|bought|know)\b|看过|读过|玩过|买过|见过", re.IGNORECASE)
_FOND = re.compile(r"\b(?:love|loved|like|liked|enjoy|enjoyed|favou?rite|similar|fan)\b|喜欢|爱|类似|像", re.IGNORECASE)
_INSTEAD = re.compile(r"\b(?:instead|rather|actually|changed my mind)\b|换成|改成|还是要|改看", re.IGNORECASE)
_LISTING = re.compile(r"^(?:and|or|nor|also|the|films?|movies?|books?|games?|和|或|以及|也|\s)*$", re.IGNORECASE)
# an order that begins its clause: a film about a man who starts over takes nothing back; one clause is read for each
# beginning and no letter twice, so that a turn of nothing but beginnings takes no longer than any other
_AFRESH = re.compile(
    r"(?:^|[.,;:!?，。；！？、\n])[^\S\n]*+(?:(?:ok(?:ay)?|well|please|so|now|and|then|just|actually|let['’]?s|let us"
    r"|can we|could we|can you|i want to|i['’]?d like to|i would like to|we should)[^\S\n]++)*+"
    r"(?:start (?:all )?(?:over|again|afresh)|begin again|forget (?:it all|everything|all (?:of )?that|what i said)"
    r"|reset(?: (?:it|this|all|everything))?(?= ?please|\W*$|\W*[.,;!\n]))\b"
    r"|(?:^|[\s.,;:!?，。；！？、])(?:请|那就|那|我们|我想|咱们|好的?|还是|就|再)*+"
    r"(?:重新(?:开始|来)|从头(?:开始|再来|来过)|全部忘|忘掉(?:一切|所有|刚才|之前))(?!的)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“《「]([^\"”》」]{1,120})[\"”》」]")
_DECADE = re.compile(r"\b(?:the )?(?:(19|20)?(\d0))'?s\b|(?:(19|20)?(\d0))年代", re.IGNORECASE)
_EDGE = re.compile(
    r"\b(after|since|newer than|from|before|until|older than|earlier than)\s+(?:the year\s+)?((?:18|19|20)\d\d)\b"
    r"|((?:18|19|20)\d\d)\s*年?\s*(以后|之后|以前|之前)",
    re.IGNORECASE,
)
_UP = frozenset({"after", "since", "newer than", "from", "以后", "之后"})
_ORDINALS = (
    "first|1st|number one", "second|2nd|number two", "third|3rd|number three", "fourth|4th|number four",
    "fifth|5th|number five", "sixth|6th", "seventh|7th", "eighth|8th", "ninth|9th", "tenth|10th",
)  # fmt: skip
_CHINESE = "一二三四五六七八九十"
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Said:
    """One turn, read. Items are catalog rows; years is (first, last), 0 = open; anew: replaces what was wanted.

    asked: the turn without what it refuses, "" where it does nothing else. unkept: refusals and years for which the
    catalog has no word. free: wishes for which it has none.
    """

    liked: tuple[int, ...] = ()
    disliked: tuple[int, ...] = ()
    seen: tuple[int, ...] = ()
    wanted: tuple[Value, ...] = ()
    unwanted: tuple[Value, ...] = ()
    years: tuple[int, int] = (0, 0)
    anew: bool = False
    afresh: bool = False
    asked: str = ""
    unkept: tuple[str, ...] = ()
    free: tuple[str, ...] = ()

    @property
    def items(self) -> tuple[int, ...]:
        """All items it names, in that order."""
        return tuple(dict.fromkeys((*self.liked, *self.seen, *self.disliked)))


@dataclass(frozen=True)
class _Hit:
    start: int
    stop: int
    rows: tuple[int, ...] = ()
    value: Value | None = None


@dataclass(frozen=True)
class _Clause:
    """Letters start..stop of a turn with their hits. bare: the letters with spaces where the hits are.

    negated: governed by a negation. liking: titles are liked and not just seen.
    """

    start: int
    stop: int
    hits: Sequence[_Hit]
    bare: str
    negated: bool
    liking: bool


@dataclass
class _Parts:
    """What the clauses say so far."""

    liked: list[int] = field(default_factory=list)
    disliked: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    wanted: list[Value] = field(default_factory=list)
    unwanted: list[Value] = field(default_factory=list)


class Lexicon:
    """The words of one catalog: its titles and the values of its attributes, in all its languages."""

    def __init__(self, catalog: Catalog, fields: Sequence[str] = FIELDS) -> None:
        self._titles: dict[str, list[int]] = {}
        self._values: dict[str, Value] = {}
        self._years = catalog.attributes.get("year")
        for lang in dict.fromkeys((catalog.lang, *(code for kind, code in catalog.text if kind == "title"))):
            for row, title in enumerate(catalog.words("title", lang).tolist()):
                if title and catalog.alive[row] and (key := normal(title)):
                    rows = self._titles.setdefault(key, [])
                    if row not in rows[-1:]:
                        rows.append(row)
        for name in fields:
            if name in catalog.attributes:
                self._take(catalog, name)

    def _take(self, catalog: Catalog, name: str) -> None:
        own = values_of(catalog, name)
        for value in dict.fromkeys(one for values in own for one in values):
            self._values.setdefault(normal(value), (name, value))
        for lang in [code for kind, code in catalog.text if kind == name]:
            for value, word in translated(catalog, name, lang):
                self._values.setdefault(normal(word), (name, value))

    def read(self, text: str) -> Said:
        """What a turn says."""
        parts, clauses = _Parts(), list(self._read(text))
        for clause in clauses:
            seen = _SEEN.search(clause.bare) is not None
            for hit in clause.hits:
                row = self._row(hit, text[clause.start : clause.stop])
                _put(parts, row, hit.value, clause.negated, clause.liking, seen)
        unwanted = tuple(dict.fromkeys(parts.unwanted))
        return Said(
            tuple(dict.fromkeys(parts.liked)),
            tuple(dict.fromkeys(parts.disliked)),
            tuple(dict.fromkeys(parts.seen)),
            tuple(value for value in dict.fromkeys(parts.wanted) if value not in unwanted),
            unwanted,
            _years(text),
            _INSTEAD.search(text) is not None,
            _AFRESH.search(text) is not None,
            _asked(text, clauses),
            tuple(dict.fromkeys([*_refused(clauses), *([] if self._years is not None else _year_words(text))])),
            tuple(dict.fromkeys(_wished(clauses))),
        )

    def _read(self, text: str) -> Iterator[_Clause]:
        """The clauses, and which of them a negation governs."""
        negated, liking = False, True
        for start, stop, goes_on in self._clauses(text):
            found = self._hits(text[start:stop])
            for first, last, hits in _pieces(text[start:stop], found):
                bare = _blanked(text[start + first : start + last], hits)
                own = _NOT.search(_NOT_MEANT.sub("", bare)) is not None
                if own or not (goes_on and first == 0) or not _LISTING.match(normal(bare)):
                    negated, liking = own, _FOND.search(bare) is not None or _SEEN.search(bare) is None
                yield _Clause(start + first, start + last, hits, bare, negated, liking)

    def _clauses(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Where each clause begins and ends, and whether it goes on after a comma; none is cut inside quotes."""
        quoted = [match.span() for match in _QUOTED.finditer(text)]
        start, goes_on = 0, False
        for match in _CLAUSE.finditer(text):
            if any(a <= match.start() < b for a, b in quoted):
                continue
            yield start, match.start(), goes_on
            start, goes_on = match.end(), set(match[0]) <= set(",，、")
        yield start, len(text), goes_on

    def _hits(self, clause: str) -> list[_Hit]:
        """Titles and values in order of place, none inside another; quoted titles first, then the longest."""
        found: list[_Hit] = []
        taken = bytearray(len(clause))  # letters of hits: a long turn is read once, not once a hit

        def put(hits: Sequence[_Hit]) -> None:
            for hit in hits:
                found.append(hit)
                taken[hit.start : hit.stop] = b"\1" * (hit.stop - hit.start)

        for match in _QUOTED.finditer(clause):
            if rows := self._titles.get(normal(match[1])):
                put([_Hit(*match.span(), tuple(rows))])
        spans = [match.span() for match in re.finditer(r"[^\W_]+(?:['’][^\W_]+)*", clause)]
        for size in range(min(LONGEST, len(spans)), 0, -1):
            for first in range(len(spans) - size + 1):
                start, stop = spans[first][0], spans[first + size - 1][1]
                if 1 not in taken[start:stop]:
                    put(self._lookup(clause, start, stop, size, first))
        if CJK.search(clause):
            for size in range(min(len(clause), 24), 1, -1):
                for start in range(len(clause) - size + 1):
                    if 1 not in taken[start : start + size]:
                        put(self._chinese(clause, start, start + size))
        return sorted(found, key=lambda hit: hit.start)

    def _lookup(self, clause: str, start: int, stop: int, size: int, first: int) -> list[_Hit]:
        words = clause[start:stop]
        key = normal(words)
        value = next((self._values[one] for one in _forms(key) if one in self._values), None)
        # one word is a title only where it is written as a name: "up" and "her" are words
        if (rows := self._titles.get(key)) and (size > 1 or (words[:1].isupper() and first > 0)):
            return [_Hit(start, stop, tuple(rows))]
        return [_Hit(start, stop, value=value)] if value is not None else []

    def _chinese(self, clause: str, start: int, stop: int) -> list[_Hit]:
        """Chinese has no borders between words: what is known of two letters or more, titles of three."""
        words = clause[start:stop]
        if not CJK.search(words):
            return []
        key = normal(words)
        if value := self._values.get(key):
            return [_Hit(start, stop, value=value)]
        rows = self._titles.get(key) if stop - start > 2 else None
        return [_Hit(start, stop, tuple(rows))] if rows else []

    def _row(self, hit: _Hit, clause: str) -> int:
        """The item of a hit; of equal titles the one whose year stands behind it, else the first. -1 = none."""
        if not hit.rows:
            return -1
        year = re.match(r"\s*\(?(\d{4})", clause[hit.stop :])
        if year and self._years is not None:
            return next((row for row in hit.rows if self._years[row] == float(year[1])), hit.rows[0])
        return hit.rows[0]


@lru_cache(maxsize=8)
def lexicon_of(catalog: Catalog) -> Lexicon:
    """The lexicon of a catalog, made once while the catalog is in use."""
    return Lexicon(catalog)


def pointed_at(text: str, n: int) -> list[int]:
    """Places, from 0, that a turn points to in a list of n: "the second one", "the last", "第三个"."""
    made = [place for place, words in enumerate(_ORDINALS) if re.search(rf"\b(?:{words})\b", text, re.IGNORECASE)]
    made += [_CHINESE.index(match[1]) for match in re.finditer(r"第([一二三四五六七八九十])", text)]
    made += [n - 1] if re.search(r"\bthe last (?:one|two)?\b|最后一", text, re.IGNORECASE) else []
    return [place for place in dict.fromkeys(made) if 0 <= place < n]


def _put(parts: _Parts, row: int, value: Value | None, negated: bool, liking: bool, seen: bool) -> None:
    if row >= 0:
        if negated and not seen:
            parts.disliked.append(row)
        elif liking:
            parts.liked.append(row)
        if seen:
            parts.seen.append(row)
    elif value is not None:
        (parts.unwanted if negated else parts.wanted).append(value)


def _pieces(clause: str, hits: Sequence[_Hit]) -> Iterator[tuple[int, int, list[_Hit]]]:
    """The clause cut where a refusal begins inside it, each piece with its hits as places in the piece."""
    cuts = [match.start() for match in _BUT_NOT.finditer(_blanked(clause, hits))]
    edges, starts = [0, *(cut for cut in cuts if cut), len(clause)], [hit.start for hit in hits]
    for first, last in pairwise(edges):
        own = hits[bisect_left(starts, first) : bisect_left(starts, last)]
        yield first, last, [replace(hit, start=hit.start - first, stop=hit.stop - first) for hit in own]


def _blanked(clause: str, hits: Sequence[_Hit]) -> str:
    """The clause with spaces where the hits are."""
    made, place = [], 0
    for hit in hits:
        made += [clause[place : hit.start], " " * (hit.stop - hit.start)]
        place = hit.stop
    return "".join([*made, clause[place:]])


def _asked(text: str, clauses: Sequence[_Clause]) -> str:
    """The turn without the clauses that a negation governs, each with the separator before it."""
    if not any(clause.negated for clause in clauses):
        return text
    made, stop = "", 0
    for clause in clauses:
        words = text[clause.start : clause.stop]
        if not clause.negated and re.search(r"\w", words):
            made += (text[stop : clause.start] if made else "") + words
        stop = clause.stop
    return made.strip()


def _refused(clauses: Sequence[_Clause]) -> Iterator[str]:
    """What negated clauses are about beside the values that the catalog knows."""
    for clause in clauses:
        own = list(_NOT.finditer(clause.bare))
        if not clause.negated or not own or _SEEN.search(clause.bare) or any(hit.rows for hit in clause.hits):
            continue
        after = own[-1].end()
        named = [(hit.start - after, hit.stop - after) for hit in clause.hits]
        found = phrases(clause.bare[after:], named)
        yield from found or (() if clause.hits else phrases(clause.bare[: own[0].start()]))


def _wished(clauses: Sequence[_Clause]) -> Iterator[str]:
    """What the other clauses are about that name nothing of the catalog and no years."""
    for clause in clauses:
        if not (clause.negated or clause.hits or _SEEN.search(clause.bare) or _years(clause.bare) != (0, 0)):
            yield from phrases(clause.bare)


def _year_words(text: str) -> list[str]:
    return [match[0] for pattern in (_DECADE, _EDGE) for match in pattern.finditer(text)]


def _forms(key: str) -> Iterator[str]:
    """A word as it stands and as one: "comedies" -> "comedy", "westerns" -> "western"."""
    yield key
    if key.endswith("ies"):
        yield key[:-3] + "y"
    for ending in ("es", "s"):
        if key.endswith(ending):
            yield key[: -len(ending)]


def _years(text: str) -> tuple[int, int]:
    """(first, last) year that is asked for, 0 = open: "the 90s" -> (1990, 1999), "after 2000" -> (2000, 0)."""
    first = last = 0
    if decade := _DECADE.search(text):
        century, tens = decade[1] or decade[3], int(decade[2] or decade[4])
        start = int(century or ("20" if tens < 30 else "19")) * 100 + tens
        first, last = start, start + 9
    for edge in _EDGE.finditer(text):
        year, up = int(edge[2] or edge[3]), (edge[1] or edge[4]).lower() in _UP
        upto = year if (edge[1] or "").lower() == "until" else year - 1
        first, last = (year, last) if up else (first, upto)
    return first, last
