"""What supports a shown item: the liked history item it shares most with, and the values both have, rarest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._together import ENOUGH, Together
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
    together_: Any
    many_: NDArray[np.bool_]


def values_of(catalog: Catalog, row: int, fields: Sequence[str]) -> list[str]:
    """The attribute values of an item as `field=value`, in the order of the fields."""
    out: list[str] = []
    for name in fields:
        column = catalog.attributes.get(name)
        value = None if column is None else column[row]
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        out += [f"{name}={one}" for one in values]
    return out


def rarities(catalog: Catalog, fields: Sequence[str]) -> dict[str, float]:
    """log(items / items with the value) of every attribute value, by `field=value`."""
    counts: dict[str, int] = {}
    for row in range(len(catalog)):
        for value in values_of(catalog, row, fields):
            counts[value] = counts.get(value, 0) + 1
    return {value: float(np.log(max(len(catalog), 2) / n)) for value, n in sorted(counts.items())}


def evidence_for(queries: Queries, i: int, items: NDArray[Any], how: Weighs) -> list[Grounds]:
    """For each item shown to question i the history item that supports it, and up to `most` shared values.

    An item is no ground for itself. Where none shares a value, it is one that others liked as well as the shown item;
    without such the one ground is popularity, and of an item that few liked there is none.
    """
    liked = liked_past(queries, i)
    past, met = liked[-how.last :], set(liked)
    own = {row: set(values_of(queries.catalog, row, how.fields)) for row in past}
    together = Together(getattr(how, "together_", None), past[::-1])  # one saved earlier has no table
    return [
        _shares(own, past, int(item), set(values_of(queries.catalog, int(item), how.fields)), how)
        or _liked(together, int(item), ENOUGH if int(item) in met else 1, how)
        for item in items
    ]


def liked_past(queries: Queries, i: int) -> list[int]:
    """What question i's user liked, oldest first."""
    part = slice(*queries.history.offsets[i : i + 2])
    liked: list[int] = queries.history.item[part][queries.history.liked[part]].tolist()
    return liked


def _liked(together: Together, item: int, least: int, how: Weighs) -> Grounds:
    """What others have to do with it. least: users, more than one where the user who asks is one of them."""
    if (row := together.first(item, least)) >= 0:
        return (Evidence("history", (row,)),)
    many = getattr(how, "many_", ())
    return (Evidence("popularity"),) if item < len(many) and many[item] else ()


def _shares(own: Mapping[int, set[str]], past: Sequence[int], item: int, values: set[str], how: Weighs) -> Grounds:
    def rarity(value: str) -> float:
        return how.rarity_.get(value, 0.0)

    # newest first, so that among equals the freshest memory is named
    others = [row for row in reversed(past) if row != item and own[row] & values]
    if not others:
        return ()
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


def first_sentence(text: str) -> str:
    """The first full sentence of an answer, "" when it has none."""
    line = next((line.strip().strip('"“”') for line in text.splitlines() if line.strip()), "")
    for place, letter in enumerate(line):
        if letter in "。！？" or (letter in ".!?" and line[place + 1 : place + 2] in ("", " ")):
            return line[: place + 1]
    return ""
