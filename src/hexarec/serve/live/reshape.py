"""A list drawn anew under other wishes, by the controllers of the library and without any stage before them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hexarec.classic import MMR, LongTail, PlackettLuce
from hexarec.core import Catalog, Lists, OptionError, variant
from hexarec.serve.live.asks import Ask, queries_of
from hexarec.serve.live.generation import Generation

_LIKENESS: WeakKeyDictionary[Generation, MMR] = WeakKeyDictionary()

LIMIT = 2.0
"""Weight of popularity, or of novelty, at 1: then it counts twice as much as the place in the list."""


@dataclass(frozen=True)
class Wishes:
    """How a list should be, each from 0 (as it is) to 1. Raises OptionError for anything else.

    diversity: 1 - share of `MMR`; novelty, popularity: weights of `LongTail`, up to LIMIT; exploration: temperature of
    `PlackettLuce`, drawn with a fixed seed.
    """

    diversity: float = 0.0
    novelty: float = 0.0
    popularity: float = 0.0
    exploration: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value <= 1.0:
                raise OptionError(f"{name} is {value}", hint="0 to 1")

    @property
    def any(self) -> bool:
        """Whether anything is wished."""
        return any(vars(self).values())


def reshaped(
    generation: Generation, items: Sequence[str], wishes: Wishes, k: int, lang: str | None = None
) -> list[str]:
    """At most k of the items, given best first, as the wishes want them. Unknown items are left out."""
    catalog = generation.catalog
    rows = [row for row in dict.fromkeys(catalog.rows(list(items)).tolist()) if row >= 0 and catalog.alive[row]]
    places = 1.0 - np.arange(len(rows)) / max(len(rows), 1)
    lists = Lists.of(catalog.key, [rows], [places.tolist()])
    queries = queries_of(catalog, [Ask(lang=lang, seen=True)], [[]], time.time(), generation.like)
    for stage in stages_for(generation, wishes):
        lists = stage.control(queries, lists, len(rows))
    return list(catalog.ids(lists.items[:k]))


def stages_for(generation: Generation, wishes: Wishes) -> list[Any]:
    """The controllers that fulfil the wishes, in their order; none for a wish of 0."""
    made: list[Any] = []
    if wishes.novelty or wishes.popularity:
        standby = generation.standby
        counts = np.zeros(len(generation.catalog), np.float32)
        counts[standby.order] = standby.counts
        made.append(LongTail(LIMIT * wishes.popularity, LIMIT * wishes.novelty).over(generation.catalog.key, counts))
    if wishes.diversity and (likeness := likeness_of(generation)) is not None:
        made.append(variant(likeness, share=1.0 - wishes.diversity))
    if wishes.exploration:
        made.append(PlackettLuce(wishes.exploration).fit(generation.pipeline.data))
    return made


def likeness_of(generation: Generation) -> MMR | None:
    """The pipeline's own measure of likeness, else values of an attribute that items share; None with neither."""
    own = next((one for one in generation.pipeline.control_ if isinstance(one, MMR)), None)
    if own is not None:
        return own
    if generation not in _LIKENESS and (name := _shared_attribute(generation.catalog)):
        _LIKENESS[generation] = MMR(by="attribute", name=name).fit(generation.pipeline.data)
    return _LIKENESS.get(generation)


def _shared_attribute(catalog: Catalog) -> str:
    """The first attribute with several values an item, as genres; "" without one."""
    for name, column in catalog.attributes.items():
        if any(isinstance(value, tuple | list) and value for value in column[:200]):
            return name
    return ""
