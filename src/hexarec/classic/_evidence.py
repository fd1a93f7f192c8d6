"""What supports a shown item: the liked history item it shares most with, and the values both have, rarest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from hexarec.core import Catalog, Evidence, Queries
from hexarec.parts.attributes import value_words
from hexarec.parts.ground import normal
from hexarec.parts.render import label
from hexarec.parts.said import CJK

Grounds = tuple[Evidence, ...]


class Weighs(Protocol):
    """What says which attributes count, and how much."""

    fields: Sequence[str]
    last: int
    most: int
    rarity_: dict[str, float]


def values_of(catalog: Catalog, row: int, fields: Sequence[str]) -> list[str]:
    """The attribute values of an item as `field=value`, in the order of the fields."""
    out: list[str] = []
    for name in fields:
        column = catalog.attributes.get(name)
        value = None if column is None else column[row]
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        out += [f"{name}={one}" for one in values]
    return out


def evidence_for(queries: Queries, i: int, items: NDArray[Any], how: Weighs) -> list[Grounds]:
    """For each item shown to question i the history item that supports it, and up to `most` shared values.

    An item is no ground for itself. Without another that was liked the one ground is popularity.
    """
    part = slice(*queries.history.offsets[i : i + 2])
    past = queries.history.item[part][queries.history.liked[part]][-how.last :].tolist()
    own = {row: set(values_of(queries.catalog, row, how.fields)) for row in past}
    return [
        _grounds(own, past, int(item), set(values_of(queries.catalog, int(item), how.fields)), how) for item in items
    ]


def _grounds(own: Mapping[int, set[str]], past: Sequence[int], item: int, values: set[str], how: Weighs) -> Grounds:
    def rarity(value: str) -> float:
        return how.rarity_.get(value, 0.0)

    others = [row for row in reversed(past) if row != item]
    if not others:
        return (Evidence("popularity"),)
    # newest first, so that among equals the freshest memory is named
    support = max(others, key=lambda row: sum(map(rarity, sorted(own[row] & values))))
    shared = sorted(own[support] & values, key=lambda value: (-rarity(value), value))[: how.most]
    made = [Evidence("attribute", (support, item), value) for value in shared]
    return (Evidence("history", (support,)), *made)


def _shared(evidence: Grounds, catalog: Catalog, lang: str) -> list[tuple[str, str, str]]:
    """(field, value, word in a language) of what is shared."""
    pairs = [tuple(one.detail.split("=", 1)) for one in evidence if one.kind == "attribute"]
    return [(name, value, value_words(catalog, name, lang).get(value, value)) for name, value in pairs]


def shared_words(evidence: Grounds, catalog: Catalog, lang: str) -> str:
    """The shared values as words, grouped by field: "director Ridley Scott, genres Horror"."""
    by_field: dict[str, list[str]] = {}
    for name, _, word in _shared(evidence, catalog, lang):
        by_field.setdefault(name, []).append(word)
    joined = "、" if lang.startswith("zh") else ", "
    return joined.join(f"{label(name, lang)} {joined.join(values)}" for name, values in by_field.items())


def says_shared(text: str, evidence: Grounds, catalog: Catalog, lang: str) -> bool:
    """Whether a sentence states one of the shared values; one that does not gives no reason."""
    shared = {normal(word) for _, *both in _shared(evidence, catalog, lang) for word in both}
    said = f" {normal(text)} "
    return any(f" {one} " in said or f" {one}s " in said or (CJK.search(one) and one in said) for one in shared)
