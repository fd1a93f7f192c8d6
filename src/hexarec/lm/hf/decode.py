"""Text, token by token: the running answers of one call share every forward, and a guide may narrow each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hexarec.core.run import current
from hexarec.core.seeds import rng
from hexarec.lm.base import Completion, Finish, Prompt
from hexarec.lm.hf.attention import Prefix
from hexarec.lm.hf.forward import Piece, Request, States
from hexarec.lm.hf.head import Head
from hexarec.lm.hf.jobs import Setting
from hexarec.lm.hf.stepping import gather, worth
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.worker import Worker

ROOM = 64  # tokens by which the keys of a running answer grow at once


class Guide(Protocol):
    """Narrows the next token of one answer."""

    def mask(self) -> NDArray[np.bool_]:
        """(vocabulary,) which tokens may come next; none may, when the answer is complete."""

    def take(self, token: int) -> None:
        """The answer goes on with this token."""


@dataclass(eq=False)
class Answer:
    """One running answer."""

    prompt: Prompt
    prefix: Prefix
    state: Tensor
    tokens_in: int
    cached: int
    guide: Guide | None = None
    made: list[int] = field(default_factory=list)
    finish: Finish | None = None
    text: str = ""

    def completion(self) -> Completion:
        """The answer as a value."""
        return Completion(self.text, self.finish or "length", self.tokens_in, len(self.made), self.cached)


class Decoder:
    """Runs answers to their ends."""

    def __init__(self, worker: Worker, head: Head, tokens: Tokens) -> None:
        self._worker, self._head, self._tokens = worker, head, tokens

    def run(self, answers: Sequence[Answer], setting: Setting) -> Iterator[None]:
        """Advance all answers by a token at each step, until every one has a finish."""
        # where the folder of an adapter lies decides nothing
        draws = [rng(a.prompt.seed, "hf", replace(a.prompt, adapter=None).digest()) for a in answers]
        for answer in answers:
            answer.prefix.room = ROOM
        while running := [n for n, answer in enumerate(answers) if answer.finish is None]:
            current().check()
            logits = self._head.logits(torch.stack([answers[n].state for n in running])).cpu().numpy()
            for n, row in zip(running, logits, strict=True):
                self._step(answers[n], row, draws[n])
            yield
            left = [answers[n] for n in running if answers[n].finish is None]
            if left:
                self._forward(left, setting)

    def _step(self, answer: Answer, logits: NDArray[np.float32], draw: np.random.Generator) -> None:
        """Choose a token and see whether the answer ends with it."""
        sample = answer.prompt.sample
        if answer.guide is not None:
            mask = answer.guide.mask()[: len(logits)]
            if not mask.any():
                answer.finish = "stop"
                return
            logits = np.where(np.pad(mask, (0, len(logits) - len(mask))), logits, -np.inf)
        token = pick(logits, sample.temperature, sample.top_p, draw)
        answer.made.append(token)
        if answer.guide is not None:
            answer.guide.take(token)
        if token in self._tokens.ends:
            answer.finish = "stop"
            return
        answer.text = self._tokens.decode(answer.made)
        cut = min((at for mark in sample.stop if (at := answer.text.find(mark)) >= 0), default=-1)
        if cut >= 0:
            answer.text, answer.finish = answer.text[:cut], "stop"
        elif len(answer.made) >= sample.max_tokens:
            answer.finish = "stop" if answer.guide is not None and not answer.guide.mask().any() else "length"

    def _forward(self, answers: list[Answer], setting: Setting) -> None:
        prefixes = [answer.prefix for answer in answers]
        if self._worker.body.beside and any(_full(prefix) for prefix in prefixes) and worth(prefixes):
            gather(prefixes, ROOM)
        request = Request([Piece(answer.prefix, [answer.made[-1]]) for answer in answers])

        def read(states: States) -> list[Tensor]:
            return [rows[-1] for rows in states.fresh]

        rows = self._worker.ask(request, read, setting.using, setting.adapter)
        for answer, state in zip(answers, rows, strict=True):
            answer.state = state


def _full(prefix: Prefix) -> bool:
    """Whether the next token has no place in a block."""
    return prefix.place is None or prefix.length >= prefix.place[0].keys[0].shape[2]


def pick(logits: NDArray[np.float32], temperature: float, top_p: float, draw: np.random.Generator) -> int:
    """The most probable token at temperature 0, else one drawn from the smallest set that holds `top_p`."""
    if temperature <= 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()).astype(np.float64) / temperature
    odds = np.exp(scaled)
    odds /= odds.sum()
    if top_p < 1:
        order = np.argsort(-odds, kind="stable")
        kept = order[: int(np.searchsorted(np.cumsum(odds[order]), top_p)) + 1]
        odds = odds[kept] / odds[kept].sum()
        return int(kept[draw.choice(len(kept), p=odds)])
    return int(draw.choice(len(odds), p=odds))
