"""`Later`: a model that is opened when it is first asked, so that a missing file fails a stage and not the pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hexarec.lm.address import sound, withheld, without_secrets
from hexarec.lm.base import Completion, Constraint, Floats, Ints, LanguageModel, Prompt, ScoreRow, identity
from hexarec.lm.engine import rough_count


class Later:
    """The model `spec`, opened at the first question and then kept; `can` and `window` are promised until then.

    An open that fails is tried again at the next question. Calls raise what `open_lm` raises; `count` never does: it
    guesses until the model is open.
    """

    def __init__(self, spec: str, *, can: frozenset[str], window: int = 2048, **options: Any) -> None:
        if spec.startswith("openai:http"):
            sound(spec.removeprefix("openai:").partition("#")[0])
        self.name, self.spec, self._asked = without_secrets(spec), withheld(spec), spec
        self.options = options
        self._can, self._window = can, window
        self._opened: LanguageModel | None = None
        self._lock = threading.Lock()

    def open(self) -> LanguageModel:
        """The model. Raises as `open_lm` does."""
        from hexarec.lm.open import open_lm

        with self._lock:
            if self._opened is None:
                self._opened = open_lm(self._asked, **self.options)
            return self._opened

    @property
    def can(self) -> frozenset[str]:
        """What was promised, or what the open model can."""
        return self._can if self._opened is None else self._opened.can

    @property
    def window(self) -> int:
        """What was promised, or the open model's window, in tokens."""
        return self._window if self._opened is None else self._opened.window

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt."""
        return self.open().generate(prompts, within)

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities."""
        return self.open().label(prompts, labels)

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]], **how: bool) -> list[ScoreRow]:
        """Score rows; `how` is what the model takes beside."""
        return self.open().score(prompts, choices, **how)

    @property
    def trie(self) -> Callable[..., Any]:
        """`trie` of a model that searches; opens it, another has none."""
        return self.open().trie  # type: ignore[attr-defined, no-any-return]

    @property
    def search(self) -> Callable[..., list[list[Any]]]:
        """`search` of a model that has it; opens it."""
        return self.open().search  # type: ignore[attr-defined, no-any-return]

    @property
    def beam(self) -> Callable[..., list[list[Any]]]:
        """`beam` of a model that has it; opens it."""
        return self.open().beam  # type: ignore[attr-defined, no-any-return]

    @property
    def slate(self) -> Callable[..., list[Any]]:
        """`slate` of a model that has it; opens it."""
        return self.open().slate  # type: ignore[attr-defined, no-any-return]

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) hidden states."""
        return self.open().hidden(prompts, layer, pool)

    def identity(self, prompt: Prompt) -> str:
        """What besides the prompt decides the answers. It opens an `hf:` model; the others are known by their names."""
        return identity(self.open(), prompt) if self.spec.startswith("hf:") else self.name

    def weights(self) -> tuple[Any, Any]:
        """The module and its tokenizer."""
        return self.open().weights()

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces."""
        return self.open().stream(prompt)

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) token counts, guessed until the model is open."""
        return rough_count(texts) if self._opened is None else self._opened.count(texts)
