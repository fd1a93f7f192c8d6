"""Beam search inside a token trie: the prompt once, all beams of all prompts in one forward, children only.

Sources: constrained generation over a catalog (GENRE, arXiv:2010.00904; RecLM-cgen, arXiv:2505.03336). A beam is a row
behind its prompt's prefix that sees its own branch; nothing is copied when beams are reordered. Expansions are taken
from the legal children themselves, never from a masked vocabulary, so there is no illegal answer at any beam width.
A forward of few rows costs what reading the weights costs, so the tokens that are forced behind a beam go along in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hexarec.core.run import current
from hexarec.lm.hf.attention import Prefix
from hexarec.lm.hf.forward import Piece, Request, States
from hexarec.lm.hf.head import Head
from hexarec.lm.hf.jobs import Setting
from hexarec.lm.hf.worker import Worker
from hexarec.lm.tokentrie import Allowed

Norm = Literal["full", "local"]
AHEAD = 80  # forced tokens that go along in a forward, whose weights take as long to read as so many rows to compute
_SURE = 0.9  # of a search's beams are forced: before that the next token of some needs a forward anyway


@dataclass(frozen=True)
class Hit:
    """A sequence of the trie by its number, and its summed log-probability, closing token included."""

    number: int
    logprob: float


@dataclass(frozen=True)
class _Beam:
    node: int
    logprob: float


@dataclass(frozen=True, eq=False)
class _Read:
    """A node whose token was computed: its rows of the pool from the root on, its state, and for the full norm the
    log-sum-exp of the state's logits."""

    rows: list[int]
    state: Tensor
    total: float


@dataclass(eq=False)
class _Search:
    """One prompt's search: the running beams, the best ends so far, and what is known of the trie's nodes."""

    prefix: Prefix
    allowed: Allowed
    read: dict[int, _Read]
    beams: list[_Beam] = field(default_factory=lambda: [_Beam(0, 0.0)])
    ended: list[Hit] = field(default_factory=list)

    def missing(self) -> list[int]:
        """The beams' nodes that a forward must compute, best first."""
        return [beam.node for beam in self.beams if beam.node not in self.read]


class Beams:
    """Finds the k most probable sequences of a trie behind prompts.

    width: beams. norm: full takes log-probabilities over the whole vocabulary, as a model gives them; local
    renormalises over the legal children of each node, so that a forced token costs nothing.
    """

    def __init__(self, worker: Worker, head: Head, width: int, norm: Norm, k: int) -> None:
        self._worker, self._head, self._width, self._norm, self._k = worker, head, width, norm, k
        self.tokens = 0
        """Rows of beams that were computed."""

    def __call__(
        self, prompts: Sequence[tuple[Prefix, Tensor]], allowed: Sequence[Allowed], setting: Setting
    ) -> list[list[Hit]]:
        """At most k hits of each prompt (its prefix and the (d,) state of its last token), best first.

        Fewer where fewer sequences are allowed. At each step the best 2 x width expansions are looked at: those that
        end and stand among the first `width` are taken, the first `width` of the others go on; this is the search of
        transformers with length_penalty 0. A beam that cannot beat the k best ends any more is dropped: what grows of
        it stands behind everything that can, so the k answers are the same.
        """
        totals = self._totals(torch.stack([state for _, state in prompts])) if prompts else []
        searches = [
            _Search(prefix, own, {0: _Read([], state, total)})
            for (prefix, state), total, own in zip(prompts, totals, allowed, strict=True)
        ]
        pool = self._worker.body.prefix(room=self._width * len(searches) * 4)
        while running := [search for search in searches if search.beams]:
            current().check()
            if any(search.missing() for search in running):
                self._forward(running, pool, setting)
            self._expand(running)
        return [sorted(search.ended, key=_best)[: self._k] for search in searches]

    def _expand(self, searches: list[_Search]) -> None:
        """Replace each search's beams by its best expansions, and take out those that end."""
        read = [search.read[beam.node] for search in searches for beam in search.beams]
        lists = [search.allowed.children(beam.node) for search in searches for beam in search.beams]
        odds = iter(self._odds(read, searches, lists))
        legal = iter(lists)
        for search in searches:
            grown = [(beam, next(legal), next(odds)) for beam in search.beams]
            self._take(search, grown)

    def _take(self, search: _Search, grown: list[tuple[_Beam, NDArray[np.int32], NDArray[np.float32]]]) -> None:
        values = np.concatenate([beam.logprob + odds.astype(np.float64) for beam, _, odds in grown])
        nodes = np.concatenate([children for _, children, _ in grown])
        item = search.allowed.trie.item
        going: list[_Beam] = []
        for place, n in enumerate(_top(values, nodes, 2 * self._width)):
            node, value = int(nodes[n]), float(values[n])
            number = int(item[node]) if self._norm == "full" else self._sole(search.allowed, node)
            if number >= 0:
                if place < self._width:
                    search.ended.append(Hit(number, value))
            elif len(going) < self._width:
                going.append(_Beam(node, value))
        worst = sorted((hit.logprob for hit in search.ended), reverse=True)[self._k - 1 : self._k]
        search.beams = [beam for beam in going if not worst or beam.logprob > worst[0]]

    @staticmethod
    def _sole(allowed: Allowed, node: int) -> int:
        """The only sequence that is left at a node, or -1: among legal tokens what is forced costs nothing."""
        if allowed.trie.item[node] < 0 and allowed.count(node) == 1:
            node = int(allowed.children(allowed.forced(node, allowed.trie.depth)[-1])[0])
        return int(allowed.trie.item[node])

    def _odds(
        self, read: list[_Read], searches: list[_Search], lists: list[NDArray[np.int32]]
    ) -> list[NDArray[np.float32]]:
        """The log-probabilities of each beam's legal children."""
        states = torch.stack([one.state for one in read])
        tokens = [
            search.allowed.trie.token[children] for search, children in zip(_owners(searches), lists, strict=True)
        ]
        width = max(len(own) for own in tokens)
        if width > 512 and len(tokens) > 1:
            # at the root: rows of very different lengths would pad each other
            logits = [self._head.columns(states[i : i + 1], _long(own, states))[0] for i, own in enumerate(tokens)]
        else:
            padded = np.stack([np.pad(own, (0, width - len(own))) for own in tokens])
            rows = self._head.columns(states, _long(padded, states))
            logits = [row[: len(own)] for row, own in zip(rows, tokens, strict=True)]
        if self._norm == "local":
            return [torch.log_softmax(row, -1).cpu().numpy() for row in logits]
        return [row.cpu().numpy() - np.float32(one.total) for row, one in zip(logits, read, strict=True)]

    def _totals(self, states: Tensor) -> list[float]:
        """The log-sum-exps of the rows' logits, where the norm asks for them."""
        if self._norm == "local":
            return [0.0] * len(states)
        return [float(total) for total in self._head.log_sums(states)]

    def _forward(self, searches: list[_Search], pool: Prefix, setting: Setting) -> None:
        """One forward of every beam's node that is not known, and of nodes that are forced behind them."""
        chains = _chains(searches)
        pieces: list[Piece] = []
        pasts: list[list[int]] = []
        for search, own in zip(searches, chains, strict=True):
            first = len(pasts)
            for chain in own:
                rows = search.read[int(search.allowed.trie.parent[chain[0]])].rows
                for _ in chain:
                    rows = [*rows, pool.length + len(pasts)]
                    pasts.append(rows)
            nodes = [node for chain in own for node in chain]
            depth = [len(past) - 1 for past in pasts[first:]]
            pieces.append(Piece(search.prefix, nodes=search.allowed.trie.token[nodes], depth=depth))
        self.tokens += len(pasts)
        states: Tensor = self._worker.ask(rows_of(pieces, pasts, pool), _nodes, setting.using, setting.adapter)
        made = map(_Read, pasts, states, self._totals(states))
        for search, own in zip(searches, chains, strict=True):
            for node in (node for chain in own for node in chain):
                search.read[node] = next(made)


def _chains(searches: list[_Search]) -> list[list[list[int]]]:
    """For each search the nodes to compute, each with those that are forced behind it, the best beams' first."""
    made: list[list[list[int]]] = [[] for _ in searches]
    for search, own in zip(searches, made, strict=True):
        forced = sum(len(search.allowed.children(beam.node)) == 1 for beam in search.beams)
        left = AHEAD // len(searches) if forced >= _SURE * len(search.beams) else 0
        for node in search.missing():
            own.append(search.allowed.forced(node, 1 + left))
            left -= len(own[-1]) - 1
    return made


def rows_of(pieces: list[Piece], pasts: list[list[int]], pool: Prefix) -> Request:
    """Rows that each see their own branch, by its rows of the pool, themselves last."""
    ends = np.cumsum([len(piece.nodes) for piece in pieces]).tolist()
    cuts = [(start, end) for start, end in zip([0, *ends], ends, strict=False) if end > start]
    seen = [np.unique(np.concatenate(pasts[start:end])) for start, end in cuts]
    wide, deep = max(end - start for start, end in cuts), max(map(len, seen))
    queries, keys = np.zeros((len(cuts), wide), np.int32), np.zeros((len(cuts), deep), np.int32)
    sees = np.zeros((len(cuts), wide, deep), np.bool_)
    for block, ((start, end), own) in enumerate(zip(cuts, seen, strict=True)):
        queries[block] = np.minimum(np.arange(start, start + wide), end - 1)
        keys[block, : len(own)] = own
        for row, past in enumerate(pasts[start:end]):
            sees[block, row, np.searchsorted(own, past)] = True
        sees[block, end - start :] = sees[block, end - start - 1]  # what fills a block up sees as its last row does
    return Request(pieces, queries, keys, sees, pool)


def _nodes(states: States) -> Tensor:
    return states.nodes


def _owners(searches: list[_Search]) -> list[_Search]:
    return [search for search in searches for _ in search.beams]


def _top(values: NDArray[np.float64], nodes: NDArray[np.int32], most: int) -> NDArray[np.int64]:
    """The places of the largest values, best first; equal ones in the order of their nodes."""
    if len(values) > most:
        kept = np.flatnonzero(values >= np.partition(values, len(values) - most)[len(values) - most])
    else:
        kept = np.arange(len(values))
    order = np.lexsort((nodes[kept], -values[kept]))[:most]
    found: NDArray[np.int64] = kept[order]
    return found


def _long(tokens: NDArray[np.int32], like: Tensor) -> Tensor:
    return torch.as_tensor(tokens.astype(np.int64), device=like.device)


def _best(hit: Hit) -> tuple[float, int]:
    return -hit.logprob, hit.number
