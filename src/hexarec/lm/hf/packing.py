"""Many short continuations behind one prefix, merged where they begin alike and laid out in blocks.

    prefix ........ The | Matrix ( 1999        one block: a tree of tokens
                        | Godfather (          a node sees the whole prefix, its ancestors and itself
                    Alien (                    positions go on from the prefix by depth, not by place

Continuations are merged in the order of their tokens, so those with a common beginning are neighbours; a block is
closed when it is full, and a beginning is repeated when its continuations do not fit into one block. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
BLOCK = 32


@dataclass(frozen=True, eq=False)
class Pack:
    """The nodes of n merged continuations.

    tokens, depth, parent: int32 (nodes,); depth counts from 0, parent is a node or -1 for the prefix's last token.
    starts: int32 (blocks + 1,), the first node of each block. paths: for each continuation its nodes, int32.
    """

    tokens: Ints
    depth: Ints
    parent: Ints
    starts: Ints
    paths: tuple[Ints, ...]

    @property
    def width(self) -> int:
        """Nodes of the largest block."""
        return int(np.diff(self.starts).max(initial=0))


def pack(sequences: Sequence[Sequence[int]], block: int = BLOCK) -> Pack:
    """Merge token sequences into blocks of at most `block` nodes, or of the longest sequence if that is longer."""
    limit = max(block, max((len(s) for s in sequences), default=0))
    tokens: list[int] = []
    parents: list[int] = []
    starts = [0]
    paths: list[Ints] = [np.zeros(0, np.int32)] * len(sequences)
    path: list[int] = []
    last: Sequence[int] = ()
    for row in sorted(range(len(sequences)), key=lambda r: tuple(sequences[r])):
        own = sequences[row]
        shared = common(last, own)
        if len(tokens) - starts[-1] + len(own) - shared > limit:
            starts.append(len(tokens))
            shared = 0
        path = path[:shared]
        for token in own[shared:]:
            parents.append(path[-1] if path else -1)
            path.append(len(tokens))
            tokens.append(token)
        paths[row], last = np.array(path, np.int32), own
    if len(tokens) > starts[-1]:
        starts.append(len(tokens))
    parent = np.array(parents, np.int32)
    return Pack(np.array(tokens, np.int32), _depths(parent), parent, np.array(starts, np.int32), tuple(paths))


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their start."""
    most = min(len(one), len(other))
    return next((n for n in range(most) if one[n] != other[n]), most)


def _depths(parent: Ints) -> Ints:
    depth = np.zeros(len(parent), np.int32)
    # a parent stands before its children
    for node, above in enumerate(parent):
        if above >= 0:
            depth[node] = depth[above] + 1
    return depth


def blocks(made: Pack) -> tuple[Ints, NDArray[np.bool_]]:
    """The local attention of a pack: (b, w) node of each place, and (b, w, w) whether a place sees another.

    Places beyond a block's end hold the block's first node and see it, so that no row of scores is empty; nothing
    reads them.
    """
    sizes = np.diff(made.starts)
    width = made.width
    places = np.arange(width)[None, :]
    real = places < sizes[:, None]
    index = np.where(real, made.starts[:-1, None] + places, made.starts[:-1, None]).astype(np.int32)
    sees = np.zeros((len(sizes), width, width), np.bool_)
    sees[:, np.arange(width), np.arange(width)] = True
    sees[:, :, :1] |= ~real[:, :, None]
    block = np.repeat(np.arange(len(sizes)), sizes)
    at = np.arange(len(made.tokens)) - made.starts[block]
    for level in range(1, int(made.depth.max(initial=0)) + 1):
        nodes = np.flatnonzero(made.depth == level)
        above = made.parent[nodes]
        sees[block[nodes], at[nodes]] |= sees[block[above], at[above]]
    return index, sees


def dense(made: Pack, prefix: int) -> NDArray[np.bool_]:
    """The whole (prefix + nodes) square mask that the blocks stand for: the reference that tests compare with."""
    n = prefix + len(made.tokens)
    mask = np.zeros((n, n), np.bool_)
    mask[:prefix, :prefix] = np.tri(prefix, dtype=np.bool_)
    mask[prefix:, :prefix] = True
    for node, above in enumerate(made.parent):
        row = prefix + node
        if above >= 0:
            mask[row, prefix:] = mask[prefix + above, prefix:]
        mask[row, row] = True
    return mask


def groups(rows: Sequence[Sequence[int]], least: int = 16) -> list[tuple[int, list[int]]]:
    """Which prompts are cheaper behind a common prefix: (length of the prefix, their numbers), every number once.

    Neighbours in token order stay together while they share at least `least` tokens and half of the common prefix so
    far. The prefix leaves at least one token of every prompt, unless it stands alone.
    """
    found: list[tuple[int, list[int]]] = []
    for row in sorted(range(len(rows)), key=lambda r: tuple(rows[r])):
        if found:
            length, members = found[-1]
            # in token order, whichever prompt is a beginning of the others is the first
            shared = min(common(rows[members[-1]], rows[row]), length, len(rows[members[0]]) - 1)
            if shared >= least and 2 * shared >= length:
                found[-1] = (shared, [*members, row])
                continue
        found.append((len(rows[row]), [row]))
    return found
