"""The data set: catalog, log and users, with everything enrichers add, and the way to ask questions of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.catalog import Catalog, Column, Item
from hexarec.core.errors import DataError
from hexarec.core.ids import IdTable, digest
from hexarec.core.interactions import History, Interactions
from hexarec.core.queries import Queries

if TYPE_CHECKING:
    from hexarec.core.exposures import Exposures
    from hexarec.core.words import Dialogue


@dataclass(frozen=True, eq=False)
class Users:
    """Who the users are: ids (append-only lineage) and stated attributes in columns of (n,)."""

    ids: IdTable
    attributes: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Features:
    """Vectors somebody made: float32 (n, d) with a mask of the rows that have one, and how they were made."""

    rows: NDArray[np.float32]
    mask: NDArray[np.bool_]
    provenance: Mapping[str, str] = field(default_factory=dict)


def _hashes_at(provenance: Mapping[str, str], pick: NDArray[Any], missing: NDArray[np.bool_]) -> dict[str, str]:
    """The provenance of renumbered rows: its `hashes`, a line for each row, move with them."""
    if "hashes" not in provenance:
        return dict(provenance)
    lines = np.array(provenance["hashes"].split("\n"), object)
    return {**provenance, "hashes": "\n".join(np.where(missing, "", lines[pick]).tolist())}


@dataclass(frozen=True, eq=False)
class Graph:
    """Typed edges between nodes: items by row, named entities by n_items + entity index.

    head, tail: int32 (m,). relation: int16 index into `relations`. p: float32 probability. reason, source: (m,) str.
    """

    head: NDArray[np.int32]
    tail: NDArray[np.int32]
    relation: NDArray[np.int16]
    p: NDArray[np.float32]
    reason: NDArray[np.object_]
    source: NDArray[np.object_]
    relations: tuple[str, ...]
    entities: tuple[str, ...]
    key: str
    n_items: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """All a stage may fit on. `simulated` data says so wherever it is shown."""

    catalog: Catalog
    interactions: Interactions
    users: Users
    name: str = "data"
    exposures: Exposures | None = None
    graph: Graph | None = None
    dialogues: Sequence[Dialogue] = ()
    features: Mapping[str, Features] = field(default_factory=dict)
    simulated: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """A hash of all a stage may fit on, lineage included: equal keys, equal data."""
        made: list[Any] = [self.catalog.key, self.catalog.digest, self.interactions.digest, self.users.ids.ids]
        made += [self.users.ids.key, *(part for item in sorted(self.users.attributes.items()) for part in item)]
        for name in sorted(self.features):
            made += [name, self.features[name].rows, self.features[name].mask]
        if self.exposures is not None:
            queries, shown = self.exposures.queries, self.exposures.shown
            made += [self.exposures.source, queries.now, queries.user, queries.history.item, shown.offsets, shown.items]
            made += [part for item in sorted(shown.fields.items()) for part in item]
        if self.graph is not None:
            made += [self.graph.head, self.graph.tail, self.graph.relation, self.graph.p]
        made += [repr(dialogue) for dialogue in self.dialogues]
        return digest(*made)

    @property
    def n_items(self) -> int:
        """Catalog rows, tombstones included."""
        return len(self.catalog)

    @property
    def n_users(self) -> int:
        """User rows."""
        return len(self.users)

    def with_log(self, interactions: Interactions) -> Dataset:
        """The same catalog and users with another log."""
        return replace(self, interactions=interactions)

    def with_items(self, items: Sequence[Item]) -> Dataset:
        """The same lineage with new items appended."""
        return replace(self, catalog=self.catalog.extend(items))

    def with_features(self, name: str, features: Features) -> Dataset:
        """The data set with one more feature table."""
        return replace(self, features={**self.features, name: features})

    def queries(
        self,
        users: NDArray[Any] | Sequence[int] | None = None,
        *,
        now: float | NDArray[np.float64] = np.inf,
        lang: str | None = None,
        seed: int = 0,
    ) -> Queries:
        """One question for each user row (all users by default), asked at `now`: history is what came before.

        Everything in the history is excluded from the answer. No Python loop over users.
        """
        rows = np.arange(self.n_users) if users is None else np.asarray(users, np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= self.n_users):
            raise DataError("a user row does not exist", field="users")
        log = self.interactions
        moments = np.broadcast_to(np.asarray(now, np.float64), rows.shape).copy()
        known = ragged.count_before(log.offsets, log.time, rows, moments)
        starts = log.offsets[:-1][rows]
        offsets, flat = ragged.spans(starts, starts + known)
        history = History(offsets, log.item[flat], log.time[flat], log.kind[flat], log.value[flat], log.liked[flat])
        return Queries.of(
            self.catalog,
            self.users.ids,
            rows.astype(np.int32),
            history,
            now=moments,
            lang=lang or self.catalog.lang,
            seed=seed,
        )

    def onto(self, items: IdTable) -> Dataset:
        """The same data renumbered onto another item lineage: known ids take its rows, new ids are appended.

        Exposures are left out: they are for fitting, and a fit belongs to its own lineage.
        """
        if items.key == self.catalog.key:
            return self
        ids = items.extend(self.catalog.items.ids.tolist())
        source = self.catalog.items.rows(ids.ids)
        missing = source < 0
        pick = np.where(missing, 0, source)

        def moved(column: Column, absent: Any) -> Column:
            out: Column = column[pick].copy()
            out[missing] = absent
            return out

        catalog = replace(
            self.catalog,
            items=ids,
            titles=moved(self.catalog.titles, ""),
            texts=moved(self.catalog.texts, ""),
            attributes={
                name: moved(column, np.nan if column.dtype == np.float64 else None)
                for name, column in self.catalog.attributes.items()
            },
            text={name: moved(column, None) for name, column in self.catalog.text.items()},
            alive=moved(self.catalog.alive, False),
            since=moved(self.catalog.since, -np.inf),
        )
        log = replace(self.interactions, item=ids.translate(self.catalog.items)[self.interactions.item])
        features = {
            name: Features(
                moved(table.rows, 0.0), moved(table.mask, False), _hashes_at(table.provenance, pick, missing)
            )  # fmt: skip
            for name, table in self.features.items()
            if len(table.rows) == self.n_items
        }
        graph = None if self.graph is None else self._graph_onto(ids)
        return replace(self, catalog=catalog, interactions=log, features=features, graph=graph, exposures=None)

    def _graph_onto(self, ids: IdTable) -> Graph:
        """The graph with item nodes on the rows of `ids` and entity nodes behind them."""
        assert self.graph is not None
        old = self.graph
        rows = ids.translate(self.catalog.items).astype(np.int64)
        nodes = np.concatenate([rows[: old.n_items], np.arange(len(old.entities)) + len(ids)]).astype(np.int32)
        return replace(old, head=nodes[old.head], tail=nodes[old.tail], key=ids.key, n_items=len(ids))
