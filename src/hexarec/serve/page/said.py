"""Sentences of the package in the language of the page.

Findings, reasons of refused rows and what degraded are written in English where they arise, and stay English in the
terminal, the API and what is stored. The words files hold each of them under `said`: in en.toml its English pattern,
whose places are its values, in zh.toml the same sentence in Chinese.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hexarec.parts.said import CJK
from hexarec.serve.page.words import word, words_of

PREFIX = "said."
PHASE = "phase."
LONGEST = 1_000
"""Letters of a text that is looked at; a longer one is no sentence of ours."""
COUNTS = frozenset({"n", "all"})
"""Places that hold a count."""
_PLACE = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Keys and what their English sentences look like: those with most letters of their own first."""
    found = [(key, text) for key, text in words_of("en").items() if key.startswith(PREFIX)]
    found.sort(key=lambda one: -len(_PLACE.sub("", one[1])))
    return [(key, re.compile(_pattern(text), re.DOTALL)) for key, text in found]


def _pattern(text: str) -> str:
    parts = _PLACE.split(text)
    return "".join(_place(part) if at % 2 else re.escape(part) for at, part in enumerate(parts))


def _place(name: str) -> str:
    return rf"(?P<{name}>[\d,.]+)" if name in COUNTS else f"(?P<{name}>.+?)"


def heard(text: str) -> tuple[str, dict[str, str]] | None:
    """The key and the values of an English sentence of the package; None for another text."""
    if len(text) > LONGEST:
        return None
    for key, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return key, found.groupdict()
    return None


def said(lang: str, text: str) -> str | None:
    """The sentence in a language, and its values where they are sentences; None where nobody wrote it down.

    What is no English sentence of the package but written in Chinese letters stays as it is.
    """
    if lang == "en":
        return text
    found = heard(text)
    if found is None:
        return text if CJK.search(text) else None
    key, values = found
    return word(lang, key, **{name: said(lang, value) or value for name, value in values.items()})


def phase(lang: str, label: str) -> str:
    """What a job is at, in a language; what is no phase of ours may be anybody's name, and stays as it is."""
    return words_of(lang).get(PHASE + label, label)
