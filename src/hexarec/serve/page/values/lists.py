"""A list as the page shows it: items as cards from the catalog, each with why it is there, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hexarec.core import Catalog
from hexarec.parts.attributes import value_words
from hexarec.parts.render import label, titles, value_text
from hexarec.serve.answering import Answered

MOST_FACTS = 4


@dataclass(frozen=True)
class Why:
    """One piece of evidence: its kind, the titles it points to, the shared value."""

    kind: str
    titles: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Card:
    """One item: from the catalog, whatever a model said of it. facts: (field, value) pairs."""

    id: str
    title: str
    text: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    rank: int | None = None
    score: float | None = None
    sources: tuple[str, ...] = ()
    reason: str = ""
    reason_status: str = ""
    why: tuple[Why, ...] = ()


@dataclass(frozen=True)
class Shown:
    """A list and what it cost. degraded: stage, method and why of what did not do its work."""

    cards: tuple[Card, ...]
    pipeline: str
    version: int
    degraded: tuple[Mapping[str, str], ...]
    seconds: float
    calls: int
    tokens: int
    dollars: float
    request_id: str


def cards_of(catalog: Catalog, items: Sequence[str], lang: str) -> list[Card]:
    """Cards of items by id, in their order; those that the catalog lacks are left out."""
    rows = [int(row) for row in catalog.rows(list(items)) if row >= 0]
    names, texts = titles(catalog, rows, lang), catalog.words("text", lang)
    return [
        Card(str(catalog.items.ids[row]), name, texts[row] or "", facts_of(catalog, row, lang))
        for row, name in zip(rows, names, strict=True)
    ]


def facts_of(catalog: Catalog, row: int, lang: str, most: int = MOST_FACTS) -> tuple[tuple[str, str], ...]:
    """The first attributes of an item that say something, in a language where they are written in it."""
    made = []
    for name, column in catalog.attributes.items():
        own = catalog.words(name, lang)[row] if (name, lang) in catalog.text else None
        if said := own or value_text(column[row]):
            made.append((label(name, lang), str(said)))
    return tuple(made[:most])


def shown(made: Answered, catalog: Catalog, lang: str) -> Shown:
    """An answer as the page shows it."""
    given = made.given
    placed = {card.id: card for card in cards_of(catalog, given.items, lang)}
    cards = []
    for i, item in enumerate(given.items):
        card = placed.get(item, Card(item, item))
        cards.append(_with(card, i, given, catalog, lang))
    return Shown(
        tuple(cards), given.pipeline, given.version, given.degraded, made.seconds, given.calls, given.tokens,
        given.dollars, made.request_id,
    )  # fmt: skip


def _with(card: Card, i: int, given: Any, catalog: Catalog, lang: str) -> Card:
    reason = given.reasons[i] if given.reasons else None
    sources = tuple(one for one in given.sources[i].split("+") if one) if given.sources else ()
    return Card(
        card.id, card.title, card.text, card.facts, i + 1, given.scores[i], sources,
        reason["text"] if reason else "", reason["status"] if reason else "",
        tuple(why_of(one, catalog, lang) for one in reason["evidence"]) if reason else (),
    )  # fmt: skip


def why_of(evidence: Mapping[str, Any], catalog: Catalog, lang: str) -> Why:
    """A piece of evidence as the page shows it."""
    rows = [int(row) for row in catalog.rows(list(evidence["items"])) if row >= 0]
    name, sign, value = str(evidence["detail"]).partition("=")
    detail = f"{label(name, lang)}{sign}{value_words(catalog, name, lang).get(value, value)}" if sign else name
    return Why(str(evidence["kind"]), tuple(titles(catalog, rows, lang)), detail)
