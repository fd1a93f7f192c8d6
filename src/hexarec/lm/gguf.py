"""`gguf:` - the embedded engine: llama.cpp in this process, no torch, no compiler, at most two threads.

One request at a time behind one lock; the prefix a request shares with the one before is not computed again. A repeated
prefix runs through other kernels than a fresh one, which moves log-probabilities of a 4-bit model by up to about 0.1;
`cache=False` computes every prompt afresh, so that answers do not depend on the order of requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core.errors import CapabilityError, ModelError, OptionError
from hexarec.core.run import Run, current
from hexarec.lm import llama, models
from hexarec.lm.base import (
    Choice,
    Completion,
    Constraint,
    Floats,
    Ints,
    JsonSchema,
    Prompt,
    count_call,
    failed,
)
from hexarec.lm.engine import Engine, keeps, label_tokens, unit_rows

CAN = frozenset({"text", "json", "choice", "label", "hidden"})
_TOP = (512, 8192)


class GGUF(Engine):
    """A GGUF model by registry name ("smollm2") or file path. `window` and the counts are in tokens.

    `threads` defaults to two, or one on a machine that is busy when the model is opened.

    Raises ModelError for a missing or broken file, MissingExtraError without xllamacpp.
    """

    def __init__(
        self, model: str = "smollm2", *, window: int = 2048, threads: int | None = None, cache: bool = True
    ) -> None:
        self.name = self.spec = f"gguf:{model}"
        self._path, self._threads, self._cache = _find(model), threads or llama.free_threads(), cache
        self._core = llama.share(self._path, window, self._threads)
        self._window = min(window, self._core.trained_window)
        self._start, self._end = self._core.control("<|im_start|>"), self._core.control("<|im_end|>")
        self._last: list[int] = []
        self._warm = cache
        self._rate = 200.0

    @property
    def can(self) -> frozenset[str]:
        """text, json, choice, label and hidden (last layer, mean)."""
        return CAN

    @property
    def window(self) -> int:
        """The most tokens of a prompt and its answer together."""
        return self._window

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt, asked in an order that shares prefixes, returned in the prompts' order.

        A prompt too long for the window gets finish "error"; nothing is cut. A `Choice` is followed token by token, so
        it is the greedy path through the options, not the most probable whole option.
        """
        self.admit(prompts, within)
        return self._each(prompts, lambda prompt, ids: self._one(prompt, ids, within), failed)

    def _each(
        self,
        prompts: Sequence[Prompt],
        ask: Callable[[Prompt, list[int]], Any],
        refuse: Callable[[str], Any],
        most: int | None = None,
    ) -> list[Any]:
        """Ask each prompt with its token ids, neighbours in token order one after the other; `most` answer tokens."""
        rows = [self._ids(prompt) for prompt in prompts]
        answers: list[Any] = [None] * len(prompts)
        for row in sorted(range(len(rows)), key=rows.__getitem__):
            answer = prompts[row].sample.max_tokens if most is None else most
            if len(rows[row]) + answer > self._window:
                answers[row] = refuse(
                    f"the prompt has {len(rows[row])} tokens, but {self.name} has room for {self._window - answer} "
                    f"beside an answer of {answer}"
                )
            else:
                with self._core.lock:
                    self._own()
                    self._check(rows[row])
                    answers[row] = ask(prompts[row], rows[row])
                    self._last = rows[row]
        return answers

    def _own(self) -> None:
        """Leave what another tenant's prompts left behind: a prefix found warm would tell that somebody asked it."""
        tenant = current().tenant
        self._warm = self._cache and self._core.tenant == tenant
        if self._core.tenant != tenant:
            self._core.tenant, self._last = tenant, []

    def _check(self, ids: list[int]) -> None:
        """Stop the run here when it is cancelled or when reading this prompt would outlast its deadline."""
        fresh = len(ids) - (_shared(ids, self._last) if self._warm else 0)
        current().check(fresh / self._rate)

    def _one(self, prompt: Prompt, ids: list[int], within: Constraint | None) -> Completion:
        work, started = current(), time.monotonic()
        reply = self._core.complete(
            self._request(prompt, ids, within), lambda piece: bool(work.cancel) or work.remaining() <= 0
        )
        if "error" in reply:
            return failed(f"{self.name}: {reply['error'].get('message', 'refused')}")
        made = self._answer(reply, started)
        _stop_if_ended(work, reply)
        return _checked(made, within)

    def _answer(self, reply: dict[str, Any], started: float) -> Completion:
        """The reply as a value, counted into the ledger; also learns how fast prompts are read."""
        timings = reply.get("timings", {})
        cached, fresh = int(timings.get("cache_n", 0)), int(timings.get("prompt_n", 0))
        made = int(reply.get("usage", {}).get("completion_tokens", 0))
        if fresh >= 64:
            self._rate = 0.5 * self._rate + 0.5 * fresh / max(timings["prompt_ms"] / 1e3, 1e-3)
        count_call(tokens_in=cached + fresh, tokens_cached=cached, tokens_out=made, seconds=time.monotonic() - started)
        finish = "stop" if reply["choices"][0].get("finish_reason") == "stop" else "length"
        return Completion(reply["text"], "stop" if finish == "stop" else "length", cached + fresh, made, cached)

    def _request(self, prompt: Prompt, ids: list[int], within: Constraint | None) -> dict[str, Any]:
        sample = prompt.sample
        request: dict[str, Any] = {
            "prompt": ids,
            "max_tokens": sample.max_tokens,
            "temperature": sample.temperature,
            "top_p": sample.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "seed": prompt.seed % 2**31,
            "stop": list(sample.stop),
            "cache_prompt": self._warm,
        }
        if isinstance(within, Choice):
            request["grammar"] = _one_of(within.options)
        elif isinstance(within, JsonSchema):
            # else a small model fills the answer with blank lines
            request["json_schema"] = {**within.schema, "x-guidance": {"whitespace_flexible": False}}
        return request

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities over the whole vocabulary; NaN rows for prompts beyond the window.

        The most probable 512 tokens are asked for first; a label beyond them costs a second request for more, in the
        end for all, so the number is exact however improbable the label is.
        """
        forms = {end: self._label_ids(labels, end) for end in {prompt.ending for prompt in prompts}}
        missing = np.full(len(labels), np.nan, dtype=np.float32)
        rows = self._each(
            prompts, lambda prompt, ids: self._odds(ids, forms[prompt.ending]), lambda reason: missing, most=1
        )
        return np.array(rows, dtype=np.float32).reshape(len(prompts), len(labels))

    def _label_ids(self, labels: Sequence[str], ending: str) -> list[int]:
        return label_tokens(labels, ending, self._core.tokens, self.name)

    def _odds(self, ids: list[int], wanted: list[int]) -> Floats:
        for top in (*_TOP, self._core.vocabulary):
            started = time.monotonic()
            request = {"prompt": ids, "max_tokens": 1, "temperature": 0.0, "n_probs": top, "cache_prompt": self._warm}
            reply = self._core.complete(request)
            if "error" in reply:
                return np.full(len(wanted), np.nan, dtype=np.float32)
            self._answer(reply, started)
            told = reply["choices"][0]["logprobs"]
            if told is None:  # the likeliest token is a part of a character, which the server keeps to itself
                return np.full(len(wanted), np.nan, dtype=np.float32)
            heard = told["content"][0]["top_logprobs"]
            odds = {entry["id"]: entry["logprob"] for entry in heard}
            if all(token in odds for token in wanted):
                break
        return np.array([odds.get(token, -np.inf) for token in wanted], dtype=np.float32)

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) states of the last layer, mean over the prompt's tokens, not normalised; no other layer or pool."""
        if layer != -1 or pool != "mean":
            raise CapabilityError(
                f"{self.name} has hidden states of the last layer, pooled by mean, only", hint="use hf: for others"
            )
        core = llama.share(self._path, self._window, self._threads, embedding=True)
        rows = [_embed(core, self._ids(prompt), self._window) for prompt in prompts]
        return np.array(rows, dtype=np.float32).reshape(len(prompts), core.dim)

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces as they are made; the engine is busy until the iterator ends or is closed.

        Raises ModelError for a prompt beyond the window.
        """
        ids, left = self._ids(prompt), prompt.sample.max_tokens
        if len(ids) + left > self._window:
            raise ModelError(f"the prompt of {len(ids)} tokens does not fit the window of {self.name}")
        yield from _pieces(self, prompt, ids)

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) exact token counts, without the tokens of the chat format."""
        return np.array([len(self._core.tokens(_clean(text))) for text in texts], dtype=np.int32)

    def _ids(self, prompt: Prompt) -> list[int]:
        """The prompt as token ids: ChatML around turns. Text is tokenised apart, so it cannot hold a control token."""
        tokens, ids = self._core.tokens, list(self._core.opening)
        if prompt.raw is not None:
            return ids + list(tokens(_clean(prompt.raw)))
        if self._start is None or self._end is None:
            return ids + list(tokens(_plain_chat(prompt)))
        for turn in prompt.turns:
            ids += [self._start, *tokens(f"{turn.role}\n{_clean(turn.text)}"), self._end, *tokens("\n")]
        if prompt.turns[-1].role == "assistant":
            return ids[: -1 - len(tokens("\n"))]
        return ids + [self._start, *tokens("assistant\n")]


class GGUFHidden:
    """An encoder made of a GGUF model: mean of the last layer's states, unit length. Texts are cut at the window."""

    def __init__(self, model: str = "smollm2", *, window: int = 512, threads: int | None = None) -> None:
        self.name = self.spec = f"gguf:{model}"
        self._window = window
        self._core = llama.share(_find(model), window, threads or llama.free_threads(), embedding=True)
        self.dim = self._core.dim

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit rows; an empty text is read as one space."""
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            current().check()
            rows[row] = _embed(self._core, list(self._core.tokens(_clean(text) or " ")), self._window)
        return unit_rows(rows)


def _find(model: str) -> Path:
    if model in models.REGISTRY:
        return models.whole(model) / models.REGISTRY[model].weights
    found = Path(model).expanduser()
    if found.suffix != ".gguf":
        raise OptionError(
            f"{model!r} is neither an embedded model nor a .gguf file", hint=f"embedded: {', '.join(models.REGISTRY)}"
        )
    return found


def _embed(core: llama.Llama, ids: list[int], window: int) -> list[float]:
    ids = ids[: window - 1]
    started = time.monotonic()
    vector = core.embed(ids)
    count_call(tokens_in=len(ids), seconds=time.monotonic() - started)
    return vector


def _pieces(engine: GGUF, prompt: Prompt, ids: list[int]) -> Iterator[str]:
    """Generate in a worker and hand its pieces over; leaving the loop stops the worker at its next token."""
    import queue
    import threading
    from contextvars import copy_context

    pieces: queue.Queue[str | None | BaseException] = queue.Queue()
    gone = threading.Event()

    def hear(piece: str) -> bool:
        pieces.put(piece)
        return gone.is_set() or bool(work.cancel) or work.remaining() <= 0

    def speak() -> None:
        try:
            started = time.monotonic()
            with engine._core.lock:
                engine._own()
                engine._check(ids)
                reply = engine._core.complete(engine._request(prompt, ids, None), hear)
                engine._last = ids
            if "error" in reply:
                raise ModelError(f"{engine.name}: {reply['error'].get('message', 'refused')}")
            engine._answer(reply, started)
            pieces.put(None)
        except BaseException as error:
            pieces.put(error)

    work = current()
    worker = threading.Thread(target=copy_context().run, args=(speak,), daemon=True)
    worker.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            if piece:
                yield piece
        work.check()
    finally:
        gone.set()
        worker.join()


def _shared(one: list[int], other: list[int]) -> int:
    """How many tokens two sequences have in common at their start."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _stop_if_ended(work: Run, reply: dict[str, Any]) -> None:
    """Raise when the engine was stopped because the run was cancelled or out of time."""
    if reply.get("stopped"):
        work.check()


def _checked(made: Completion, within: Constraint | None) -> Completion:
    """The completion, or an error when a finished answer does not keep to the constraint."""
    if within is None or made.finish != "stop":
        return made
    kept = keeps(made.text, within)
    reason = "the engine could not follow this schema" if isinstance(within, JsonSchema) else "no such option"
    return made if kept else Completion("", "error", made.tokens_in, made.tokens_out, made.tokens_cached, reason)


def _one_of(options: Sequence[str]) -> str:
    """A grammar that allows exactly these strings."""
    quoted = (json.dumps(_clean(option), ensure_ascii=False) for option in dict.fromkeys(options))
    return "%llguidance {}\nstart: " + " | ".join(quoted)


def _clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain_chat(prompt: Prompt) -> str:
    """Turns as labelled lines, for a model without the ChatML tokens."""
    lines = [f"{turn.role.capitalize()}: {_clean(turn.text)}" for turn in prompt.turns]
    return "\n\n".join(lines if prompt.turns[-1].role == "assistant" else [*lines, "Assistant:"])
