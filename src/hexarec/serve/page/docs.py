"""What docstrings say of methods and their options, in the language of the page.

The docstrings are the English. `words/methods.zh.toml` holds the Chinese, each under its name and a digest of the
English that it was written from: when that changes, the translation no longer counts, and the text is English until
somebody writes it anew. `tests/page/test_docs.py` names what is to be written.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

LETTERS = 6
"""Hexadecimal letters of a digest."""


def key_of(name: str, text: str) -> str:
    """The key of the translation of a text: what it is about, and the digest of its English."""
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:LETTERS]}"


@lru_cache
def translations(lang: str) -> Mapping[str, Mapping[str, str]]:
    """All of a language, by kind (idea, differs, cost, option, engine) and key; English has none."""
    path = resources.files("hexarec.serve.page") / "words" / f"methods.{lang}.toml"
    found: Mapping[str, Mapping[str, str]] = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def in_language(lang: str, kind: str, name: str, text: str) -> str | None:
    """The text in a language; None where nobody wrote it, or the English changed since."""
    if lang == "en" or not text:
        return text
    return translations(lang)[kind].get(key_of(name, text))
