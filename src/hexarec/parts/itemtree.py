"""A tree over the catalog, built from what the catalog says of its items and from nothing else.

Inner nodes are values of attributes, coarse to fine, and below them groups of texts; leaves hold items. Every item is
in exactly one leaf, a leaf fits on one page, and so do the children of a node. Source: Zhang et al. 2024, LLMTreeRec,
arXiv:2404.00702, section 2.1, whose trees are made of given categories; splitting by text is ours.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, OptionError, rng
from hexarec.parts.attributes import values_of
from hexarec.parts.bm25 import tokenise
from hexarec.parts.encoded import item_texts
from hexarec.parts.vectors import unit

ROOT, NOWHERE = 0, -1
OTHER = "other"
WORDS = 3  # words in the label of a group of texts
VALUES = 4  # values in the label of a group of values
Rows = NDArray[np.int32]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Material:
    """What a tree is built from, by catalog row.

    vectors: (n, d) unit text vectors. sizes: (n,) tokens of an item on a page. words: the words of each item, for
    labels. levels: values of each item, one sequence per level, coarse to fine.
    """

    vectors: Vectors
    sizes: NDArray[np.int64]
    words: Sequence[Sequence[str]]
    levels: Sequence[Sequence[Sequence[str]]] = ()

    @classmethod
    def of(
        cls, catalog: Catalog, vectors: Vectors, sizes: NDArray[np.int64], fields: Sequence[str], levels: Sequence[str]
    ) -> Material:
        """Words of these fields, and values of those of the attributes `levels` that the catalog has."""
        words = [tokenise(text) for text in item_texts(catalog, fields)]
        return cls(vectors, sizes, words, [values_of(catalog, name) for name in levels if name in catalog.attributes])


@dataclass
class ItemTree:
    """The tree. Node 0 is the root; children follow their parent, so node numbers are in the order of making.

    leaf: items of a leaf at most. tokens: their tokens at most, unless one item alone has more. branch: children of a
    node at most. least: values with fewer items go into one child, "other". seed: of the grouping of texts.
    """

    leaf: int = 24
    tokens: int = 700
    branch: int = 12
    least: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.leaf, self.tokens, self.least) < 1 or self.branch < 2:
            raise OptionError("leaf, tokens and least are at least 1, branch at least 2")

    def build(self, material: Material, rows: Rows) -> ItemTree:
        """Grow the tree over these rows."""
        self.parent_: list[int] = []
        self.labels_: list[str] = []
        self.values_: list[list[str]] = []  # values of the parent's level that lead to this node
        self.level_: list[int] = []  # the level its children are values of; len(levels) = groups of texts
        self.leaf_of_ = np.full(len(material.vectors), NOWHERE, np.int32)
        self._made: list[int] = []
        self._new(NOWHERE, "", [], 0)
        self._grow(material, ROOT, np.asarray(rows, np.int32))
        return self._settled(material)

    def insert(self, material: Material, rows: Rows) -> ItemTree:
        """A tree with these rows as well; a leaf that grows too large is split. The others stay as they are."""
        made = self._copy()
        room = len(material.vectors) - len(made.leaf_of_)
        made.leaf_of_ = np.concatenate([made.leaf_of_, np.full(room, NOWHERE, np.int32)])
        below = made.children()
        for row in np.asarray(rows).tolist():
            node = ROOT
            while below[node]:
                node = made._led(material, row, below[node], made.level_[node])
            made.leaf_of_[row] = node
        for node in np.unique(made.leaf_of_[rows]).tolist():
            made._grow(material, node, made.items(node))
        return made._settled(material)

    def remove(self, material: Material, rows: Rows) -> ItemTree:
        """A tree without these rows; empty branches go, and a branch that fits on one page becomes a leaf."""
        made = self._copy()
        made.leaf_of_[rows] = NOWHERE
        while made._fold(material):
            pass
        return made._settled(material)

    def updated(self, material: Material, alive: NDArray[np.bool_]) -> ItemTree:
        """A tree of the rows that are alive: new ones go down to their leaf, withdrawn ones leave it."""
        inside = np.flatnonzero(self.leaf_of_ != NOWHERE)
        gone = inside[~alive[inside]].astype(np.int32)
        coming = np.setdiff1d(np.flatnonzero(alive), inside).astype(np.int32)
        made = self.insert(material, coming) if len(coming) else self
        return made.remove(material, gone) if len(gone) else made

    def children(self) -> list[list[int]]:
        """The children of every node, in the order of making."""
        made: list[list[int]] = [[] for _ in self.parent_]
        for node, parent in enumerate(self.parent_):
            if parent != NOWHERE:
                made[parent].append(node)
        return made

    def items(self, node: int) -> Rows:
        """The rows in a leaf, ascending."""
        return np.flatnonzero(self.leaf_of_ == node).astype(np.int32)

    def path(self, node: int) -> list[str]:
        """The labels from below the root to this node."""
        return [self.labels_[one] for one in self.line(node)]

    def totals(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, ...) sums over the items under every node of values (n, ...) by catalog row."""
        made = np.zeros((len(self.parent_), *values.shape[1:]))
        placed = self.leaf_of_[: len(values)] != NOWHERE
        np.add.at(made, self.leaf_of_[: len(values)][placed], values[placed])
        for node in range(len(self.parent_) - 1, 0, -1):  # parents come first
            made[self.parent_[node]] += made[node]
        return made

    def typical(self, vectors: Vectors, most: int) -> Rows:
        """(m, most) rows under each node that lie nearest to its mean, -1 where there are fewer."""
        made = np.full((len(self.parent_), most), NOWHERE, np.int32)
        under: list[list[int]] = [[] for _ in self.parent_]
        for row in np.flatnonzero(self.leaf_of_ != NOWHERE).tolist():
            under[self.leaf_of_[row]].append(row)
        for node in range(len(self.parent_) - 1, -1, -1):  # parents come first
            rows = np.array(under[node], np.int64)
            near = rows[np.argsort(-(vectors[rows] @ self.centres_[node]), kind="stable")][:most]
            made[node, : len(near)] = near
            if node != ROOT:
                under[self.parent_[node]] += under[node]
            under[node] = []
        return made

    def new_nodes(self) -> list[int]:
        """Nodes made by the last build or insert, without the root."""
        return list(self._made)

    def _copy(self) -> ItemTree:
        made = copy.copy(self)
        made.parent_, made.labels_ = list(self.parent_), list(self.labels_)
        made.values_, made.level_ = [list(one) for one in self.values_], list(self.level_)
        made.leaf_of_, made._made = self.leaf_of_.copy(), []
        return made

    def _new(self, parent: int, label: str, values: list[str], level: int) -> int:
        self.parent_.append(parent)
        self.labels_.append(label)
        self.values_.append(values)
        self.level_.append(level)
        if parent != NOWHERE:
            self._made.append(len(self.parent_) - 1)
        return len(self.parent_) - 1

    def _fits(self, material: Material, rows: Rows) -> bool:
        return len(rows) < 2 or (len(rows) <= self.leaf and int(material.sizes[rows].sum()) <= self.tokens)

    def _grow(self, material: Material, node: int, rows: Rows) -> None:
        """Make a leaf of these rows, or children that each take a part of them."""
        todo = [(node, rows)]
        while todo:
            node, rows = todo.pop()
            self.leaf_of_[rows] = node
            if self._fits(material, rows):
                continue
            for label, values, part, level in self._parts(material, node, rows):
                todo.append((self._new(node, label, values, level), part))

    def _parts(self, material: Material, node: int, rows: Rows) -> list[tuple[str, list[str], Rows, int]]:
        """Label, values, rows and next level of the children; at least two, each smaller than the whole."""
        while self.level_[node] < len(material.levels):
            level = self.level_[node]
            parts = self._by_value(material, rows, node)
            if len(parts) > self.branch:
                return self._bundled(material, parts, level, node)
            if len(parts) > 1:
                return [(values[0], values, part, level + 1) for values, part in parts]
            self.level_[node] += 1
        groups = self._by_text(material, rows, node)
        labels = _told_apart([[material.words[row] for row in group.tolist()] for group in groups])
        return [(label, [], group, len(material.levels)) for label, group in zip(labels, groups, strict=True)]

    def _by_value(self, material: Material, rows: Rows, node: int) -> list[tuple[list[str], Rows]]:
        """The rows by value; of several values an item goes with the one whose items it reads like most."""
        own = self._open_values(material, rows, node)
        members: dict[str, list[int]] = {}
        for row in rows.tolist():
            for value in own[row]:
                members.setdefault(value, []).append(row)
        centre = {value: _mean(material.vectors[some]) for value, some in members.items() if len(some) >= self.least}
        chosen: dict[str, list[int]] = {}
        for row in rows.tolist():
            known = [value for value in own[row] if value in centre]
            value = max(known, key=lambda one: (float(centre[one] @ material.vectors[row]), one)) if known else OTHER
            chosen.setdefault(value, []).append(row)
        order = sorted(chosen, key=lambda one: (one == OTHER, -len(chosen[one]), one))
        return [([value], np.array(chosen[value], np.int32)) for value in order]

    def _open_values(self, material: Material, rows: Rows, node: int) -> dict[int, list[str]]:
        """Each row's values that can still part the items here: not those on the path, in a bundle only its own."""
        level, parent = self.level_[node], self.parent_[node]
        bundle = parent != NOWHERE and self.level_[parent] == level
        spent = {self.values_[one][0] for one in self.line(node) if len(self.values_[one]) == 1}
        only = set(self.values_[node]) if bundle else None
        return {
            row: [v for v in material.levels[level][row] if v not in spent and (only is None or v in only)]
            for row in rows.tolist()
        }

    def line(self, node: int) -> list[int]:
        """The nodes from below the root to this one."""
        made = []
        while node != ROOT:
            made.append(node)
            node = self.parent_[node]
        return made[::-1]

    def _bundled(
        self, material: Material, parts: list[tuple[list[str], Rows]], level: int, node: int
    ) -> list[tuple[str, list[str], Rows, int]]:
        """Too many values for one page: values that read alike share a child, which is split by value again."""
        centres = np.stack([_mean(material.vectors[part]) for _, part in parts])
        made: list[tuple[str, list[str], Rows, int]] = []
        for group in self._groups(centres, self.branch, node):
            values = [parts[place][0][0] for place in group.tolist()]
            rows = np.sort(np.concatenate([parts[place][1] for place in group.tolist()]))
            label = ", ".join(values[:VALUES]) + (", …" if len(values) > VALUES else "")
            made.append((label, values, rows, level if len(values) > 1 else level + 1))
        return made

    def _by_text(self, material: Material, rows: Rows, node: int) -> list[Rows]:
        pages = max(len(rows) / self.leaf, float(material.sizes[rows].sum()) / self.tokens)
        wanted = int(np.clip(np.ceil(1.5 * pages), 2, min(self.branch, len(rows))))  # groups are never of one size
        return [rows[group] for group in self._groups(material.vectors[rows], wanted, node)]

    def _groups(self, rows: Vectors, wanted: int, node: int) -> list[NDArray[np.int64]]:
        """k-means (k-means++ start) of unit rows into 2 to `wanted` groups, largest first; equal rows in order."""
        from scipy.cluster.vq import kmeans2

        which = np.zeros(len(rows), np.int64)
        if len(np.unique(rows, axis=0)) > wanted:
            draw = rng(self.seed, "itemtree", str(node))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of empty groups, which are left out here
                which[:] = kmeans2(rows.astype(np.float64), wanted, minit="++", seed=draw)[1]
        groups = [np.flatnonzero(which == group) for group in np.unique(which).tolist()]
        if len(groups) < 2:
            # what reads alike stays together; whitening leaves no axis where all read alike
            order = np.lexsort(rows.T) if rows.shape[1] else np.arange(len(rows))
            groups = [np.sort(some) for some in np.array_split(order, wanted)]
        return sorted(groups, key=lambda group: (-len(group), int(group[0])))

    def _led(self, material: Material, row: int, children: Sequence[int], level: int) -> int:
        """The child that a new item goes to: one with a value of the item, else the one it reads like most."""
        own = set(material.levels[level][row]) if level < len(material.levels) else set()
        fitting = [node for node in children if own.intersection(self.values_[node])]
        if own and not fitting:
            fitting = [node for node in children if OTHER in self.values_[node]]
        among = fitting or list(children)
        near = self.centres_[among] @ material.vectors[row]
        return among[int(near.argmax())]

    def _fold(self, material: Material) -> bool:
        """One round from the leaves up: an inner node whose items fit on a page takes them; whether any did."""
        count = self.totals(np.ones(len(self.leaf_of_)))
        size = self.totals(material.sizes[: len(self.leaf_of_)].astype(np.float64))
        inner = np.zeros(len(count), bool)
        inner[[parent for parent in self.parent_ if parent != NOWHERE]] = True
        small = inner & ((count < 2) | ((count <= self.leaf) & (size <= self.tokens)))
        for node in np.flatnonzero(small).tolist():  # parents first: the highest takes all
            under = self._under(node)
            self.leaf_of_[np.isin(self.leaf_of_, under)] = node
        before = len(self.parent_)
        self._keep(self.totals(np.ones(len(self.leaf_of_))) > 0)
        return len(self.parent_) < before

    def _under(self, node: int) -> list[int]:
        made = {node}
        for one in range(node + 1, len(self.parent_)):  # parents come first
            if self.parent_[one] in made:
                made.add(one)
        return sorted(made)

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop the other nodes and renumber; the root stays."""
        kept[ROOT] = True
        number = np.append(np.where(kept, np.cumsum(kept) - 1, NOWHERE), NOWHERE)  # the last answers for NOWHERE
        nodes = np.flatnonzero(kept).tolist()
        self.parent_ = [int(number[self.parent_[node]]) for node in nodes]
        self.labels_ = [self.labels_[node] for node in nodes]
        self.values_ = [self.values_[node] for node in nodes]
        self.level_ = [self.level_[node] for node in nodes]
        self.leaf_of_ = number[self.leaf_of_].astype(np.int32)
        self._made = [int(number[node]) for node in self._made if kept[node]]

    def _settled(self, material: Material) -> ItemTree:
        """With the mean vector of every node."""
        vectors = material.vectors[: len(self.leaf_of_)].astype(np.float64)
        self.centres_ = unit(self.totals(vectors).astype(np.float32))
        return self


def _mean(rows: Vectors) -> Vectors:
    made: Vectors = unit(rows.mean(0, keepdims=True))[0]
    return made


def _told_apart(groups: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """Labels of sibling groups: the words that more of its items have than of the others (class-based tf-idf).

    Source: Grootendorst 2022, BERTopic, arXiv:2203.05794, with a word counted once an item.
    """
    counts = [Counter(word for words in group for word in set(words)) for group in groups]
    everywhere = sum(counts, Counter[str]())
    items = [max(len(group), 1) for group in groups]
    mean = sum(items) / len(items)

    def weight(group: int, word: str) -> float:
        return counts[group][word] / items[group] * float(np.log1p(mean / everywhere[word]))

    made = []
    for group, count in enumerate(counts):
        words = sorted(
            (word for word in count if len(word) > 1 and not word.isdigit()),
            key=lambda word, group=group: (-weight(group, word), word),  # type: ignore[misc]
        )
        made.append(", ".join(words[:WORDS]) or f"{group + 1}")
    return made


class View:
    """A tree in which only permitted items (and branches that hold one) are seen."""

    def __init__(self, tree: ItemTree, children: list[list[int]], permitted: NDArray[np.bool_]) -> None:
        self._permitted = permitted
        self._seen = tree.totals(permitted.astype(np.float64))
        self._children = children
        self._tree = tree
        self.branch, self.leaf = tree.branch, tree.leaf

    def children(self, node: int) -> list[int]:
        """Children with something permitted under them; none for a leaf."""
        return [child for child in self._children[node] if self._seen[child]]

    def items(self, leaf: int) -> list[int]:
        """Permitted rows of a leaf."""
        rows = self._tree.items(leaf)
        return [int(row) for row in rows[self._permitted[rows]]]

    def any(self) -> bool:
        """Whether anything is permitted."""
        return bool(self._seen[ROOT])
