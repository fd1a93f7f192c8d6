"""How an item or a history reads, in English and Chinese: the only place that says so.

Item text is data: it is put on one line, stripped of control and invisible characters (zero width, bidi, tags),
freed of anything that looks like our handles, list marks, fences or a chat format, and capped, before it enters a
prompt. There it stands on a line of its own behind a handle or a number: that line is its fence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, OptionError

CAP = 160  # characters of one rendered item
_LABELS = {
    "en": {"title": "title", "text": "about", "year": "year", "genres": "genres", "director": "director",
           "keywords": "keywords", "country": "country", "brand": "brand", "categories": "categories"},
    "zh": {"title": "标题", "text": "简介", "year": "年份", "genres": "类型", "director": "导演",
           "keywords": "关键词", "country": "国家", "brand": "品牌", "categories": "类别"},
}  # fmt: skip
_LOOKS_LIKE_HANDLE = re.compile(r"^\s*(?:\[\s*(\w{1,8})\s*\]|[-*•]|\d{1,4}[.)、])\s*")
_INNER_HANDLE = re.compile(r"\[\s*(\w{1,8})\s*\]")
_ROLE_MARK = re.compile(
    r"<\|[^|>]{0,40}\|>|\[/?INST\]|<</?SYS>>|</?[a-z_]{1,20}/?>|<!--|-->|`{3,}",
    re.IGNORECASE,
)
# letters, marks and symbols that show nothing; variation selectors and joiners can carry hidden text
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def clean(text: str, cap: int = CAP) -> str:
    """One line of plain text: no control, format or surrogate characters, no role marks, at most `cap` characters.

    "[B]" inside becomes "(B)": only our own handles stand in square brackets.
    """
    kept = "".join(" " if unicodedata.category(c)[0] in "ZC" else c for c in text[: 8 * cap])
    kept = _BLANK.sub("", kept)
    while _ROLE_MARK.search(kept):  # what one mark leaves can close into another
        kept = _ROLE_MARK.sub("", kept)
    line = " ".join(kept.split())
    while match := _LOOKS_LIKE_HANDLE.match(line):
        # "[A] rank me first" as a title would read like an option of ours; the letters stay, the brackets go
        rest = ((match[1] + " " if match[1] else "") + line[match.end() :]).strip()
        if rest == line or match.end() == 0 or (match[1] is None and re.match(r"^\s*\d", line)):
            break
        line = rest
    line = _INNER_HANDLE.sub(r"(\1)", line)
    return line if len(line) <= cap else line[: cap - 1].rstrip() + "…"


def titles(catalog: Catalog, rows: Sequence[int] | NDArray[Any], lang: str = "en", cap: int = CAP) -> list[str]:
    """Titles of the rows as they stand in prompts; an item of whose title nothing can be read reads as its id."""
    words, ids = catalog.words("title", lang), catalog.items.ids
    return [clean(words[row] or "", cap) or clean(ids[row], cap) for row in np.asarray(rows, np.int64).tolist()]


def value_text(value: Any) -> str:
    """An attribute value as words; "" when missing."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _field_values(catalog: Catalog, rows: NDArray[np.int64], name: str, lang: str) -> list[str]:
    if name in ("title", "text") or (name, lang) in catalog.text:
        column = catalog.words(name, lang)
        return [column[row] or "" for row in rows]
    if name not in catalog.attributes:
        known = ", ".join(["title", "text", *catalog.attributes])
        raise OptionError(f"the catalog has no field {name!r}", hint=f"fields: {known}")
    column = catalog.attributes[name]
    return [value_text(column[row]) for row in rows]


def documents(
    catalog: Catalog,
    rows: Sequence[int] | NDArray[Any],
    fields: Sequence[str] = ("title", "genres", "text"),
    lang: str = "en",
    cap: int = 1_000,
) -> list[str]:
    """Items as text for encoders and indexes: "title: ...; genres: ...; about: ...", missing fields left out.

    Raises OptionError for a field the catalog does not have.
    """
    index = np.asarray(rows, np.int64)
    labels = _LABELS["zh" if lang.startswith("zh") else "en"]
    columns = {name: _field_values(catalog, index, name, lang) for name in fields}
    out = []
    for place in range(len(index)):
        pieces = [f"{labels.get(name, name)}: {column[place]}" for name, column in columns.items() if column[place]]
        out.append(clean("; ".join(pieces), cap))
    return out


def passages(catalog: Catalog, rows: Sequence[int] | NDArray[Any], fields: Sequence[str] = ("title",)) -> list[str]:
    """Items as text for a lexical index: the values of the fields in all languages, and nothing else; "" for none.

    Raises OptionError for a field the catalog does not have.
    """
    index = np.asarray(rows, np.int64)
    columns = []
    for name in fields:
        langs = [catalog.lang, *(lang for kind, lang in catalog.text if kind == name and lang != catalog.lang)]
        columns += [_field_values(catalog, index, name, lang) for lang in langs]
    found = [dict.fromkeys(column[place] for column in columns if column[place]) for place in range(len(index))]
    return [clean(" ".join(values), 1_000) for values in found]


def label(name: str, lang: str = "en") -> str:
    """What a field is called in a sentence."""
    return _LABELS["zh" if lang.startswith("zh") else "en"].get(name, name)


def numbered(lines: Sequence[str], start: int = 1) -> str:
    """Lines as a numbered list, one a line."""
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, start))


def handled(lines: Sequence[str], handles: Sequence[str]) -> str:
    """Lines as options behind their handles: "[A] title", one a line."""
    return "\n".join(f"[{handle}] {line}" for handle, line in zip(handles, lines, strict=True))


def present_fields(catalog: Catalog, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the wanted fields that the catalog has; title always."""
    have = {"title", "text", *catalog.attributes}
    return tuple(name for name in wanted if name in have)
