"""Searches through an item tree for a batch of questions: each item found with its path, and what was opened for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Evidence, Lists, Queries
from hexarec.parts.itemtree import ItemTree, Vectors, View
from hexarec.parts.textspace import TextSpace
from hexarec.parts.treepages import Count, TreePages
from hexarec.parts.treewalk import Found, Page, Way, side_by_side

Opened = tuple[int, Page]
"""The question by its number, and a page that is put before whoever chooses for it."""
Worth = Callable[[Sequence[Opened]], Sequence[NDArray[np.float64]]]
"""What whoever chooses values the options of each page at, higher is better."""


@dataclass(frozen=True)
class Batch:
    """Questions under way. permitted: (n, items). taste: (n, d) unit. conditions: what begins each question.

    seeds: (n,) of what is drawn for each.
    """

    queries: Queries
    permitted: NDArray[np.bool_]
    taste: Vectors
    conditions: Sequence[str]
    seeds: Sequence[int]

    @classmethod
    def of(cls, queries: Queries, space: TextSpace, last: int, conditions: Sequence[str], seed: int) -> Batch:
        """With the taste in a space, of the last liked items and of what is asked for. seed: added to their own."""
        # an extended stage may know more rows than the catalog of older questions
        permitted = np.zeros((len(queries), len(space.vectors_)), bool)
        permitted[:, : len(queries.catalog)] = ~queries.forbidden(min(len(queries.catalog), permitted.shape[1]))
        seeds = [int(one) + seed for one in queries.seed]
        return cls(queries, permitted, space.taste(queries, last), conditions, seeds)


@dataclass(frozen=True)
class TreeSearch:
    """A way through the tree. vectors: (n, d) of the items. per_leaf, width: see `parts.treewalk`."""

    tree: ItemTree
    pages: TreePages
    vectors: Vectors
    way: Way
    per_leaf: int
    width: int

    def lists(self, batch: Batch, k: int, worth: Worth, count: Count) -> Lists:
        """The first k items that each search finds, with the path as `why`; options of equal worth go by their text.

        Notes hold, per question, `opened` (pages that were asked about), `shown` (options on them), `tokens` (of those
        options) and `condition` (tokens of the text in front of each page).
        """
        children, seen = self.tree.children(), list[Opened]()

        def preferred(pages: Sequence[Opened]) -> list[list[int]]:
            seen.extend(pages)
            return [
                self._ordered(page, value, batch.taste[i]) for (i, page), value in zip(pages, worth(pages), strict=True)
            ]

        walks = [self.way(View(self.tree, children, row), k, self.per_leaf, self.width) for row in batch.permitted]
        found = side_by_side(walks, preferred)
        notes = self._notes(len(walks), seen, np.asarray(count(batch.conditions), np.int64))
        return replace(self._lists(batch.queries.catalog.key, found), notes=tuple(notes))

    def _ordered(self, page: Page, value: NDArray[np.float64], taste: Vectors) -> list[int]:
        rows = (self.vectors if page.items else self.tree.centres_)[list(page.options)]
        return [page.options[place] for place in np.lexsort((-(rows @ taste), -value)).tolist()]

    def _lists(self, key: str, found: Sequence[Found]) -> Lists:
        made = Lists.of(key, [[item for item, _ in one] for one in found])
        leaves = sorted({leaf for one in found for _, leaf in one})
        why = {leaf: place for place, leaf in enumerate(leaves)}
        column = np.array([why[leaf] for one in found for _, leaf in one], np.int32)
        evidence = tuple(Evidence("path", (), " > ".join(self.tree.path(leaf))) for leaf in leaves)
        return replace(made.with_field("why", column), evidence=evidence)

    def _notes(self, n: int, seen: Sequence[Opened], before: NDArray[np.int64]) -> list[dict[str, int]]:
        notes = [{"opened": 0, "shown": 0, "tokens": 0, "condition": 0} for _ in range(n)]
        for i, page in seen:
            told = (1, len(page.options), self.pages.tokens(page), int(before[i]))
            for name, more in zip(notes[i], told, strict=True):
                notes[i][name] += more
        return notes
