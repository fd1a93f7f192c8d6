"""What every language model speaks: requests and answers as values, constraints as data, one protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import CapabilityError
from hexarec.core.run import current

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Finish = Literal["stop", "length", "refused", "error"]

CAPABILITIES: dict[str, str] = {
    "text": "any engine: gguf:, hf:, openai:",
    "json": "gguf:, hf:, or an openai: endpoint with response_format",
    "choice": "gguf:, hf:, or an openai: endpoint with response_format",
    "trie": "hf:",
    "label": "gguf:, hf:, tiny:, or an openai: endpoint with logprobs",
    "score": "hf:, tiny:",
    "hidden": "hf:, tiny:, gguf: (last layer, mean)",
    "vectors": "hf:",
    "weights": "hf:",
}
"""The capabilities an engine may claim in `can`, each with the engines that have it."""

SLOT = "\ufffc"
"""Where a prompt's text holds this character, a row of its `vectors` stands instead of a token's embedding."""


@dataclass(frozen=True)
class Turn:
    """One turn of a chat; `role` is system, user or assistant. An assistant turn at the end is left open, to go on."""

    role: str
    text: str


@dataclass(frozen=True)
class Sample:
    """How to draw an answer: temperature 0 is greedy; `max_tokens` is of the answer; `stop` strings end it, unsaid."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Prompt:
    """One request: `turns`, or `raw` text; `vectors` (n, d) fill slot tokens in order; `adapter` names saved weights.

    `raw` is plain text that ends at a fixed cue. Text never becomes a control token, in turns or raw.
    Equal prompts have equal digests. `whose` is the user row of the question it belongs to (-1 = none): for records of
    what was asked, no part of the prompt. Raises ValueError when both or neither of turns and raw are given.
    """

    turns: tuple[Turn, ...] = ()
    raw: str | None = None
    vectors: Floats | None = None
    adapter: str | None = None
    seed: int = 0
    sample: Sample = Sample()
    whose: int = -1

    def __post_init__(self) -> None:
        if bool(self.turns) == (self.raw is not None):
            raise ValueError("a prompt has either turns or raw text")

    @classmethod
    def user(cls, text: str, system: str | None = None, *, seed: int = 0, **sample: Any) -> Prompt:
        """A chat of one user turn, after an optional system turn; `sample` are the fields of `Sample`."""
        turns = (Turn("user", text),) if system is None else (Turn("system", system), Turn("user", text))
        return cls(turns=turns, seed=seed, sample=Sample(**sample))

    @classmethod
    def plain(cls, text: str, *, seed: int = 0, **sample: Any) -> Prompt:
        """Text to be continued as it stands, without a chat format; `sample` are the fields of `Sample`."""
        return cls(raw=text, seed=seed, sample=Sample(**sample))

    @property
    def text(self) -> str:
        """The words of the prompt without roles: raw, or the turns' texts joined by blank lines."""
        return self.raw if self.raw is not None else "\n\n".join(turn.text for turn in self.turns)

    @property
    def ending(self) -> str:
        """The last character before the answer: of raw or of an open assistant turn, else a new line."""
        if self.raw is not None:
            return self.raw[-1:]
        return self.turns[-1].text[-1:] or "\n" if self.turns[-1].role == "assistant" else "\n"

    @cached_property
    def _digest(self) -> str:
        vectors = None
        if self.vectors is not None:
            rows = np.ascontiguousarray(self.vectors, dtype=np.float32)
            vectors = [list(rows.shape), hashlib.sha256(rows.tobytes()).hexdigest()]
        sample = self.sample
        return canonical_hash(
            {
                "turns": [[turn.role, turn.text] for turn in self.turns],
                "raw": self.raw,
                "vectors": vectors,
                "adapter": self.adapter,
                "seed": self.seed,
                "sample": [sample.temperature, sample.top_p, sample.max_tokens, list(sample.stop)],
            }
        )

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of all fields, seed and sample included."""
        return self._digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompt) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)


@dataclass(frozen=True)
class Completion:
    """One answer. `error` is set when `finish` is error; `retryable` says the same request may succeed later.

    It is also set when the length limit cut an answer that had to keep to a constraint: the text is then no whole JSON.
    `retry_after` is in seconds, 0 when the server named none. Token counts are those of this request.
    """

    text: str
    finish: Finish = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    error: str = ""
    retryable: bool = False
    retry_after: float = 0.0

    @property
    def good(self) -> bool:
        """Whether there is an answer worth keeping: finished by itself, or at the length limit and still of use."""
        return self.finish in ("stop", "length") and not self.error


@dataclass(frozen=True)
class Hypothesis:
    """One of several answers of a beam search: its text, summed log-probability (end included), and why it ended."""

    text: str
    logprob: float
    finish: Finish = "stop"


def failed(reason: str, *, retryable: bool = False, retry_after: float = 0.0) -> Completion:
    """The completion of a request that got no answer."""
    return Completion("", "error", error=reason, retryable=retryable, retry_after=retry_after)


@dataclass(frozen=True)
class Choice:
    """The answer is exactly one of these strings."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options or "" in self.options:
            raise ValueError("a choice needs options, none of them empty")


@dataclass(frozen=True)
class Trie:
    """The answer is one of these strings, of which there may be very many; the engine walks their token trie."""

    sequences: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class JsonSchema:
    """The answer is JSON text that fits this JSON Schema."""

    schema: Mapping[str, Any]


Constraint = Choice | Trie | JsonSchema


def constraint_key(within: Constraint | None) -> str:
    """A text that is equal for equal constraints; it stands in cache keys."""
    if within is None:
        return ""
    if isinstance(within, JsonSchema):
        return "json:" + canonical_hash(within.schema)
    kind, options = ("choice", within.options) if isinstance(within, Choice) else ("trie", within.sequences)
    return f"{kind}:{canonical_hash(list(options))}"


def canonical_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, keys sorted; any str is allowed, lone surrogates included."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, eq=False)
class ScoreRow:
    """What `score` says of one prompt: for each of m choices its summed log-probability and its number of tokens."""

    logprobs: Floats
    tokens: Ints


@runtime_checkable
class LanguageModel(Protocol):
    """What every engine and wrapper offers. All calls are batched, synchronous and thread-safe.

    `can` is a set of `CAPABILITIES`; a call outside it raises CapabilityError. `window` is in tokens, prompt and answer
    together. `spec` is the name that `open_lm` opens again. One bad prompt never fails its batch: its completion has
    finish "error". Only a spent budget, deadline, cancel or a fault of the model itself raises.
    """

    name: str
    spec: str

    @property
    def can(self) -> frozenset[str]:
        """The capabilities this engine has."""

    @property
    def window(self) -> int:
        """The most tokens of a prompt and its answer together."""

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt, in order."""

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) raw log-probabilities of one-token answers at the next position; NaN where not obtainable.

        They are the model's own, not renormalised over the labels. A label of several tokens is scored over its whole
        word where the engine has `score` for it (hf:); the others raise ModelError.
        """

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """For each prompt, the log-probability of each of its choices as continuation."""

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) hidden states after `layer` (-1 the last), pooled by "mean" or "last" over the prompt's tokens."""

    def weights(self) -> tuple[Any, Any]:
        """The module and its tokenizer, for tuning."""

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces as they are made; closing the iterator stops the engine."""

    def count(self, texts: Sequence[str]) -> Ints:
        """Number of tokens of each text."""


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors. `spec` is the name that `open_encoder` opens again."""

    name: str
    spec: str

    @property
    def dim(self) -> int:
        """The length of a vector."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) float32 rows of unit length; an empty text has a defined vector too."""


def identity(lm: LanguageModel, prompt: Prompt) -> str:
    """What besides the prompt decides the answers: what `lm.identity(prompt)` says where it is offered, else the name.

    An engine offers it when its name leaves that open: weights in a file, their number type, what an adapter holds.
    """
    own = getattr(lm, "identity", None)
    return lm.name if own is None else str(own(prompt))


def lacks(name: str, capability: str) -> CapabilityError:
    """The error for a call that the engine `name` cannot answer; it names the engines that can."""
    return CapabilityError(
        f"{name} cannot do {capability!r}", hint=f"engines with {capability!r}: {CAPABILITIES[capability]}"
    )


def count_call(
    calls: int = 1, *, tokens_in: int = 0, tokens_cached: int = 0, tokens_out: int = 0, seconds: float = 0.0
) -> None:
    """Count requests into the current run's ledger. The back end that computes does this once; wrappers never do.

    `tokens_in` includes `tokens_cached`; a forward is one evaluated prompt or generated token.
    """
    current().ledger.add(
        calls=calls,
        tokens_in=tokens_in,
        tokens_cached=tokens_cached,
        tokens_out=tokens_out,
        forwards=calls + max(tokens_out - calls, 0),
        seconds=seconds,
    )
