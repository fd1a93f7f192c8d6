"""Beam search inside a token trie: the prompt once, all beams of all prompts in one forward, children only.

Sources: constrained generation over a catalog (GENRE, arXiv:2010.00904; RecLM-cgen, arXiv:2505.03336). A beam is a row
behind its prompt's prefix that sees its own branch; nothing is copied when beams are reordered. Expansions are taken
from the legal children themselves, never from a masked vocabulary, so there is no illegal answer at any beam width.
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
AHEAD = 4  # forced tokens computed at once; more would be wasted on beams that the best ends cut off


@dataclass(frozen=True)
class Hit:
    """A sequence of the trie by its number, and its summed log-probability, closing token included."""

    number: int
    logprob: float


@dataclass(eq=False)
class _Beam:
    node: int
    logprob: float
    past: list[int]
    """The beam's own tokens so far, as rows of the pool."""
    state: Tensor | None
    total: float = 0.0
    """The log-sum-exp of the state's logits, for the full norm."""
    ahead: list[tuple[int, Tensor, float]] = field(default_factory=list)
    """Rows, states and log-sums of the forced tokens that follow, where they were computed along."""

    def child(self, node: int, logprob: float) -> _Beam:
        """The beam one token further."""
        if not self.ahead:
            return _Beam(node, logprob, self.past, None)
        (row, state, total), *rest = self.ahead
        return _Beam(node, logprob, [*self.past, row], state, total, rest)


@dataclass(eq=False)
class _Search:
    """One prompt's search: the running beams and the best ends so far."""

    prefix: Prefix
    allowed: Allowed
    beams: list[_Beam]
    ended: list[Hit] = field(default_factory=list)


class Beams:
    """Finds the most probable sequences of a trie behind prompts.

    width: beams. norm: full takes log-probabilities over the whole vocabulary, as a model gives them; local
    renormalises over the legal children of each node, so that a forced token costs nothing.
    """

    def __init__(self, worker: Worker, head: Head, width: int, norm: Norm) -> None:
        self._worker, self._head, self._width, self._norm = worker, head, width, norm
        self.tokens = 0
        """Rows of beams that were computed."""

    def __call__(
        self, prompts: Sequence[tuple[Prefix, Tensor]], allowed: Sequence[Allowed], setting: Setting
    ) -> list[list[Hit]]:
        """At most `width` hits of each prompt (its prefix and the (d,) state of its last token), best first.

        Fewer where fewer sequences are allowed. At each step the best 2 x width expansions are looked at: those that
        end and stand among the first `width` are taken, the first `width` of the others go on; this is the search of
        transformers with length_penalty 0. A prompt is done when no running beam can still beat its `width` ends.
        """
        totals = self._totals(torch.stack([state for _, state in prompts])) if prompts else []
        searches = [
            _Search(prefix, own, [_Beam(0, 0.0, [], state, total)])
            for (prefix, state), total, own in zip(prompts, totals, allowed, strict=True)
        ]
        pool = self._worker.body.prefix(room=self._width * len(searches) * 4)
        while any(search.beams for search in searches):
            current().check()
            self._expand([search for search in searches if search.beams])
            if any(beam.state is None for search in searches for beam in search.beams):
                self._forward([search for search in searches if search.beams], pool, setting)
        return [sorted(search.ended, key=_best)[: self._width] for search in searches]

    def _expand(self, searches: list[_Search]) -> None:
        """Replace each search's beams by its best expansions, and take out those that end."""
        states = torch.stack([beam.state for search in searches for beam in search.beams])  # type: ignore[misc]
        lists = [search.allowed.children(beam.node) for search in searches for beam in search.beams]
        odds = iter(self._odds(states, searches, lists))
        legal = iter(lists)
        for search in searches:
            grown = [(beam, next(legal), next(odds)) for beam in search.beams]
            self._take(search, grown)

    def _take(self, search: _Search, grown: list[tuple[_Beam, NDArray[np.int32], NDArray[np.float32]]]) -> None:
        values = np.concatenate([beam.logprob + odds.astype(np.float64) for beam, _, odds in grown])
        nodes = np.concatenate([children for _, children, _ in grown])
        owner = np.repeat(np.arange(len(grown)), [len(children) for _, children, _ in grown])
        item = search.allowed.trie.item
        going: list[_Beam] = []
        for place, n in enumerate(_top(values, nodes, 2 * self._width)):
            node, value, beam = int(nodes[n]), float(values[n]), grown[owner[n]][0]
            number = int(item[node]) if self._norm == "full" else self._sole(search.allowed, node)
            if number >= 0:
                if place < self._width:
                    search.ended.append(Hit(number, value))
            elif len(going) < self._width:
                going.append(beam.child(node, value))
        worst = sorted((hit.logprob for hit in search.ended), reverse=True)[self._width - 1 : self._width]
        done = bool(worst) and (not going or going[0].logprob <= worst[0])
        search.beams = [] if done else going

    @staticmethod
    def _sole(allowed: Allowed, node: int) -> int:
        """The only sequence that is left at a node, or -1: among legal tokens what is forced costs nothing."""
        if allowed.trie.item[node] < 0 and allowed.count(node) == 1:
            node = int(allowed.children(allowed.forced(node)[-1])[0])
        return int(allowed.trie.item[node])

    def _odds(
        self, states: Tensor, searches: list[_Search], lists: list[NDArray[np.int32]]
    ) -> list[NDArray[np.float32]]:
        """The log-probabilities of each beam's legal children."""
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
        beams = (beam for search in searches for beam in search.beams)
        return [row.cpu().numpy() - np.float32(beam.total) for row, beam in zip(logits, beams, strict=True)]

    def _totals(self, states: Tensor) -> list[float]:
        """The log-sum-exps of the rows' logits, where the norm asks for them."""
        if self._norm == "local":
            return [0.0] * len(states)
        return [float(total) for total in self._head.log_sums(states)]

    def _forward(self, searches: list[_Search], pool: Prefix, setting: Setting) -> None:
        """One forward of the newest token of every beam that lacks it, and of all tokens that are forced behind it."""
        pieces: list[Piece] = []
        pasts: list[list[int]] = []
        asked: list[tuple[_Beam, int]] = []
        for search in searches:
            nodes: list[int] = []
            # while any beam still branches, what is forced behind another may be dropped before it is reached
            sure = all(search.allowed.count(beam.node) == 1 for beam in search.beams)
            for beam in (one for one in search.beams if one.state is None):
                chain = search.allowed.forced(beam.node)[: AHEAD if sure else 1]
                first = pool.length + len(pasts)
                pasts += [[*beam.past, *range(first, first + n + 1)] for n in range(len(chain))]
                nodes += chain
                asked.append((beam, len(chain)))
            own = pasts[len(pasts) - len(nodes) :]
            depth = [len(past) - 1 for past in own]
            pieces.append(Piece(search.prefix, nodes=search.allowed.trie.token[nodes], depth=depth))
        self.tokens += len(pasts)
        states: Tensor = self._worker.ask(rows_of(pieces, pasts, pool), _nodes, setting.using, setting.adapter)
        totals, at = self._totals(states), 0
        for beam, size in asked:
            rows = [past[-1] for past in pasts[at : at + size]]
            (row, beam.state, beam.total), *beam.ahead = zip(
                rows, states[at : at + size], totals[at : at + size], strict=True
            )
            beam.past = [*beam.past, row]
            at += size


def rows_of(pieces: list[Piece], pasts: list[list[int]], pool: Prefix) -> Request:
    """Rows that each see their own branch, by its rows of the pool, themselves last."""
    deep = max(len(past) for past in pasts)
    keys = np.array([past + past[-1:] * (deep - len(past)) for past in pasts], np.int32)
    sees = np.arange(deep)[None, :] < np.array([len(past) for past in pasts])[:, None]
    queries = np.arange(len(pasts), dtype=np.int32)[:, None]
    return Request(pieces, queries, keys, sees[:, None, :], pool)


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
