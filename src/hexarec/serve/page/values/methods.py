"""What the pages of methods show: the grid, and one method with its options, in the language of the page."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hexarec.core import Card
from hexarec.core.cards import MODEL_NEEDS
from hexarec.lm.base import CAPABILITIES
from hexarec.pipeline.build import cards
from hexarec.pipeline.described import options_of, paragraphs, type_said
from hexarec.pipeline.grid import table
from hexarec.serve.jobs.allowed import ENCODERS
from hexarec.serve.page.docs import in_language
from hexarec.serve.page.words import word, words_of

ARXIV = re.compile(r"(?:arXiv:)?(\d{4}\.\d{4,5})")
TOLD = ("idea", "differs", "cost")
"""Paragraphs of a module that the page shows."""
ONE_OF = "one of "
"""How `type_said` begins for the values of a Literal."""


@dataclass(frozen=True)
class Row:
    """A method in a table: its title in the language of the page."""

    card: Card
    title: str


@dataclass(frozen=True)
class Said:
    """A text of the package in the language of the page; english where it is English on a page of another one."""

    text: str
    english: bool = False


@dataclass(frozen=True)
class Need:
    """Something a method needs. kind: data, model or package; said: the engines that have it, or the command."""

    name: str
    kind: str
    said: Said = Said("")


@dataclass(frozen=True)
class Option:
    """One option. default: "required" where it has none."""

    name: str
    type: str
    default: str
    doc: Said


@dataclass(frozen=True)
class Method:
    """One method. said: what its module says of idea, differs and cost; options: rows of text with their doc; arxiv:
    ids in its citation."""

    card: Card
    title: str
    said: Mapping[str, Said]
    doc: str
    arxiv: tuple[str, ...]
    needs: tuple[Need, ...]
    trains: bool
    options: tuple[Option, ...]


def titled(name: str, lang: str) -> str:
    """The title of a method in a language; that of its card where the words have none."""
    return words_of(lang).get(f"methods.title.{name}", cards()[name].title)


def spoken() -> frozenset[str]:
    """The methods of which the words say when to use them."""
    return frozenset(key.removeprefix("methods.when.") for key in words_of("en") if key.startswith("methods.when."))


def rows(lang: str) -> list[Row]:
    """All methods, baselines and combinators."""
    return [Row(card, titled(name, lang)) for name, card in cards().items()]


def grid() -> tuple[list[str], list[Any]]:
    """The stages, and a line of cells for each paradigm."""
    return table()


def method_of(card: Card, lang: str) -> Method:
    """Everything about one method."""
    cls = card.load()
    docs = paragraphs(cls)
    said = {kind: _said(lang, kind, card.name, _plain(docs.get(kind.capitalize(), ""))) for kind in TOLD}
    doc = _plain(" ".join((cls.__doc__ or "").split("\n\n")[0].split()))
    found = tuple(dict.fromkeys(ARXIV.findall(card.paper))) if "arXiv" in card.paper else ()
    options = tuple(_option(one, lang) for one in options_said(cls))
    return Method(
        card, titled(card.name, lang), said, doc, found, tuple(_needs(card, lang)), "torch" in card.needs, options
    )


def _said(lang: str, kind: str, name: str, text: str) -> Said:
    own = in_language(lang, kind, name, text)
    return Said(text, english=True) if own is None else Said(own)


def _option(row: Mapping[str, str], lang: str) -> Option:
    kind, values = row["type"], row["type"].removeprefix(ONE_OF)
    if values != kind:
        kind = word(lang, "methods.type_of", values=values)
    return Option(row["name"], kind, row["default"], _said(lang, "option", row["name"], row["doc"]))


@lru_cache(maxsize=256)
def options_said(cls: type) -> tuple[Mapping[str, str], ...]:
    """The rows of `options_of` with types for readers; the source of a class is read once."""
    hints = typing.get_type_hints(cls)
    return tuple(
        {**one, "type": type_said(hints[one["name"]], one["type"]), "doc": _plain(one["doc"])}
        for one in options_of(cls)
    )


def _plain(text: str) -> str:
    """A docstring's text without the marks of code."""
    return text.replace("`", "")


def _needs(card: Card, lang: str) -> list[Need]:
    made = []
    for name in sorted(card.needs):
        if name == "torch":
            made.append(Need(name, "package", Said('pip install "hexarec[train]"')))
        elif name == "encoder":
            made.append(Need(name, "model", Said(", ".join(ENCODERS[:2]))))
        elif name in MODEL_NEEDS:
            made.append(Need(name, "model", _said(lang, "engine", name, CAPABILITIES[name])))
        else:
            made.append(Need(name, "data"))
    return made
