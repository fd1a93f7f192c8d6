"""`openai:` - any OpenAI-compatible server (vLLM, Ollama, llama.cpp, hosted), by the `openai` client.

Requests of a batch are in flight together. Retries, rates and budgets are the business of `Guarded`; caching is that of
`Cassette`. What the server can is found by `probe` once and remembered.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hexarec.core.errors import CapabilityError, ModelError, RetryableModelError
from hexarec.core.run import pool
from hexarec.lm.address import withheld, without_secrets
from hexarec.lm.base import (
    Choice,
    Completion,
    Constraint,
    Finish,
    Floats,
    Ints,
    JsonSchema,
    Prompt,
    Trie,
    count_call,
    failed,
)
from hexarec.lm.engine import Engine, fits, rough_count, unit_rows
from hexarec.lm.gate import admitted
from hexarec.lm.wire import Busy, Refused, Wire, gathered, said, split

_TOP = 20


class Endpoint(Engine):
    """A model behind `openai:model` or `openai:http://host:port/v1#model`.

    `workers` requests are in flight at once; `timeout` is in seconds; `window` in tokens is what the user knows of the
    model (the protocol does not tell). `key_name` and `url_name` name environment variables. `choice` is how a closed
    list is asked for: "schema" (an enum in response_format) or "guided" (vLLM's guided_choice). `can` is what the probe
    found, or what is given here; before any probe it is text alone. `missing` counts label cells the server left out.
    `stream` asks for answers in pieces, so that a server that falls silent is noticed before the timeout's end.
    `name` is without a user, password or query that the address may hold: errors and probes know the model by it. In
    `spec`, which is saved, they read "***"; a model of such a name takes its address from the variable `url_name`.
    """

    gated = True

    def __init__(
        self,
        model: str,
        *,
        workers: int = 8,
        timeout: float = 60.0,
        window: int = 8192,
        key_name: str = "OPENAI_API_KEY",
        url_name: str = "OPENAI_BASE_URL",
        choice: str = "schema",
        can: frozenset[str] | None = None,
        stream: bool = False,
    ) -> None:
        url, self.model = split(model)
        self.spec = withheld(f"openai:{model}")
        self.name = without_secrets(self.spec)
        self.wire = Wire(url, timeout=timeout, key_name=key_name, url_name=url_name)
        self._workers, self._window, self._choice, self._given = workers, window, choice, can
        self._streams, self._missing = stream, 0

    @property
    def missing(self) -> int:
        """Label cells that the server left out so far."""
        return self._missing

    @property
    def can(self) -> frozenset[str]:
        """What was given, else what the probe found, else text."""
        if self._given is not None:
            return self._given
        from hexarec.lm.probe import remembered

        return remembered(self.name) or frozenset({"text"})

    @property
    def window(self) -> int:
        """The most tokens of a prompt and its answer together, as given."""
        return self._window

    def with_can(self, can: frozenset[str]) -> Endpoint:
        """The same endpoint taken to have these capabilities, whatever a probe found."""
        other = copy.copy(self)
        other._given = can
        return other

    def need(self, capability: str) -> None:
        """Raise CapabilityError unless the server is known to have `capability`."""
        if capability == "vectors":
            super().need(capability)  # no server has it, whatever a probe finds
        if capability not in self.can:
            raise CapabilityError(
                f"{self.name} is not known to do {capability!r}",
                hint=f"run `hexarec models test {self.name}` to find out, or use gguf:",
            )

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt. A request that fails gets finish "error" and says whether to try again.

        Raises ModelError where every request must fail: a wrong key, an unknown model.
        """
        self.admit(prompts, within)
        return pool(lambda prompt: self._safe(prompt, within), prompts, self._workers)

    def _safe(self, prompt: Prompt, within: Constraint | None) -> Completion:
        try:
            with admitted(prompt):
                return self._one(prompt, within)
        except RetryableModelError as error:
            return failed(error.message, retryable=True, retry_after=float(getattr(error, "after", 0.0)))
        except Refused as error:
            return failed(str(error))

    def _one(self, prompt: Prompt, within: Constraint | None) -> Completion:
        reply = self._ask(prompt, {**self._sampling(prompt), **self._constraint(within)})
        choice = _first(reply)
        message = choice.get("message")
        said = message if isinstance(message, dict) else {"content": choice.get("text")}
        text, usage = said.get("content"), _usage(reply)
        if said.get("refusal") or choice.get("finish_reason") == "content_filter":
            return Completion(str(said.get("refusal") or ""), "refused", *usage)
        if not isinstance(text, str):
            raise Busy(f"{self.name} answered without text")
        finish: Finish = "length" if choice.get("finish_reason") == "length" else "stop"
        text = text.encode("utf-8", "replace").decode("utf-8")
        return self._kept(Completion(text, finish, *usage), within)

    def _kept(self, made: Completion, within: Constraint | None) -> Completion:
        """The completion with a choice unwrapped, or an error where the answer does not keep to the constraint."""
        if within is None or not made.good:
            return made
        value: Any = None
        try:
            value = json.loads(made.text)
        except (ValueError, RecursionError):
            pass
        if isinstance(within, JsonSchema):
            kept, text = value is not None and fits(value, within.schema), made.text
        else:
            text = value.get("choice", "") if isinstance(value, dict) else made.text.strip()
            kept = text in _options(within)
        if kept:
            return Completion(text, made.finish, made.tokens_in, made.tokens_out, made.tokens_cached)
        if made.finish == "length" and isinstance(within, JsonSchema):
            return made
        reason = f"{self.name} did not keep to the constraint: {made.text[:60]!r}"
        return Completion("", "error", made.tokens_in, made.tokens_out, made.tokens_cached, reason)

    def _ask(self, prompt: Prompt, options: dict[str, Any]) -> dict[str, Any]:
        """One request, counted into the ledger; raw prompts go to /completions, turns to /chat/completions."""
        started = time.monotonic()
        body: dict[str, Any] = {"model": self.model, **options}
        worst = (int(rough_count([prompt.text])[0]), int(options.get("max_tokens", 0)))
        if prompt.raw is not None:
            if "top_logprobs" in body:
                body["logprobs"] = body.pop("top_logprobs")
            reply = self.wire.post("/completions", {**body, "prompt": prompt.raw}, worst)
        else:
            body["messages"] = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
            whole = self._streams and "top_logprobs" not in body
            reply = (
                gathered(self.wire.lines(body, worst)) if whole else self.wire.post("/chat/completions", body, worst)
            )
        tokens_in, tokens_out, cached = _usage(reply)
        count_call(tokens_in=tokens_in, tokens_cached=cached, tokens_out=tokens_out, seconds=time.monotonic() - started)
        return reply

    @staticmethod
    def _sampling(prompt: Prompt) -> dict[str, Any]:
        sample = prompt.sample
        options: dict[str, Any] = {"temperature": sample.temperature, "max_tokens": sample.max_tokens}
        if sample.temperature > 0:
            options.update(top_p=sample.top_p, seed=prompt.seed % 2**31)
        if sample.stop:
            options["stop"] = list(sample.stop)
        return options

    def _constraint(self, within: Constraint | None) -> dict[str, Any]:
        if within is None:
            return {}
        if isinstance(within, JsonSchema):
            schema = dict(within.schema)
        else:
            options = list(_options(within))
            if self._choice == "guided":
                return {"guided_choice": options}
            schema = {
                "type": "object",
                "properties": {"choice": {"type": "string", "enum": options}},
                "required": ["choice"],
                "additionalProperties": False,
            }
        named = {"name": "answer", "schema": schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities from the server's top 20 first tokens; NaN where a label is not among them.

        The forms of a label are added up: with and without a leading space, and for words in any case ("yes", " YES").
        A single letter keeps its case, since "a" is a word of its own, and so do labels that differ in nothing else.
        Cells left out are counted in `missing`.
        Raises RetryableModelError when every request failed in a way that may pass.
        """
        self.need("label")
        rows = pool(lambda prompt: self._odds(prompt, labels), prompts, self._workers)
        if rows and all(isinstance(row, RetryableModelError) for row in rows):
            raise RetryableModelError(f"{self.name}: {rows[0]}")
        blank = [math.nan] * len(labels)
        table = np.array([row if isinstance(row, list) else blank for row in rows], dtype=np.float32)
        self._missing += int(np.isnan(table).sum())
        return table.reshape(len(prompts), len(labels))

    def _odds(self, prompt: Prompt, labels: Sequence[str]) -> list[float] | RetryableModelError | Refused:
        try:
            with admitted(prompt):
                heard = self.first_tokens(prompt)
        except (RetryableModelError, Refused) as error:
            return error
        forms = _forms(labels)
        return [_sum([odds for token, odds in heard if forms(token) == forms(label)]) for label in labels]

    def first_tokens(self, prompt: Prompt) -> list[tuple[str, float]]:
        """The likeliest first tokens of the answer with their log-probabilities; [] from a server that tells none."""
        options = {"temperature": 0.0, "max_tokens": 1, "logprobs": True, "top_logprobs": _TOP}
        return _top(_first(self._ask(prompt, options)))

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces. Raises ModelError, retryable or not, also in the middle of an answer."""
        self.admit([prompt])
        if prompt.raw is not None:
            made = self.generate([prompt])[0]
            if not made.good:
                raise ModelError(made.error or "the model refused")
            yield made.text
            return
        turns = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        body = {"model": self.model, "messages": turns, **self._sampling(prompt)}
        pieces, tokens_in = 0, int(rough_count([prompt.text])[0])
        for chunk in self.wire.lines(body, (tokens_in, prompt.sample.max_tokens)):
            if piece := said(chunk):
                pieces += 1
                yield piece
        count_call(tokens_in=tokens_in, tokens_out=pieces)

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) guessed token counts; the protocol has no tokenizer."""
        return rough_count(texts)


class EndpointEncoder:
    """Embeddings of any server with /v1/embeddings. `dim` is asked for with the first request when it is not given."""

    def __init__(
        self,
        model: str,
        *,
        dim: int | None = None,
        batch: int = 64,
        workers: int = 4,
        timeout: float = 60.0,
        key_name: str = "OPENAI_API_KEY",
        url_name: str = "OPENAI_BASE_URL",
    ) -> None:
        url, self.model = split(model)
        self.spec = withheld(f"openai:{model}")
        self.name = without_secrets(self.spec)
        self.wire = Wire(url, timeout=timeout, key_name=key_name, url_name=url_name)
        self.mark = self.wire.mark
        self._batch, self._workers, self._dim = batch, workers, dim

    @property
    def dim(self) -> int:
        """The length of a vector; the first use may ask the server."""
        if self._dim is None:
            self._dim = len(self._ask(["a"])[0])
        return self._dim

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit rows; an empty text is sent as one space. Raises ModelError, retryable or not."""
        parts = [list(texts[start : start + self._batch]) for start in range(0, len(texts), self._batch)]
        rows = [row for part in pool(self._ask, parts, self._workers) for row in part]
        return unit_rows(np.array(rows, dtype=np.float32).reshape(len(texts), self.dim))

    def _ask(self, texts: list[str]) -> list[list[float]]:
        started = time.monotonic()
        sent = [text.encode("utf-8", "replace").decode("utf-8") or " " for text in texts]
        reply = self.wire.post("/embeddings", {"model": self.model, "input": sent, "encoding_format": "float"})
        try:
            data = sorted(reply["data"], key=lambda entry: entry["index"])
            rows = [[float(value) for value in entry["embedding"]] for entry in data]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{self.name} answered without embeddings") from error
        wrong = len(rows) != len(texts) or len({len(row) for row in rows}) != 1
        if wrong or (self._dim is not None and len(rows[0]) != self._dim):
            raise ModelError(f"{self.name} answered with {len(rows)} vectors of uneven or other length")
        if not np.isfinite(rows).all():
            raise ModelError(f"{self.name} answered with vectors that are not numbers")
        count_call(tokens_in=_usage(reply)[0], seconds=time.monotonic() - started)
        return rows


def _options(within: Choice | Trie) -> tuple[str, ...]:
    return within.options if isinstance(within, Choice) else within.sequences


def _first(reply: dict[str, Any]) -> dict[str, Any]:
    """The choice of index 0, wherever it stands."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Busy("the server answered without choices")
    first: dict[str, Any] = next(
        (one for one in choices if isinstance(one, dict) and one.get("index") == 0), choices[0]
    )
    return first


def _usage(reply: dict[str, Any]) -> tuple[int, int, int]:
    """(tokens in, tokens out, tokens cached) as the server counts them; 0 where it does not."""
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    cached = details.get("cached_tokens")
    values = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    tokens_in, tokens_out, tokens_cached = (value if isinstance(value, int) else 0 for value in values)
    return tokens_in, tokens_out, tokens_cached


def _forms(labels: Sequence[str]) -> Callable[[str], str]:
    """What all forms of a label have in common."""
    bare = [label.strip() for label in labels]
    folds = len({label.casefold() for label in bare}) == len(set(bare))
    return lambda text: one.casefold() if folds and len(one := text.strip()) > 1 else text.strip()


def _sum(odds: list[float]) -> float:
    """The log of the summed probabilities; NaN for none."""
    return float(np.logaddexp.reduce(odds)) if odds else math.nan


def _top(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """The first token's likeliest forms with their log-probabilities, of either endpoint's shape; [] when missing."""
    found = choice.get("logprobs")
    if not isinstance(found, dict):
        return []
    try:
        if "content" in found:
            entries = [(entry["token"], entry["logprob"]) for entry in found["content"][0]["top_logprobs"]]
        else:
            entries = list(found["top_logprobs"][0].items())
    except (KeyError, IndexError, TypeError, AttributeError):
        return []
    numbers = [(str(token), float(p)) for token, p in entries if isinstance(p, int | float)]
    # one log-probability that is no number: the others are not to be trusted either
    return [] if any(math.isnan(p) for _, p in numbers) else [pair for pair in numbers if math.isfinite(pair[1])]
