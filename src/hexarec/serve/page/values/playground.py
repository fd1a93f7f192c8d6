"""What the playground shows of a question: lists of one or two pipelines, how each came about, and what moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hexarec.core import Catalog
from hexarec.serve.answering import Answered
from hexarec.serve.live.generation import Generation
from hexarec.serve.live.reshape import Wishes, likeness_of, reshaped
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.values.lists import Card, Shown, cards_of, shown
from hexarec.serve.page.values.waterfall import (
    Move,
    Overlap,
    Stage,
    candidates_of,
    moves_of,
    names_of,
    overlap_of,
    stages_of,
)

LENGTH = 10
MOST_CANDIDATES = 100
"""Candidates that the page hands to the sliders."""
SLIDERS = ("diversity", "novelty", "popularity", "exploration")


@dataclass(frozen=True)
class Choice:
    """A pipeline that can be picked: its name and its stages."""

    name: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Missed:
    """A line of a pasted history that names no item, and titles near it."""

    words: str
    near: tuple[str, ...]


@dataclass(frozen=True)
class Asking:
    """What was asked: whom for, which pipelines, how the sliders stand."""

    user: str = ""
    past: str = ""
    pipeline: str = ""
    other: str = ""
    wishes: Wishes = Wishes()

    @property
    def somebody(self) -> bool:
        """Whether anybody is named."""
        return bool(self.user.strip() or self.past.strip())


@dataclass(frozen=True)
class Run:
    """What one pipeline gave. cards: as the sliders want them; moves: of its places, by item id."""

    list: Shown
    stages: tuple[Stage, ...]
    overlap: Overlap | None
    moves: Mapping[str, Move]
    cards: tuple[Card, ...]
    gone: tuple[Move, ...]
    candidates: tuple[str, ...]
    base: tuple[str, ...]
    likeness: str

    @property
    def calls(self) -> int:
        """Requests to models, of all stages."""
        return sum(one.calls for one in self.stages)


@dataclass(frozen=True)
class Played:
    """The answer to an `Asking`: past: items that were found in what was pasted; runs: one, or two side by side."""

    asking: Asking
    past: tuple[Card, ...] = ()
    missed: tuple[Missed, ...] = ()
    runs: tuple[Run, ...] = ()


def choices(tenant: Tenant) -> list[Choice]:
    """The pipelines in service."""
    return [Choice(name, tuple(names_of(one.current.pipeline))) for name, one in sorted(tenant.served.items())]


def run_of(made: Answered, generation: Generation, wishes: Wishes, lang: str, against: Sequence[str] | None) -> Run:
    """An answer with its whole trace as the page shows it. against: the list that its moves are told from."""
    catalog = generation.catalog
    told = shown(made, catalog, lang)
    base, candidates = list(made.given.items), candidates_of(made.given)[:MOST_CANDIDATES]
    items = reshaped(generation, candidates, wishes, LENGTH, lang) if wishes.any else base
    moves = moves_of(base if against is None else against, items, catalog, lang, LENGTH)
    return Run(
        told, tuple(stages_of(made.given, generation.pipeline, catalog, lang, LENGTH)), overlap_of(made.given),
        by_item(items, moves), reordered(told.cards, items, catalog, lang),
        tuple(one for one in moves if one.kind == "gone"), tuple(candidates), tuple(base), likeness_said(generation),
    )  # fmt: skip


def by_item(items: Sequence[str], moves: Sequence[Move]) -> dict[str, Move]:
    """The moves of items that are in the list."""
    return dict(zip(items, [one for one in moves if one.kind != "gone"], strict=True))


def reordered(cards: Sequence[Card], items: Sequence[str], catalog: Catalog, lang: str) -> tuple[Card, ...]:
    """Cards of the items in this order: with reasons where the pipeline gave one, of the catalog alone else."""
    known = {card.id: card for card in cards}
    fresh = {card.id: card for card in cards_of(catalog, [one for one in items if one not in known], lang)}
    return tuple(replace({**fresh, **known}[item], rank=place) for place, item in enumerate(items, 1))


def likeness_said(generation: Generation) -> str:
    """By what the diversity slider calls two items alike: log, attribute NAME, feature NAME; "" for by nothing."""
    stage = likeness_of(generation)
    if stage is None:
        return ""
    return "log" if stage.by == "log" else stage.name
