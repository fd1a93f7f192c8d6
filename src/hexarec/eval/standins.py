"""Doubles in the place of models: a copy of a system that asks nobody, and what it would have asked."""

from __future__ import annotations

import copy
import itertools
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from hexarec.core import IdTable, PerUser, fresh, learned, option_names, run
from hexarec.core.options import is_stage
from hexarec.lm.base import Constraint, Floats, Hypothesis, Prompt, ScoreRow
from hexarec.lm.fake import Counting

T = TypeVar("T")
Rate = tuple[float, float]
STATE_WIDTH = 576  # length of a hidden state that nobody computes
_NUMBERS = itertools.count()
_WORD = re.compile(r"\w{3,}|[\u3400-\u9fff]")


def is_lm(value: Any) -> bool:
    """Whether a value is a language model, wrapped or not."""
    return callable(getattr(value, "generate", None)) and hasattr(value, "can")


def is_encoder(value: Any) -> bool:
    """Whether a value is an encoder."""
    return callable(getattr(value, "encode", None)) and hasattr(value, "spec")


def swapped(thing: T, swap: Callable[[Any], Any], *, keep: bool = True) -> T:
    """A copy in which every language model and encoder, however deep, is `swap(model)`; each is swapped once.

    keep: whether the copy keeps what its stages learned. The given objects are left as they were.
    """
    seen: dict[int, Any] = {}

    def made(value: Any) -> Any:
        if id(value) in seen:
            return seen[id(value)]
        if not isinstance(value, type) and (is_lm(value) or is_encoder(value)):
            seen[id(value)] = swap(value)
            return seen[id(value)]
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(made(one) for one in value)
        if isinstance(value, dict):
            return {name: made(one) for name, one in value.items()}
        if not is_stage(value) or isinstance(value, IdTable | PerUser):
            return value
        twin = seen[id(value)] = copy.copy(value) if keep else fresh(value)
        for name in [*option_names(twin), *learned(twin)]:
            before = getattr(twin, name)
            if (after := made(before)) is not before:
                object.__setattr__(twin, name, after)
        return twin

    twin: T = made(thing)
    return twin


@dataclass
class Tally:
    """What one model would have been asked. prices: dollars per token read and written."""

    kind: str
    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    texts: float = 0.0
    prices: Rate = (0.0, 0.0)
    spare: float = 0.0
    """Calls among `calls` that are counted in case there are more of something than in the dry run."""

    def plus(self, other: Tally, times: float) -> Tally:
        """This and `times` the other."""
        return Tally(
            self.kind, self.calls + times * other.calls, self.tokens_in + times * other.tokens_in,
            self.tokens_out + times * other.tokens_out, self.texts + times * other.texts, self.prices,
            self.spare + times * other.spare,
        )  # fmt: skip


@dataclass
class Meter:
    """Stand-ins for models, and what they counted by the model's name."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    def stand_in(self, model: Any) -> Any:
        """The double that counts in place of a language model or encoder."""
        name = str(getattr(model, "spec", "") or model.name)
        kind = ("lm:" if is_lm(model) else "encoder:") + name.partition(":")[0]
        tally = self.tallies.setdefault(name, Tally(kind, prices=getattr(model, "_prices", (0.0, 0.0))))
        return _CountingAs(model, tally) if is_lm(model) else WordsEncoder(model, tally)

    def taken(self) -> dict[str, Tally]:
        """What was counted since the last look."""
        out = {name: copy.copy(tally) for name, tally in self.tallies.items()}
        for tally in self.tallies.values():
            tally.calls = tally.tokens_in = tally.tokens_out = tally.texts = tally.spare = 0.0
        return out


class _CountingAs(Counting):
    """`fake:counting` with the capabilities of another model. Its spec is its own, so no memo takes two for one."""

    def __init__(self, model: Any, tally: Tally) -> None:
        super().__init__()
        self.name, self.spec, self._window = model.name, f"dry:{next(_NUMBERS)}", int(model.window)
        self._can: frozenset[str] = model.can
        self._tally, self._model = tally, model

    @property
    def can(self) -> frozenset[str]:
        """What the other model can."""
        return self._can

    @property
    def window(self) -> int:
        """The other model's window."""
        return self._window

    def _metered(self, call: Callable[[], T]) -> T:
        with run() as inner:
            made = call()
        self._tally.calls += inner.ledger.calls
        self._tally.tokens_in += inner.ledger.tokens_in
        self._tally.tokens_out += inner.ledger.tokens_out
        return made

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Any]:
        """Counted completions."""
        return self._metered(lambda: super(_CountingAs, self).generate(prompts, within))

    @property
    def beam(self) -> Callable[..., list[list[Hypothesis]]]:
        """Counted beams, where the model has them: a prompt is read once, each beam writes as much as it may."""
        _ = self._model.beam

        def counted(prompts: Sequence[Prompt], width: int = 10) -> list[list[Hypothesis]]:
            wide = [replace(p, sample=replace(p.sample, max_tokens=width * p.sample.max_tokens)) for p in prompts]
            said = self.generate(wide)
            return [[Hypothesis(f"{one.text} {n}", -float(n)) for n in range(width)] for one in said]

        return counted

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """Counted labels."""
        self.need("label")
        return self._metered(lambda: super(_CountingAs, self).label(prompts, labels))

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Counted scores."""
        self.need("score")
        return self._metered(lambda: super(_CountingAs, self).score(prompts, choices))

    def count_tuning(self, prompts: Sequence[Prompt], passes: int) -> None:
        """Counted tuning."""
        self.need("weights")
        self._metered(lambda: super(_CountingAs, self).count_tuning(prompts, passes))

    def count_spare(self, prompts: Sequence[Prompt]) -> None:
        """Counted prompts that may be asked as well: how many there are, vectors decide that nobody computed."""
        self.generate(prompts)
        self._tally.spare += len(prompts)

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """Zeros; the prompts are counted as read."""
        self.need("hidden")
        self._metered(lambda: super(_CountingAs, self).label(prompts, ["A"]))
        return np.zeros((len(prompts), STATE_WIDTH), np.float32)


class WordsEncoder:
    """In the place of an encoder: texts with words in common are alike, so that groups and candidates are as many as
    they would be. Counts the texts."""

    def __init__(self, model: Any, tally: Tally) -> None:
        self.name, self.spec = model.name, f"dry:{next(_NUMBERS)}"
        self.dim, self._tally = int(model.dim), tally

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit rows: each word a direction drawn by its hash; zeros without words."""
        self._tally.texts += len(texts)
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.casefold()):
                row[zlib.crc32(word.encode()) % self.dim] += 1.0
        made: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
        return made
