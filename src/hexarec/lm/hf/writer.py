"""Answers in words: free text, JSON, one of some options, or a title of a catalog."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core.errors import ModelError
from hexarec.lm.base import (
    Choice,
    Completion,
    Constraint,
    JsonSchema,
    Prompt,
    Trie,
    constraint_key,
    count_call,
    failed,
)
from hexarec.lm.hf.beam import Beams, Hit, Norm
from hexarec.lm.hf.decode import Answer, Decoder
from hexarec.lm.hf.guides import Grammars, TrieGuide
from hexarec.lm.hf.jobs import Job, Setting
from hexarec.lm.tokentrie import Allowed, TokenTrie

if TYPE_CHECKING:
    from hexarec.lm.hf.engine import HF

BATCH = 16  # prompts whose keys are held at the same time
BEAMS = 8  # of `generate` within a trie
_TRIES = 4  # tries kept of those that came with a request


class Writer:
    """The generating half of the engine."""

    def __init__(self, engine: HF) -> None:
        self._engine = engine
        self._decoder = Decoder(engine.worker, engine.head, engine.tokens)
        self._tries: OrderedDict[str, TokenTrie] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def _grammars(self) -> Grammars:
        tokens = self._engine.tokens
        return Grammars(self._engine.base.tokenizer, tokens.end, len(self._engine.head.weight))

    def write(self, prompts: Sequence[Prompt], setting: Setting, within: Constraint | None) -> list[Completion]:
        """One completion for each prompt."""
        made: list[Completion] = []
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            drawn = [n for n, prompt in enumerate(batch) if self._stepwise(prompt, within)]
            whole = [n for n in range(len(batch)) if n not in drawn]
            answers = dict(zip(drawn, self._texts([batch[n] for n in drawn], setting, within), strict=True))
            answers |= dict(zip(whole, self._best([batch[n] for n in whole], setting, within), strict=True))
            made += [answers[n] for n in range(len(batch))]
        return made

    def _stepwise(self, prompt: Prompt, within: Constraint | None) -> bool:
        """Whether an answer is made token by token: text, JSON, and every draw."""
        return not isinstance(within, Choice | Trie) or prompt.sample.temperature > 0

    def _best(self, prompts: Sequence[Prompt], setting: Setting, within: Constraint | None) -> list[Completion]:
        if not prompts:
            return []
        if isinstance(within, Choice):
            return [self._choice(prompt, within.options) for prompt in prompts]
        assert isinstance(within, Trie)
        trie, made = self._known(within), []
        for prompt in prompts:
            try:
                hit = self.search([prompt], setting, trie, [()], BEAMS, "full")[0][0]
            except ModelError as error:
                made.append(failed(str(error)))
                continue
            tokens = len(trie.path(hit.number))
            made.append(Completion(_texts_of(within)[hit.number], "stop", tokens_out=tokens))
        return made

    def _choice(self, prompt: Prompt, options: Sequence[str]) -> Completion:
        """The most probable option, its end included, so that one that begins another has no advantage."""
        engine = self._engine
        row = engine.score([prompt], [list(options)], closed=True)[0]
        if np.isnan(row.logprobs).any():
            return failed(f"the prompt and its options do not fit the window of {engine.name}, {engine.window} tokens")
        best = int(np.argmax(row.logprobs))
        return Completion(options[best], "stop", engine.length(prompt), int(row.tokens[best]))

    def _texts(self, prompts: Sequence[Prompt], setting: Setting, within: Constraint | None) -> list[Completion]:
        made: list[Completion | None] = [self._too_long(prompt, setting) for prompt in prompts]
        open_ones = [n for n, refusal in enumerate(made) if refusal is None]
        started = time.monotonic()
        answers = self._begin([prompts[n] for n in open_ones], setting, within)
        for _ in self._decoder.run(answers, setting):
            pass
        for n, answer in zip(open_ones, answers, strict=True):
            made[n] = self._finished(answer, within)
        self._count(answers, started)
        return [one for one in made if one is not None]

    def _begin(self, prompts: Sequence[Prompt], setting: Setting, within: Constraint | None) -> list[Answer]:
        jobs, states = self._read(prompts, setting)
        return [
            Answer(prompt, job.after, state, job.read, job.cached, self._guide(within))  # type: ignore[arg-type]
            for prompt, job, state in zip(prompts, jobs, states, strict=True)
        ]

    def _read(self, prompts: Sequence[Prompt], setting: Setting) -> tuple[list[Job], list[Any]]:
        """Every prompt read once: its job, and the state of its last token."""
        jobs = [self._engine.job(prompt) for prompt in prompts]
        return jobs, [parts[0] for parts in self._engine.jobs.run(jobs, setting, lambda _, seen: seen.last)]

    def _guide(self, within: Constraint | None) -> Any:
        if within is None:
            return None
        if isinstance(within, JsonSchema):
            return self._grammars.json(within.schema)
        return TrieGuide(Allowed(self._known(within)), len(self._engine.head.weight))

    def _finished(self, answer: Answer, within: Constraint | None) -> Completion:
        made = answer.completion()
        if not isinstance(within, Choice | Trie) or made.finish != "stop":
            return made
        return replace(made, text=_texts_of(within)[answer.guide.number])  # type: ignore[union-attr]

    def _too_long(self, prompt: Prompt, setting: Setting) -> Completion | None:
        engine, size = self._engine, self._engine.length(prompt)
        room = engine.window - setting.length - prompt.sample.max_tokens
        if size <= room:
            return None
        return failed(
            f"the prompt has {size} tokens, but {engine.name} has room for {room} beside an answer of "
            f"{prompt.sample.max_tokens}"
        )

    def stream(self, prompt: Prompt, setting: Setting) -> Iterator[str]:
        """The answer in pieces; what may yet become a stop text or a whole character is held back."""
        refusal = self._too_long(prompt, setting)
        if refusal is not None:
            raise ModelError(refusal.error)
        started, said = time.monotonic(), 0
        answers = self._begin([prompt], setting, None)
        longest = max((len(mark) for mark in prompt.sample.stop), default=1) - 1
        for _ in self._decoder.run(answers, setting):
            text = answers[0].text
            upto = len(text) if answers[0].finish else len(text.rstrip("\ufffd")) - longest
            if upto > said:
                yield text[said:upto]
                said = upto
        self._count(answers, started)

    def trie(self, texts: Sequence[str]) -> TokenTrie:
        """The trie of distinct texts, each closed."""
        tokens = self._engine.tokens
        key = self._engine.base.fingerprint["tokenizer"]
        return TokenTrie.build([[*ids, tokens.end] for ids in tokens.many(texts)], key)

    def _known(self, within: Choice | Trie) -> TokenTrie:
        """The trie of a request's texts, made once for the requests that share them."""
        key = constraint_key(within)
        with self._lock:
            if key in self._tries:
                self._tries.move_to_end(key)
                return self._tries[key]
        made = self.trie(_texts_of(within))
        with self._lock:
            self._tries[key] = made
            while len(self._tries) > _TRIES:
                self._tries.popitem(last=False)
        return made

    def search(
        self,
        prompts: Sequence[Prompt],
        setting: Setting,
        trie: TokenTrie,
        banned: Sequence[Iterable[int]],
        beams: int,
        norm: Norm,
    ) -> list[list[Hit]]:
        """Beam search behind each prompt."""
        engine = self._engine
        if trie.key != engine.base.fingerprint["tokenizer"]:
            raise ModelError(f"the trie was built for another tokenizer than that of {engine.name}")
        for prompt in prompts:
            if engine.length(prompt) >= engine.window - setting.length:
                raise ModelError(f"the prompt of {engine.length(prompt)} tokens does not fit {engine.name}")
        found: list[list[Hit]] = []
        for start in range(0, len(prompts), BATCH):
            began, batch = time.monotonic(), slice(start, start + BATCH)
            jobs, states = self._read(prompts[batch], setting)
            searcher = Beams(engine.worker, engine.head, beams, norm)
            allowed = [Allowed(trie, own) for own in banned[batch]]
            ready = [(job.after, state) for job, state in zip(jobs, states, strict=True)]
            found += searcher(ready, allowed, setting)  # type: ignore[arg-type]
            count_call(
                len(jobs),
                tokens_in=sum(job.read for job in jobs),
                tokens_cached=sum(job.cached for job in jobs),
                tokens_out=searcher.tokens,
                seconds=time.monotonic() - began,
            )
        return found

    def _count(self, answers: Sequence[Answer], started: float) -> None:
        count_call(
            len(answers),
            tokens_in=sum(answer.tokens_in for answer in answers),
            tokens_cached=sum(answer.cached for answer in answers),
            tokens_out=sum(len(answer.made) for answer in answers),
            seconds=time.monotonic() - started,
        )


def _texts_of(within: Choice | Trie) -> list[str]:
    """The texts of a constraint, each once: of two equal options the first stands for both."""
    return list(dict.fromkeys(within.options if isinstance(within, Choice) else within.sequences))
