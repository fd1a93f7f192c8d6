"""Whether `hf:` and `gguf:` say the same of one file: token ids, and greedy answers to three fixed prompts.

Both read the same four-bit weights, but llama.cpp rounds activations to eight bits where torch does not: where a second
token is nearly as likely as the first, rounding decides. So the prompts have a clear answer; open questions to a small
model part after a few tokens, without anything being wrong. Ids must be equal for any text.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hexarec.lm import models
from hexarec.lm.base import Prompt, Sample, Turn
from hexarec.lm.gguf import GGUF
from hexarec.lm.hf.engine import HF

LENGTH = 8
PROMPTS = (
    Prompt.plain("The capital of France is Paris. The capital of Germany is", max_tokens=LENGTH),
    Prompt.user("Name one colour of the sky in one short sentence.", "You answer briefly.", max_tokens=LENGTH),
    Prompt(
        turns=(Turn("user", "请用中文数到十。"), Turn("assistant", "一、二、三、")), sample=Sample(max_tokens=LENGTH)
    ),
)
"""Raw text, a chat with a system turn, and an open answer in Chinese."""


@dataclass(frozen=True)
class Agreement:
    """What the two engines made of one prompt: ids alike, and the token ids of both answers."""

    prompt: Prompt
    ids_equal: bool
    torch: tuple[int, ...]
    llama: tuple[int, ...]

    @property
    def common(self) -> int:
        """How many tokens the two answers have in common at their start."""
        pairs = zip(self.torch, self.llama, strict=False)
        return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(self.torch), len(self.llama)))


def comparable(lm: HF) -> bool:
    """Whether the engine's source is one that llama.cpp opens too, and llama.cpp is here."""
    source = lm.name.removeprefix("hf:")
    return find_spec("xllamacpp") is not None and (source in models.REGISTRY or Path(source).suffix == ".gguf")


def compare(lm: HF) -> list[Agreement]:
    """Ask both engines the three prompts. Raises as opening a `gguf:` model does."""
    other = GGUF(lm.name.removeprefix("hf:"), window=512, cache=False)
    made = []
    for prompt, mine, theirs in zip(PROMPTS, lm.generate(PROMPTS), other.generate(PROMPTS), strict=True):
        equal = lm.tokens.prompt(prompt) == other._ids(prompt)
        made.append(Agreement(prompt, equal, lm.tokens.text(mine.text), lm.tokens.text(theirs.text)))
    return made


def told(found: list[Agreement]) -> str:
    """The agreement in one line."""
    ids = sum(one.ids_equal for one in found)
    answers = ", ".join(f"{one.common} of {max(len(one.torch), len(one.llama))}" for one in found)
    return f"token ids equal in {ids} of {len(found)} prompts; greedy tokens in common: {answers}"
