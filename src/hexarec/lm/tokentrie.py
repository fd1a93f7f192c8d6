"""A trie over the token sequences of a catalog as flat arrays: built once, saved, walked by the decoder.

Source: the CSR layout of constrained decoding (STATIC, arXiv:2602.22647; GENRE, arXiv:2010.00904), with counts of what
is still allowed below each node, so that a ban costs one path and never a rebuild. Numpy only.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hexarec.core.atomic import atomic_file
from hexarec.core.errors import HexarecError, ModelError, OptionError

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """Nodes in breadth-first order, node 0 the root; the children of a node are neighbours.

    token: int32 (nodes,), the token that leads into a node, -1 for the root. first: int32 (nodes + 1,), where each
    node's children begin. leaf: int32 (n,), the node where sequence i ends, -1 where it was removed. key: what the
    tokens mean (a tokenizer's hash), compared before use.
    """

    token: Ints
    first: Ints
    leaf: Ints
    key: str = ""

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]], key: str = "") -> TokenTrie:
        """The trie of n distinct token sequences, none of which begins another (end each with one closing token).

        Raises OptionError for an empty or repeated sequence, and for one that begins another, naming both.
        """
        return cls._of([np.asarray(sequence, dtype=">u4").tobytes() for sequence in sequences], key)

    @classmethod
    def _of(cls, names: list[bytes], key: str) -> TokenTrie:
        """The trie of sequences given as big-endian bytes, which sort as their tokens do."""
        order = sorted(range(len(names)), key=names.__getitem__)
        _refuse(names, order)
        lengths = np.array([len(names[row]) // 4 for row in order], np.int64)
        flat = np.frombuffer(b"".join(names[row] for row in order), dtype=">u4").astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        token, parent = [np.array([-1], np.int32)], [np.array([-1], np.int64)]
        node, leaf, size = np.zeros(len(order), np.int64), np.full(len(order), -1, np.int32), 1
        for depth in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > depth)
            here, above = flat[offsets[rows] + depth], node[rows]
            fresh = np.concatenate([[True], (here[1:] != here[:-1]) | (above[1:] != above[:-1])])
            node[rows] = size + np.cumsum(fresh) - 1
            token.append(here[fresh])
            parent.append(above[fresh])
            size += int(fresh.sum())
            done = rows[lengths[rows] == depth + 1]
            leaf[np.asarray(order, np.int64)[done]] = node[done]
        tokens, parents = np.concatenate(token), np.concatenate(parent)
        # in breadth-first order the children of a node begin where those of all nodes before it end
        first = 1 + np.searchsorted(parents[1:], np.arange(size + 1), side="left")
        return cls(tokens, first.astype(np.int32), leaf, key)

    def __len__(self) -> int:
        return len(self.leaf)

    @cached_property
    def parent(self) -> Ints:
        """int32 (nodes,), -1 for the root."""
        parent = np.repeat(np.arange(len(self.token), dtype=np.int32), np.diff(self.first))
        return np.concatenate([np.array([-1], np.int32), parent])

    @cached_property
    def count(self) -> Ints:
        """int32 (nodes,), how many sequences end at or below a node."""
        count = np.zeros(len(self.token), np.int32)
        count[self.leaf[self.leaf >= 0]] = 1
        # from the last level but one up: children stand behind their parents
        for begin, end in reversed(self._levels[:-1]):
            total = np.concatenate([[0], np.cumsum(count)])
            count[begin:end] += (total[self.first[begin + 1 : end + 1]] - total[self.first[begin:end]]).astype(np.int32)
        return count

    @cached_property
    def _levels(self) -> list[tuple[int, int]]:
        levels, begin, end = [], 0, 1
        while begin < end:
            levels.append((begin, end))
            begin, end = end, int(self.first[end])
        return levels

    @property
    def depth(self) -> int:
        """Tokens of the longest sequence."""
        return len(self._levels) - 1

    @cached_property
    def item(self) -> Ints:
        """int32 (nodes,), the number of the sequence that ends at a node, -1 elsewhere."""
        item = np.full(len(self.token), -1, np.int32)
        kept = np.flatnonzero(self.leaf >= 0)
        item[self.leaf[kept]] = kept
        return item

    def path(self, number: int) -> list[int]:
        """The nodes of sequence `number` from the root's child to its end; empty where it was removed."""
        nodes, node = [], int(self.leaf[number])
        while node > 0:
            nodes.append(node)
            node = int(self.parent[node])
        return nodes[::-1]

    def sequence(self, number: int) -> list[int]:
        """The tokens of sequence `number`."""
        return [int(token) for token in self.token[self.path(number)]]

    def remove(self, numbers: Iterable[int]) -> TokenTrie:
        """Without these sequences; the numbers of the others stay."""
        gone = [_within(number, len(self)) for number in numbers]
        leaf = self.leaf.copy()
        leaf[gone] = -1
        return TokenTrie(self.token, self.first, leaf, self.key)

    def add(self, sequences: Sequence[Sequence[int]]) -> TokenTrie:
        """With these sequences, numbered from `len(self)` on. Raises as `build` does."""
        kept = np.flatnonzero(self.leaf >= 0)
        fresh = [np.asarray(sequence, dtype=">u4").tobytes() for sequence in sequences]
        made = TokenTrie._of([*self._names(kept), *fresh], self.key)
        leaf = np.full(len(self) + len(sequences), -1, np.int32)
        leaf[kept], leaf[len(self) :] = made.leaf[: len(kept)], made.leaf[len(kept) :]
        return TokenTrie(made.token, made.first, leaf, self.key)

    def _names(self, numbers: NDArray[np.int64]) -> list[bytes]:
        """The sequences of these numbers as big-endian bytes, all paths walked up at once."""
        nodes = self.leaf[numbers].astype(np.int64)
        up, lengths = [], np.zeros(len(nodes), np.int64)
        while (nodes > 0).any():
            up.append(self.token[nodes])
            lengths += nodes > 0
            nodes = np.maximum(self.parent[nodes], 0)
        rows = np.stack(up[::-1], 1).astype(">u4") if up else np.zeros((len(nodes), 0), ">u4")
        # a short path reached the root early: its own tokens are the last of its row
        return [row[len(row) - n :].tobytes() for row, n in zip(rows, lengths.tolist(), strict=True)]

    def save(self, file: Path) -> None:
        """Write an npz file, whole or not at all."""
        with atomic_file(file) as part, part.open("wb") as stream:
            np.savez(stream, token=self.token, first=self.first, leaf=self.leaf, key=np.array(self.key))

    @classmethod
    def load(cls, file: Path, key: str = "") -> TokenTrie:
        """Read what `save` wrote. Raises ModelError for a damaged file, or one of another `key` than a given one."""
        try:
            with np.load(file, allow_pickle=False) as kept:
                made = cls(kept["token"], kept["first"], kept["leaf"], str(kept["key"]))
            made._check()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, HexarecError) as error:
            raise ModelError(f"{file} is no token trie: {error}", hint="build it again") from error
        if key and made.key != key:
            raise ModelError(f"{file} was built for another tokenizer", hint="build it again")
        return made

    def _check(self) -> None:
        n = len(self.token)
        bad = len(self.first) != n + 1 or np.any(np.diff(self.first) < 0) or self.first[0] != 1 or self.first[-1] != n
        if bad or np.any(self.leaf >= n):
            raise OptionError("its arrays do not fit together")


class Allowed:
    """A trie with some sequences banned, for one list: which children of a node still lead to an allowed end."""

    def __init__(self, trie: TokenTrie, banned: Iterable[int] = ()) -> None:
        self.trie = trie
        self._less: dict[int, int] = {}
        self._banned: set[int] = set()
        for number in banned:
            self.ban(number)

    def ban(self, number: int) -> None:
        """Take a sequence out; once is enough. A removed one is out already."""
        if _within(number, len(self.trie)) in self._banned:
            return
        self._banned.add(number)
        for node in self.trie.path(number):
            self._less[node] = self._less.get(node, 0) + 1

    @property
    def left(self) -> int:
        """How many sequences are still allowed."""
        return int(self.trie.count[0]) - sum(1 for number in self._banned if self.trie.leaf[number] >= 0)

    def count(self, node: int) -> int:
        """How many allowed sequences end at or below a node."""
        return int(self.trie.count[node]) - self._less.get(node, 0)

    def forced(self, node: int, most: int) -> list[int]:
        """The node and those behind it as long as there is one way on, at most so many; no end is among them."""
        found = [node]
        while len(found) < most:
            ways = self.children(found[-1])
            if len(ways) != 1 or self.trie.item[ways[0]] >= 0:
                break
            found.append(int(ways[0]))
        return found

    def children(self, node: int) -> Ints:
        """The child nodes that still lead somewhere."""
        begin, end = int(self.trie.first[node]), int(self.trie.first[node + 1])
        found = np.arange(begin, end, dtype=np.int32)
        count = self.trie.count[begin:end]
        if not self._less:
            return found[count > 0]
        less = np.array([self._less.get(child, 0) for child in range(begin, end)], np.int32)
        return found[count > less]


def _within(number: int, n: int) -> int:
    """The number, unless there is no such sequence: then OptionError."""
    if not 0 <= number < n:
        raise OptionError(f"there is no sequence {number}: the trie has {n}")
    return number


def _refuse(names: list[bytes], order: list[int]) -> None:
    for row in order[:1]:
        if not names[row]:
            raise OptionError(f"sequence {row} is empty")
    for one, other in zip(order, order[1:], strict=False):
        if names[other].startswith(names[one]):
            what = "equal" if names[one] == names[other] else "one inside the other's beginning"
            raise OptionError(
                f"sequences {min(one, other)} and {max(one, other)} are {what}",
                hint="make the titles unique (add the year or a number) and end each with one closing token",
            )
