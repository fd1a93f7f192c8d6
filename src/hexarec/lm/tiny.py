"""`tiny:` - a two-layer llama with random weights and a byte tokenizer, in numpy: exact, fit for tests, no torch.

It knows nothing, but its log-probabilities are those of a real network: they sum to one, depend on every token before
and on none after, so scoring code can be tested against it to the last digit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import OptionError
from hexarec.core.run import current
from hexarec.core.seeds import rng
from hexarec.lm.base import Completion, Constraint, Finish, Floats, Ints, Prompt, ScoreRow, count_call, failed
from hexarec.lm.engine import Engine, label_tokens

CAN = frozenset({"text", "label", "score", "hidden"})
WIDTH, HEADS, KV_HEADS, INNER, LAYERS = 32, 4, 2, 64, 2
_HEAD = WIDTH // HEADS
BEGIN, START, END = 256, 257, 258
_MERGED = (" Yes", " No", "Yes", "No", "yes", "no", "是", "否")
"""Besides bytes the tokenizer has these words, so that the usual labels are one token."""
VOCABULARY = END + 1 + len(_MERGED)
_SPLIT = re.compile("(" + "|".join(_MERGED) + ")")
Array = NDArray[np.float64]


class Tiny(Engine):
    """A random model named by `name`: the same name is the same model on any machine. `window` is in tokens (bytes)."""

    def __init__(self, name: str = "model", *, window: int = 4096) -> None:
        self.name = self.spec = f"tiny:{name}"
        self._window, self._weights = window, _draw(name)

    @property
    def can(self) -> frozenset[str]:
        """text, label, score and hidden."""
        return CAN

    @property
    def window(self) -> int:
        """The most tokens of a prompt and its answer together."""
        return self._window

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt; a prompt beyond the window gets finish "error"."""
        self.admit(prompts, within)
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Completion:
        ids, most = _prompt_ids(prompt), prompt.sample.max_tokens
        if len(ids) + most > self._window:
            return failed(f"the prompt of {len(ids)} tokens and {most} more do not fit {self._window}")
        started, made = time.monotonic(), [token for token in self._draws(prompt, ids)]
        count_call(tokens_in=len(ids), tokens_out=len(made), seconds=time.monotonic() - started)
        finish: Finish = "stop" if made and made[-1] == END else "length"
        text = _decode(made)
        for mark in prompt.sample.stop:
            if mark in text:
                text, finish = text.split(mark, 1)[0], "stop"
        return Completion(text, finish, len(ids), len(made))

    def _draws(self, prompt: Prompt, ids: list[int]) -> Iterator[int]:
        draw = rng(prompt.seed, "tiny", prompt.digest())
        ids, sample = list(ids), prompt.sample
        for _ in range(sample.max_tokens):
            current().check()
            token = _pick(self._odds(ids)[-1], sample.temperature, sample.top_p, draw)
            ids.append(token)
            yield token
            if token == END or any(mark in _decode(ids[-64:]) for mark in sample.stop):
                return

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer, piece by piece; bytes that are no text yet become a replacement mark."""
        self.admit([prompt])
        for token in self._draws(prompt, _prompt_ids(prompt)):
            if token != END:
                yield _decode([token])

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) exact log-probabilities of one-token labels."""
        rows = []
        for prompt in prompts:
            wanted = label_tokens(labels, prompt.ending, encode, self.name)
            ids = _prompt_ids(prompt)
            rows.append(self._counted(ids, lambda ids=ids: self._odds(ids)[-1])[wanted])  # type: ignore[misc]
        return np.array(rows, dtype=np.float32).reshape(len(prompts), len(labels))

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Exact log-probabilities of continuations; an empty choice scores 0 over 0 tokens."""
        return [self._row(_prompt_ids(prompt), texts) for prompt, texts in zip(prompts, choices, strict=True)]

    def _row(self, ids: list[int], texts: Sequence[str]) -> ScoreRow:
        logprobs, tokens = np.zeros(len(texts), np.float32), np.zeros(len(texts), np.int32)
        for column, text in enumerate(texts):
            more = encode(text)
            every = ids + more
            odds = self._counted(every, lambda every=every: self._odds(every))  # type: ignore[misc]
            logprobs[column] = odds[np.arange(len(ids) - 1, len(every) - 1), more].sum()
            tokens[column] = len(more)
        return ScoreRow(logprobs, tokens)

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, 32) states after `layer`: 0 the embedding, 1, 2 or -1; pooled by "mean" or "last"."""
        if pool not in ("mean", "last") or not -LAYERS - 1 <= layer <= LAYERS:
            raise OptionError(f"no layer {layer} or pool {pool!r}", hint="layers 0 to 2 or -1, pools mean and last")
        rows = []
        for prompt in prompts:
            ids = _prompt_ids(prompt)
            states = self._counted(ids, lambda ids=ids: self._states(ids)[layer])  # type: ignore[misc]
            rows.append(states.mean(axis=0) if pool == "mean" else states[-1])
        return np.array(rows, dtype=np.float32).reshape(len(prompts), WIDTH)

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) exact token counts: bytes, but for the few merged words."""
        return np.array([len(encode(text)) for text in texts], dtype=np.int32)

    def _counted(self, ids: list[int], forward: Callable[[], Array]) -> Array:
        current().check()
        started = time.monotonic()
        made = forward()
        count_call(tokens_in=len(ids), tokens_out=1, seconds=time.monotonic() - started)
        return made

    def _odds(self, ids: list[int]) -> Array:
        """(t, vocabulary) log-probabilities of the token after each position."""
        logits = _norm(self._states(ids)[-1]) @ self._weights["out"]
        logits -= logits.max(axis=-1, keepdims=True)
        odds: Array = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return odds

    def _states(self, ids: list[int]) -> list[Array]:
        """The (t, width) states after the embedding and after each layer."""
        w = self._weights
        states = [w["embed"][ids]]
        for layer in range(LAYERS):
            x = states[-1]
            x = x + _attend(_norm(x), w, layer)
            gate = _norm(x) @ w[f"gate{layer}"]
            states.append(x + (gate / (1 + np.exp(-gate)) * (_norm(x) @ w[f"up{layer}"])) @ w[f"down{layer}"])
        return states


def _draw(name: str) -> dict[str, Array]:
    draw = rng(0, "tiny", name)
    kv = KV_HEADS * _HEAD
    shapes: dict[str, tuple[int, int]] = {"embed": (VOCABULARY, WIDTH), "out": (WIDTH, VOCABULARY)}
    for layer in range(LAYERS):
        shapes |= {f"q{layer}": (WIDTH, WIDTH), f"k{layer}": (WIDTH, kv), f"v{layer}": (WIDTH, kv)}
        shapes |= {f"o{layer}": (WIDTH, WIDTH), f"gate{layer}": (WIDTH, INNER), f"up{layer}": (WIDTH, INNER)}
        shapes[f"down{layer}"] = (INNER, WIDTH)
    return {key: draw.normal(0.0, 1.0 if key == "embed" else size[0] ** -0.5, size) for key, size in shapes.items()}


def _norm(x: Array) -> Array:
    normed: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
    return normed


def _rotate(x: Array) -> Array:
    """Rotary positions for (t, heads, head)."""
    half = _HEAD // 2
    angle = np.arange(len(x))[:, None] / 10_000.0 ** (np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    one, two = x[..., :half], x[..., half:]
    return np.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)


def _attend(x: Array, w: dict[str, Any], layer: int) -> Array:
    """Causal grouped-query attention over (t, width)."""
    t = len(x)
    q = _rotate((x @ w[f"q{layer}"]).reshape(t, HEADS, _HEAD))
    k = _rotate((x @ w[f"k{layer}"]).reshape(t, KV_HEADS, _HEAD)).repeat(HEADS // KV_HEADS, axis=1)
    v = (x @ w[f"v{layer}"]).reshape(t, KV_HEADS, _HEAD).repeat(HEADS // KV_HEADS, axis=1)
    match = q.transpose(1, 0, 2) @ k.transpose(1, 2, 0) / np.sqrt(_HEAD)
    match = np.where(np.tril(np.ones((t, t), dtype=bool)), match, -np.inf)
    share = np.exp(match - match.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    mixed: Array = (share @ v.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(t, WIDTH) @ w[f"o{layer}"]
    return mixed


def _pick(odds: Array, temperature: float, top_p: float, draw: np.random.Generator) -> int:
    """One token id: the likeliest at temperature 0, else drawn from the top `top_p` of the mass."""
    if temperature <= 0:
        return int(odds.argmax())
    share = np.exp((odds - odds.max()) / temperature)
    order = np.argsort(-share, kind="stable")
    mass = np.cumsum(share[order] / share.sum())
    kept = order[: int(np.searchsorted(mass, top_p)) + 1]
    return int(draw.choice(kept, p=share[kept] / share[kept].sum()))


def encode(text: str) -> list[int]:
    """Token ids of a text: UTF-8 bytes, and the merged words whole."""
    ids: list[int] = []
    for part in _SPLIT.split(text):
        if part in _MERGED:
            ids.append(END + 1 + _MERGED.index(part))
        else:
            ids += part.encode("utf-8", "replace")
    return ids


def _decode(ids: Sequence[int]) -> str:
    raw = b"".join(
        bytes([token]) if token < BEGIN else _MERGED[token - END - 1].encode() if token > END else b"" for token in ids
    )
    return raw.decode("utf-8", "replace")


def _prompt_ids(prompt: Prompt) -> list[int]:
    if prompt.raw is not None:
        return [BEGIN, *encode(prompt.raw)]
    ids = [BEGIN]
    for turn in prompt.turns:
        ids += [START, *encode(f"{turn.role}\n{turn.text}"), END]
    return ids[:-1] if prompt.turns[-1].role == "assistant" else [*ids, START, *encode("assistant\n")]
