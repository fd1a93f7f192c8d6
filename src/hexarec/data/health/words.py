"""Findings about words: coverage, languages, repeated titles, and strings that look like personal data."""

from __future__ import annotations

from typing import Any

import numpy as np

from hexarec.core import Dataset
from hexarec.data.columns import SCRIPTS, script_shares
from hexarec.data.health.findings import Finding, finding

EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]*[A-Za-z]"
PHONE = r"(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)|\b\d{2,4})[ .-]\d{3,4}[ .-]?\d{3,4}\b"
SAMPLE = 200_000
_NAMES = {"en": "Latin", "zh": "Han", "ja": "Japanese", "ko": "Hangul", "ar": "Arabic", "ru": "Cyrillic",
          "hi": "Devanagari", "he": "Hebrew", "el": "Greek", "th": "Thai"}  # fmt: skip


def findings(data: Dataset) -> list[Finding]:
    """All findings about words."""
    if not len(data.catalog):
        return [Finding("items", "bad", 0, "There are no items.", "Import an item table.")]
    return [*_coverage(data), *_languages(data), _same_titles(data), *_private(data)]


def _share(column: Any) -> float:
    return float(np.fromiter((bool(one) for one in column), bool, count=len(column)).mean())


def _coverage(data: Dataset) -> list[Finding]:
    catalog = data.catalog
    titled, described = _share(catalog.titles), _share(catalog.texts)
    made = [
        finding("titles", 1 - titled, f"{titled:.1%} of the items have a title.",
                "A language model can say nothing about an item without a name: import an item table.",
                warn=0.05, bad=0.5),
        finding("texts", 1 - described, f"{described:.1%} of the items have a description.",
                "Methods that read descriptions fall back to titles; an enricher can write some.", warn=0.5),
    ]  # fmt: skip
    for (kind, lang), column in catalog.text.items():
        share = _share(column)
        made.append(finding(f"{kind} in {lang}", share, f"{share:.1%} of the items have a {kind} in {lang!r}."))
    return made


def _languages(data: Dataset) -> list[Finding]:
    shares = script_shares(data.catalog.titles[:SAMPLE])
    if not shares:
        return []
    said = ", ".join(f"{_NAMES[code]} {share:.1%}" for code, share in shares.items())
    first = next(iter(shares))
    known = data.catalog.lang if data.catalog.lang in SCRIPTS else "en"
    odd = 1.0 - shares.get(known, 0.0)
    return [
        finding("scripts", odd, f"Titles are written in: {said}; the catalog says {data.catalog.lang!r}.",
                f"If most titles are {_NAMES[first]}, say so, so that prompts use that language.", warn=0.5),
    ]  # fmt: skip


def _same_titles(data: Dataset) -> Finding:
    titles = [str(one).casefold() for one in data.catalog.titles if one]
    again = len(titles) - len(set(titles))
    return finding(
        "same titles", again, f"{again:,} items have the title of another one.",
        "Answers by title cannot tell them apart; add a year or an author to the title.", warn=1,
    )  # fmt: skip


def _private(data: Dataset) -> list[Finding]:
    """How many texts hold something like an e-mail address or a phone number, items and events apart."""
    made = []
    catalog = data.catalog
    places: dict[str, Any] = {"item": [*catalog.titles, *catalog.texts]}
    if data.interactions.text is not None:
        places["event"] = data.interactions.text[:SAMPLE]
    for what, column in places.items():
        mails, phones = _matches(column, EMAIL), _matches(column, PHONE)
        sentence = (
            f"{mails:,} {what} texts hold something like an e-mail address, {phones:,} something like a phone number."
        )
        mend = "Remove personal data before it reaches a prompt or an index."
        made.append(finding(f"personal data in {what}s", mails + phones, sentence, mend, warn=1))
    return made


def _matches(column: Any, pattern: str) -> int:
    import polars as pl

    series = pl.Series("t", list(column), dtype=pl.String)
    return int(series.str.contains(pattern).fill_null(False).sum())
