"""How values of attributes are called in other languages: kept beside the items, and written into every catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hexarec.core import Catalog, strings
from hexarec.parts.attributes import value_words, values_of

NAME = "vocabulary"
"""Its place among the settings of a tenant."""
Vocabulary = Mapping[str, Mapping[str, Mapping[str, str]]]


def vocabulary_of(catalog: Catalog) -> Vocabulary:
    """Word by value, by language, by attribute: of the attributes that a catalog has in other languages."""
    made: dict[str, dict[str, Mapping[str, str]]] = {}
    for attribute, lang in catalog.text:
        if attribute in catalog.attributes:
            made.setdefault(attribute, {})[lang] = value_words(catalog, attribute, lang)
    return made


def with_vocabulary(catalog: Catalog, vocabulary: Mapping[str, Any]) -> Catalog:
    """The catalog with these attributes in these languages; an item with a value that has no word keeps its own."""
    for attribute, langs in vocabulary.items():
        if attribute in catalog.attributes:
            cells = values_of(catalog, attribute)
            for lang, words in langs.items():
                texts = [_joined(cell, words, lang) for cell in cells]
                catalog = catalog.with_text(attribute, lang, strings(texts), {"maker": "data"})
    return catalog


def _joined(values: list[str], words: Mapping[str, str], lang: str) -> str | None:
    if not values or not all(value in words for value in values):
        return None
    return ("、" if lang.startswith("zh") else ", ").join(words[value] for value in values)
