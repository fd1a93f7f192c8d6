"""A double that answers badly in every way seen in the wild, to prove that any text from a model is survived."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hexarec.core.run import current
from hexarec.core.seeds import rng
from hexarec.lm.base import Completion, Constraint, Floats, Prompt, ScoreRow, count_call
from hexarec.lm.engine import rough_count
from hexarec.lm.fake import Double
from hexarec.lm.reading import read

_REFUSAL = "I'm sorry, but as an AI language model I can't help with that."
KINDS = (
    "unicode",
    "html",
    "half json",
    "empty",
    "refusal",
    "very long",
    "invented",
    "duplicates",
    "out of range",
    "think",
    "fenced",
    "control",
    "numbers",
    "error",
)
"""The bad answers it gives, one kind a prompt, drawn by the prompt's digest."""


class Garbage(Double):
    """Answers with garbage and ignores constraints; the kind is drawn from the prompt, so it is the same every time.

    `kind` fixes one of `KINDS`; scores and labels are random, partly NaN or infinite.
    """

    name = "fake:garbage"

    def __init__(self, kind: str | None = None) -> None:
        super().__init__()
        self.kind = kind

    def answer(self, prompt: Prompt, within: Constraint | None) -> Completion:
        """One bad answer."""
        draw = rng(0, "garbage", prompt.digest())
        kind = self.kind or KINDS[int(draw.integers(len(KINDS)))]
        if kind == "error":
            return Completion("", "error", error="the double failed on purpose")
        if kind == "refusal":
            return Completion(_REFUSAL, "refused")
        return Completion(_bad(kind, draw, read(prompt.text).handles))

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) random log-probabilities, a tenth NaN and a tenth minus infinity."""
        rows = np.zeros((len(prompts), len(labels)), dtype=np.float32)
        for row, prompt in enumerate(prompts):
            rows[row] = _numbers(rng(1, "garbage", prompt.digest()), len(labels))
        self._tally(prompts)
        return rows

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Random log-probabilities, a tenth NaN and a tenth minus infinity."""
        self._tally(prompts)
        return [
            ScoreRow(_numbers(rng(2, "garbage", prompt.digest()), len(texts)), rough_count(texts))
            for prompt, texts in zip(prompts, choices, strict=True)
        ]

    @staticmethod
    def _tally(prompts: Sequence[Prompt]) -> None:
        current().check()
        for used in rough_count([prompt.text for prompt in prompts]):
            count_call(tokens_in=int(used), tokens_out=1)


def _numbers(draw: np.random.Generator, n: int) -> Floats:
    values = np.log(draw.random(n) + 1e-9)
    fate = draw.random(n)
    return np.where(fate < 0.1, np.nan, np.where(fate < 0.2, -np.inf, values)).astype(np.float32)


def _bad(kind: str, draw: np.random.Generator, handles: Sequence[str]) -> str:
    first = handles[0] if handles else "A"
    if kind == "unicode":
        points = draw.integers(1, 0x10FFFF, size=60)
        return "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)
    texts = {
        "html": "<html><body><script>alert(1)</script><h1>502 Bad Gateway</h1></body></html>",
        "half json": '{"ranking": ["' + first + '", "',
        "empty": "",
        "very long": f"[{first}] and so on, " * 5000,
        "invented": "[ZZZ] A Film That Never Was (2099)\n1. Another One (3000)\n[] \n[Q9] ",
        "duplicates": "\n".join(f"[{first}]" for _ in range(50)),
        "out of range": "[0], [-1], [99999999999999999999], [1e9], [NaN]",
        "think": "<think>The user wants a list, so first I consider " + first,
        "fenced": "```json\n\n```",
        "control": "\x00\x07\x1b[2J\u202e\ufeff\u200b[" + first + "]\r\n",
        "numbers": " ".join(str(number) for number in draw.integers(-5, 500, size=40)),
    }
    return texts[kind]
