"""One protocol per stage, batch first. Any object with the method qualifies; there is no base class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hexarec.core.catalog import Catalog, Item
from hexarec.core.dataset import Dataset, Graph
from hexarec.core.exposures import Exposures
from hexarec.core.lists import Lists
from hexarec.core.queries import Queries

if TYPE_CHECKING:
    from hexarec.core.words import Answer, Dialogue, Reasons, Reply

Vectors = NDArray[np.float32]


@runtime_checkable
class Fitted(Protocol):
    """Learns from a data set; `fit` fills this object and returns it. Equal data and seed give equal state."""

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn; everything learned stands in attributes ending in `_`."""


@runtime_checkable
class Extends(Protocol):
    """Serves items added after `fit` without training."""

    def extend(self, catalog: Catalog) -> Self:
        """The stage for a grown catalog of the same lineage, sharing what it learned."""


@runtime_checkable
class Forgets(Protocol):
    """Erases users from what it learned, where `core.forget` on its per-user tables is not enough."""

    def forget(self, users: Sequence[str]) -> Self:
        """The stage without these users."""


@runtime_checkable
class Enricher(Protocol):
    """Adds text, vectors or edges to a data set; pays only for rows that lack them."""

    def enrich(self, data: Dataset) -> Dataset:
        """The data set with more in it; nothing is removed."""


@runtime_checkable
class Backbone(Protocol):
    """Vectors that others use: dot products of users and items are scores."""

    def users(self, queries: Queries) -> Vectors:
        """(n, d) float32, one row per question."""

    def items(self) -> Vectors:
        """(n_items, d) float32."""


@runtime_checkable
class Retriever(Protocol):
    """Finds candidates in the whole catalog."""

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """At most k permitted items per question, best first."""


@runtime_checkable
class Ranker(Protocol):
    """Orders given candidates."""

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """A permutation of every candidate list."""


@runtime_checkable
class Controller(Protocol):
    """Shapes the final list: diversity, calibration, rules."""

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items, all of them from `ranked`."""


@runtime_checkable
class Desk(Protocol):
    """All that an agent or explainer may call, read-only; a pipeline is one."""

    @property
    def catalog(self) -> Catalog:
        """The items."""

    @property
    def graph(self) -> Graph | None:
        """Typed edges, if there are any."""

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """Candidates."""

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """Candidates in order."""

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """The shaped list."""

    def recommend(self, queries: Queries, k: int = 10) -> Answer:
        """The whole pipeline."""

    def lookup(self, ids: Sequence[str]) -> list[Item]:
        """Items by id. Raises DataError for one the catalog lacks."""


@runtime_checkable
class Explainer(Protocol):
    """Says why: evidence first, words second."""

    def explain(self, queries: Queries, shown: Lists, desk: Desk) -> list[Reasons]:
        """One `Reasons` per list, with words for each shown item."""


@runtime_checkable
class Conversationalist(Protocol):
    """Talks; items are references to the catalog, never free text."""

    def converse(self, dialogues: Sequence[Dialogue], desk: Desk) -> list[Reply]:
        """One reply per dialogue."""


@runtime_checkable
class UserModel(Protocol):
    """A simulated user: page, memory, exit and words, with state in and out.

    A visit is JSON. It begins with at most `user`, `lang` and `seed`, and comes back with `page` (from 1), `exited`,
    `judged` (of this page: mappings with `item`, the catalog id, and `liked`), and, once ended, `satisfaction`
    (1 to 10).
    """

    def react(self, visits: Sequence[Mapping[str, Any]], shown: Lists | Sequence[Reply]) -> list[Mapping[str, Any]]:
        """The visits after seeing what was shown."""


@runtime_checkable
class Learner(Protocol):
    """Learns online from what happened to shown lists."""

    def learn(self, exposures: Exposures) -> Self:
        """A new stage that shares what did not change."""


@runtime_checkable
class Tuner(Protocol):
    """Improves another stage offline: prompts, adapters, weights."""

    def tune(self, stage: Any, data: Dataset, *, seed: int = 0) -> Any:
        """The tuned stage; the given one is left as it was."""


STAGES: dict[str, type] = {
    "enrich": Enricher,
    "backbone": Backbone,
    "retrieve": Retriever,
    "rank": Ranker,
    "control": Controller,
    "explain": Explainer,
    "converse": Conversationalist,
    "react": UserModel,
    "learn": Learner,
    "tune": Tuner,
}


def stages_of(thing: object) -> tuple[str, ...]:
    """The stages an object or class can serve, by the methods it has."""
    verbs = {"backbone": ("users", "items")}
    return tuple(
        name for name in STAGES if all(callable(getattr(thing, verb, None)) for verb in verbs.get(name, (name,)))
    )
