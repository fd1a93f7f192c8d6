"""Claims against fields: what a sentence says of items, and whether the catalog agrees.

Checked: years, attribute values (genres, people, countries, keywords), titles, and capitalised names. A value that no
item in question has, but another catalog item does, is a contradiction; a name the catalog does not know at all stays
unchecked. A careful caller shows only text whose every claim is supported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from hexarec.core import Catalog, Claim
from hexarec.parts.commonwords import common
from hexarec.parts.ground import Titles, first_word, normal, words_of

_YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")
_NAME = re.compile(r"[A-Z][\w'’-]+(?:\s+(?:(?:of|the|de|van|von|la)\s+)*[A-Z][\w'’-]*)*")
_SOMEBODY = re.compile(
    r"([A-Z][a-zà-ÿ]+)(?<!ing)(?<!ed)(?<!ous)(?<!ic)(?<!ful)(?<!ive)(?<!less)(?<!able)"  # no quality of a film
    r"(?:['’]s\b| (?:and|or|is|was|has|had|would|will|who)\b| ([a-z]{2,}s)\b)"
)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
CHECKED = ("genres", "director", "country", "keywords", "brand", "categories")


@lru_cache(maxsize=8)
def _vocabulary(catalog: Catalog) -> dict[str, set[int]]:
    """Normalised attribute value -> rows that have it."""
    out: dict[str, set[int]] = {}
    for name in CHECKED:
        for lang in {catalog.lang, *(code for field, code in catalog.text if field == name)}:
            column = catalog.text.get((name, lang))
            if column is None:
                column = catalog.attributes.get(name) if lang == catalog.lang else None
            for row, value in enumerate(column if column is not None else ()):
                values = value if isinstance(value, tuple) else re.split("[、,]", str(value)) if value else ()
                for one in values:
                    if key := normal(str(one)):
                        out.setdefault(key, set()).add(row)
    return out


@lru_cache(maxsize=8)
def _starts(catalog: Catalog) -> dict[str, list[str]]:
    """First word -> the values that begin with it."""
    out: dict[str, list[str]] = {}
    for value in _vocabulary(catalog):
        out.setdefault(first_word(value), []).append(value)
    return out


@lru_cache(maxsize=8)
def _titles(catalog: Catalog) -> Titles:
    words = [*catalog.titles.tolist()]
    for (field, _), column in catalog.text.items():
        if field == "title":
            words += [value or "" for value in column]
    return Titles(tuple(words))


def check(text: str, catalog: Catalog, rows: Sequence[int], said: str = "") -> tuple[Claim, ...]:
    """The claims a text makes about the items `rows`, each with its verdict, in order of kind.

    said: what was said or is known beside them; names in it are no invention.
    """
    mine = set(rows)
    own = {normal(str(catalog.words("title", lang)[row])) for row in mine for lang in ("en", "zh")}
    # years and titles inside what is true of the items claim nothing: "1900" in its own title, "alien" as a keyword
    mentioned = _mentioned(text, catalog)
    bare = _without(text, [title for title in mentioned if normal(title) in own])
    masked = _without(bare, _own_values(catalog, mine), exactly=True)
    others = [title for title in _mentioned(masked, catalog) if normal(title) not in own]
    claims = [_year(match[0], catalog, mine) for match in _YEAR.finditer(bare)]
    claims += [Claim(title, "supported") for title in mentioned if normal(title) in own]
    claims += [Claim(title, "contradicted") for title in others]
    rest = _without(bare, others)
    claims += _values(rest, catalog, mine)
    return tuple(dict.fromkeys(claims + _names(rest, catalog, mine, said)))


def _mentioned(text: str, catalog: Catalog) -> list[str]:
    """The titles a text mentions; one of common words, or a very short one ("M"), only where it stands as a title."""
    titles = _titles(catalog)
    return [
        title
        for title in (titles.options[place] for place in titles.mentions(text))
        if (_titled(text, title) if common(title) else len(normal(title)) >= 4 or title in text)
    ]


def _titled(text: str, title: str) -> bool:
    """Whether common words stand in quotes, or with capitals that the beginning of a sentence does not explain."""
    words = r"\W+".join(map(re.escape, re.findall(r"\w+", title)))
    if re.search(rf"[\"“‘'«「『《]{words}[.,!?]?[\"”’'»」』》]", text, re.IGNORECASE):
        return True
    return any(
        match[0][0].isupper() and (any(map(str.isupper, match[0][1:])) or not _begins(text[: match.start()]))
        for match in re.finditer(rf"(?<![A-Za-z0-9]){words}(?![A-Za-z0-9])", text, re.IGNORECASE)
    )


def _begins(before: str) -> bool:
    """Whether a sentence begins behind this text."""
    left = before.rstrip(" \"'“‘(")
    return not left or left[-1] in ".!?:\n"


def _own_values(catalog: Catalog, mine: set[int]) -> list[str]:
    """What the catalog says of the items, as it is spelled there, in every language."""
    values = [value for row in mine for value in _row_values(catalog, row)]
    for (field, _), column in catalog.text.items():
        if field in CHECKED:
            values += [one for row in mine for one in re.split("[、,]", str(column[row] or ""))]
    return [value for value in values if len(value) > 1]


def names(text: str, title: str) -> bool:
    """Whether a text names this title as whole words; a very short one, or one of common words, as it is spelled."""
    how = re.IGNORECASE if len(normal(title)) >= 4 and not common(title) else 0
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(title)}(?![A-Za-z0-9])", text, how) is not None


def sound(claims: Sequence[Claim]) -> bool:
    """Whether nothing in the claims is contradicted or unchecked."""
    return all(claim.verdict == "supported" for claim in claims)


def _year(year: str, catalog: Catalog, mine: set[int]) -> Claim:
    column = catalog.attributes.get("year")
    if column is None:
        return Claim(year, "unchecked")
    return Claim(year, "supported" if any(column[row] == float(year) for row in mine) else "contradicted")


def _without(text: str, words: Sequence[str], *, exactly: bool = False) -> str:
    """The text with these words blanked, longest first; exactly: only where their capitals agree."""
    for one in sorted(set(words), key=lambda word: (-len(word), word)):
        text = re.sub(
            rf"(?<![A-Za-z0-9]){re.escape(one)}(?![A-Za-z0-9])", " ", text, flags=0 if exactly else re.IGNORECASE
        )
    return text


def _values(text: str, catalog: Catalog, mine: set[int]) -> list[Claim]:
    words = f" {normal(text)} "
    known, starts = _vocabulary(catalog), _starts(catalog)
    said = {form for word in words_of(words) for form in (word, word.removesuffix("s"))}
    out = []
    # longest first, each match taken out: "martial arts" does not also claim "art"
    for value in sorted((value for word in said for value in starts.get(word, ())), key=lambda one: (-len(one), one)):
        rows = known[value]
        for form in (value,) if _CJK.search(value) else (f" {value} ", f" {value}s "):
            if form in words:
                words = words.replace(form, " | ")
                out.append(Claim(value, "supported" if rows & mine else "contradicted"))
                break
    return out


def _names(text: str, catalog: Catalog, mine: set[int], beside: str) -> list[Claim]:
    """Capitalised names; the first word of a sentence counts with a second capital, or where it does something."""
    known = _vocabulary(catalog)
    said = " ".join(
        f"{catalog.titles[row]} {catalog.texts[row]} {' '.join(map(str, _row_values(catalog, row)))}" for row in mine
    )
    have = f" {normal(said)} {normal(beside)} "
    out = []
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        for match in _NAME.finditer(sentence):
            whose = re.sub("['’]s$", "", match[0])
            name = normal(whose)
            ordinary = _begins(sentence[: match.start()]) and " " not in name and not _acts(sentence[match.start() :])
            if name in known or not name or ordinary or name in ("i", "you", "both", "because"):
                continue
            if f" {name} " not in have:
                out.append(Claim(whose, "unchecked"))
    return out


def _acts(sentence: str) -> bool:
    """Whether a sentence begins with a word that is no common one and is somebody: "Sarah loves", "Sarah's"."""
    found = _SOMEBODY.match(sentence)
    return found is not None and not common(found[1]) and (found[2] is None or common(found[2]))


def _row_values(catalog: Catalog, row: int) -> list[str]:
    values: list[str] = []
    for column in catalog.attributes.values():
        value = column[row]
        values += [str(v) for v in value] if isinstance(value, tuple) else [str(value)]
    return values
