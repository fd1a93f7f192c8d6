"""Beam search over the whole vocabulary: several answers of one prompt, the likeliest first, in shared forwards.

As `beam`, but nothing says which token may come: a beam is a row behind its prompt's prefix that sees its own branch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hexarec.core.run import current
from hexarec.lm.base import Finish, Hypothesis, Prompt
from hexarec.lm.hf.attention import Prefix
from hexarec.lm.hf.beam import rows_of
from hexarec.lm.hf.forward import Piece, States
from hexarec.lm.hf.head import Head
from hexarec.lm.hf.jobs import Setting
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.worker import Worker


@dataclass(eq=False)
class _Beam:
    tokens: list[int]
    logprob: float
    past: list[int]
    """The beam's own tokens so far, as rows of the pool."""
    state: Tensor | None


@dataclass(eq=False)
class _Search:
    """One prompt's search: the running beams, and the best end of each text."""

    prompt: Prompt
    prefix: Prefix
    beams: list[_Beam]
    ended: dict[str, Hypothesis] = field(default_factory=dict)

    def end(self, text: str, logprob: float, finish: Finish) -> None:
        """Take an end, unless the same text ended better before."""
        if text not in self.ended or self.ended[text].logprob < logprob:
            self.ended[text] = Hypothesis(text, logprob, finish)

    def best(self, width: int) -> list[Hypothesis]:
        """The likeliest ends, best first; equal ones by their text."""
        return sorted(self.ended.values(), key=lambda one: (-one.logprob, one.text))[:width]


class FreeBeams:
    """Finds several probable answers behind prompts. width: beams, and most answers of a prompt."""

    def __init__(self, worker: Worker, head: Head, tokens: Tokens, width: int) -> None:
        self._worker, self._head, self._tokens, self._width = worker, head, tokens, width
        self.tokens = 0
        """Rows of beams that were computed."""

    def __call__(self, prompts: Sequence[tuple[Prompt, Prefix, Tensor]], setting: Setting) -> list[list[Hypothesis]]:
        """At most `width` different answers of each prompt (with its prefix and the state of its last token).

        An answer ends with the token that ends answers, before a stop text, or at the prompt's `max_tokens`. At each
        step the best 2 x width expansions are looked at: those that end and stand among the first `width` are taken,
        the first `width` of the others go on; this is the search of transformers with length_penalty 0. A prompt is
        done when no running beam can still beat its `width` ends.
        """
        searches = [_Search(prompt, prefix, [_Beam([], 0.0, [], state)]) for prompt, prefix, state in prompts]
        pool = self._worker.body.prefix(room=self._width * len(searches) * 4)
        while running := [search for search in searches if search.beams]:
            current().check()
            self._expand(running)
            if left := [search for search in running if search.beams]:
                self._forward(left, pool, setting)
        return [search.best(self._width) for search in searches]

    def _expand(self, searches: list[_Search]) -> None:
        """Replace each search's beams by its best expansions, and take out those that end."""
        states = torch.stack([beam.state for search in searches for beam in search.beams])  # type: ignore[misc]
        odds = torch.log_softmax(self._head.logits(states), -1)
        top = odds.topk(min(2 * self._width, odds.shape[1]))
        values, tokens = top.values.cpu().numpy().astype(np.float64), top.indices.cpu().numpy()
        at = 0
        for search in searches:
            own = slice(at, at := at + len(search.beams))
            self._take(search, values[own], tokens[own])

    def _take(self, search: _Search, values: NDArray[np.float64], tokens: NDArray[np.int64]) -> None:
        totals = (values + np.array([beam.logprob for beam in search.beams])[:, None]).ravel()
        order = np.lexsort((tokens.ravel(), -totals))[: 2 * self._width]
        going: list[_Beam] = []
        for place, n in enumerate(order.tolist()):
            beam, token, total = search.beams[n // values.shape[1]], int(tokens.flat[n]), float(totals[n])
            end = self._end(search.prompt, beam.tokens, token)
            if end is not None:
                if place < self._width:
                    search.end(end[0], total, end[1])
            elif len(going) < self._width:
                going.append(_Beam([*beam.tokens, token], total, beam.past, None))
        search.beams = [] if self._done(search, going) else going

    def _end(self, prompt: Prompt, before: list[int], token: int) -> tuple[str, Finish] | None:
        """The text that ends with this token and why it ends there, or None where it goes on."""
        if token in self._tokens.ends:
            return self._tokens.decode(before), "stop"
        text = self._tokens.decode([*before, token])
        cut = min((at for mark in prompt.sample.stop if (at := text.find(mark)) >= 0), default=-1)
        if cut >= 0:
            return text[:cut], "stop"
        return (text, "length") if len(before) + 1 >= prompt.sample.max_tokens else None

    def _done(self, search: _Search, going: list[_Beam]) -> bool:
        best = search.best(self._width)
        worst = best[-1].logprob if len(best) == self._width else -math.inf
        return not going or going[0].logprob <= worst

    def _forward(self, searches: list[_Search], pool: Prefix, setting: Setting) -> None:
        """One forward of the newest token of every beam."""
        pieces, beams = [], []
        for search in searches:
            nodes = [beam.tokens[-1] for beam in search.beams]
            depth = [len(beam.past) for beam in search.beams]
            pieces.append(Piece(search.prefix, nodes=nodes, depth=depth))
            beams += search.beams
        for row, beam in enumerate(beams, pool.length):
            beam.past = [*beam.past, row]
        self.tokens += len(beams)
        states: list[Tensor] = self._worker.ask(
            rows_of(pieces, [beam.past for beam in beams], pool), _nodes, setting.using, setting.adapter
        )
        for beam, state in zip(beams, states, strict=True):
            beam.state = state


def _nodes(states: States) -> list[Tensor]:
    return list(states.nodes)
