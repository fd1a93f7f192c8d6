"""How the nodes and items of a tree read on a page, and how many tokens that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog
from hexarec.parts.itemtree import ItemTree, Rows
from hexarec.parts.render import clean, titles
from hexarec.parts.treewalk import Page

MEMBERS = 6  # items that speak for a node
HANDLE = 4  # tokens of "[A] " and the end of a line
EXAMPLE = 48  # characters of an example
Count = Callable[[Sequence[str]], NDArray[np.integer]]


@dataclass
class TreePages:
    """The options of a page as text. examples: titles beside a node."""

    examples: int = 2

    def describe(self, tree: ItemTree, members: Rows, sizes: NDArray[np.int64], catalog: Catalog, count: Count) -> None:
        """Take in the tree. members: (m, MEMBERS) rows that speak for each node. sizes: (n,) tokens of the items."""
        self.labels_, self.members_, self.sizes_ = list(tree.labels_), members, sizes
        every = np.ones(len(catalog), bool)
        shown = [self._node(node, catalog, catalog.lang, every) for node in range(len(self.labels_))]
        self.label_sizes_ = np.asarray(count(shown), np.int64) + HANDLE

    def options(self, page: Page, catalog: Catalog, lang: str, permitted: NDArray[np.bool_]) -> list[str]:
        """The options of the page, one line each; only permitted items stand as examples."""
        if page.items:
            return titles(catalog, page.options, lang)
        return [self._node(node, catalog, lang, permitted) for node in page.options]

    def tokens(self, page: Page) -> int:
        """Tokens of the page's options."""
        return int((self.sizes_ if page.items else self.label_sizes_)[list(page.options)].sum())

    def _node(self, node: int, catalog: Catalog, lang: str, permitted: NDArray[np.bool_]) -> str:
        rows = [row for row in self.members_[node].tolist() if row >= 0 and permitted[row]][: self.examples]
        shown = "; ".join(titles(catalog, rows, lang, EXAMPLE))
        return clean(self.labels_[node] + (f" ({shown})" if shown else ""))


def item_sizes(catalog: Catalog, count: Count) -> NDArray[np.int64]:
    """(n,) tokens of each item on a page."""
    return np.asarray(count(titles(catalog, np.arange(len(catalog)))), np.int64) + HANDLE
