"""Every visible word of the page by key, in English and Chinese, and which of the two somebody reads."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from starlette.requests import Request

COOKIE = "hexarec_lang"
LANGUAGES: dict[str, str] = {"en": "English", "zh": "中文"}


@lru_cache
def words_of(lang: str) -> Mapping[str, str]:
    """The words of a language by key: table and name, joined by a dot."""
    text = (resources.files("hexarec.serve.page") / "words" / f"{lang}.toml").read_text("utf-8")
    return dict(_flat(tomllib.loads(text), ""))


def _flat(table: Mapping[str, Any], before: str) -> list[tuple[str, str]]:
    made: list[tuple[str, str]] = []
    for name, value in table.items():
        key = f"{before}{name}"
        made += _flat(value, f"{key}.") if isinstance(value, Mapping) else [(key, str(value))]
    return made


def word(lang: str, key: str, /, **values: object) -> str:
    """The word of a key, with values in its {places}. Raises KeyError for a key, or a place, that nobody filled."""
    text = words_of(lang)[key]
    return text.format_map(values) if values else text


def language_of(request: Request) -> str:
    """The language somebody chose, else the first of their browser's that there is, else English."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in LANGUAGES else _accepted(request.headers.get("accept-language", ""))


def _accepted(header: str) -> str:
    wanted: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            wanted.append((-float(weight or 1.0), name.split("-")[0].lower()))
        except ValueError:
            continue
    return next((name for weight, name in sorted(wanted, key=lambda one: one[0]) if name in LANGUAGES), "en")
