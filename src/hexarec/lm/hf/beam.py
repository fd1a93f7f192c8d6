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
        searches = [
            _Search(prefix, own, [_Beam(0, 0.0, [], state)])
            for (prefix, state), own in zip(prompts, allowed, strict=True)
        ]
        pool, used = self._worker.body.prefix(room=self._width * len(searches) * 4), 0
        while any(search.beams for search in searches):
            current().check()
            self._expand([search for search in searches if search.beams])
            running = [search for search in searches if search.beams]
            if running:
                self._forward(running, pool, used, setting)
                used += sum(len(search.beams) for search in running)
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
            if item[node] >= 0:
                if place < self._width:
                    search.ended.append(Hit(int(item[node]), value))
            elif len(going) < self._width:
                going.append(_Beam(node, value, beam.past, None))
        worst = sorted((hit.logprob for hit in search.ended), reverse=True)[self._width - 1 : self._width]
        done = bool(worst) and (not going or going[0].logprob <= worst[0])
        search.beams = [] if done else going

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
        sums = self._head.log_sums(states)
        return [(row - total).cpu().numpy() for row, total in zip(logits, sums, strict=True)]

    def _forward(self, searches: list[_Search], pool: Prefix, used: int, setting: Setting) -> None:
        """One forward of the newest token of every running beam."""
        beams = [beam for search in searches for beam in search.beams]
        self.tokens += len(beams)
        for row, beam in enumerate(beams):
            beam.past = [*beam.past, used + row]
        pieces = [
            Piece(
                search.prefix,
                nodes=search.allowed.trie.token[[beam.node for beam in search.beams]],
                depth=[len(beam.past) - 1 for beam in search.beams],
            )
            for search in searches
        ]
        deep = max(len(beam.past) for beam in beams)
        keys = np.array([beam.past + beam.past[-1:] * (deep - len(beam.past)) for beam in beams], np.int32)
        sees = np.arange(deep)[None, :] < np.array([len(beam.past) for beam in beams])[:, None]
        queries = np.arange(len(beams), dtype=np.int32)[:, None]
        request = Request(pieces, queries, keys, sees[:, None, :], pool)

        def read(states: States) -> Tensor:
            return states.nodes

        rows: Tensor = self._worker.ask(request, read, setting.using, setting.adapter)
        for beam, state in zip(beams, rows, strict=True):
            beam.state = state


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
