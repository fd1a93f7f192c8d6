"""Answers in words: free text, JSON, one of some options, or a title of a catalog."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core.errors import ModelError
from hexarec.lm.base import (
    Choice,
    Completion,
    Constraint,
    Hypothesis,
    JsonSchema,
    Prompt,
    Trie,
    canonical_hash,
    count_call,
    failed,
)
from hexarec.lm.hf.beam import Beams, Hit, Norm
from hexarec.lm.hf.decode import Answer, Decoder
from hexarec.lm.hf.freebeam import FreeBeams
from hexarec.lm.hf.guides import Grammars, TrieGuide
from hexarec.lm.hf.jobs import Job, Setting
from hexarec.lm.tokentrie import Allowed, TokenTrie

if TYPE_CHECKING:
    from hexarec.lm.hf.engine import HF

BATCH = 32  # prompts whose keys are held at the same time: a step reads all weights, however many answers it serves
WIDE = 160  # beams of all prompts together that run at the same time
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
        if isinstance(within, Choice):
            return self._choices(prompts, within.options)
        return self._titles(prompts, setting, within) if isinstance(within, Trie) else []

    def _titles(self, prompts: Sequence[Prompt], setting: Setting, within: Trie) -> list[Completion]:
        """The best text of a trie for each prompt, by one search for all that fit the window."""
        trie, texts = self._known(within), _texts_of(within)
        made = [self._beyond(prompt, setting, trie.depth) for prompt in prompts]
        fit = [n for n, refusal in enumerate(made) if refusal is None]
        found = self.search([prompts[n] for n in fit], setting, trie, [()] * len(fit), BEAMS, "full", 1)
        for n, hits in zip(fit, found, strict=True):
            size, used = self._engine.length(prompts[n]), len(trie.path(hits[0].number))
            made[n] = Completion(texts[hits[0].number], "stop", size, used)
        return [one for one in made if one is not None]

    def _choices(self, prompts: Sequence[Prompt], options: Sequence[str]) -> list[Completion]:
        """The most probable option, its end included, so that one that begins another has no advantage."""
        engine, made = self._engine, []
        rows = engine.score(prompts, [list(options)] * len(prompts), closed=True)
        for prompt, row in zip(prompts, rows, strict=True):
            if np.isnan(row.logprobs).any():
                said = f"the prompt and its options do not fit the window of {engine.name}, {engine.window} tokens"
                made.append(failed(said))
                continue
            best = int(np.argmax(row.logprobs))
            made.append(Completion(options[best], "stop", engine.length(prompt), int(row.tokens[best])))
        return made

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
        for job in jobs:
            job.goes_on = True
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
        return self._beyond(prompt, setting, prompt.sample.max_tokens)

    def _beyond(self, prompt: Prompt, setting: Setting, answer: int) -> Completion | None:
        """The refusal of a prompt that does not fit the window beside an answer of so many tokens, or None."""
        engine, size = self._engine, self._engine.length(prompt)
        room = engine.window - setting.length - answer
        if size <= room:
            return None
        return failed(
            f"the prompt has {size} tokens, but {engine.name} has room for {room} beside an answer of {answer}"
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

    def trie(self, texts: Sequence[str], before: str = "", after: str | None = None) -> TokenTrie:
        """The trie of distinct texts behind `before`, each closed by `after` or by the token that ends an answer."""
        key = canonical_hash([list(texts), before, after])
        return self._made_once(key, lambda: self._built(texts, before, after))

    def _built(self, texts: Sequence[str], before: str, after: str | None) -> TokenTrie:
        tokens = self._engine.tokens
        key = self._engine.base.fingerprint["tokenizer"]
        close = [tokens.end] if after is None else list(tokens.text(after))
        return TokenTrie.build([[*ids, *close] for ids in tokens.many([before + text for text in texts])], key)

    def lines(self, texts: Sequence[str]) -> TokenTrie:
        """The trie of texts as lines of a list, behind a space and closed by a new line."""
        return self.trie(texts, " ", "\n")

    def _known(self, within: Choice | Trie) -> TokenTrie:
        """The trie of a request's texts."""
        return self.trie(_texts_of(within))

    def _made_once(self, key: str, make: Callable[[], TokenTrie]) -> TokenTrie:
        """A trie made once for the requests that share it."""
        with self._lock:
            if key in self._tries:
                self._tries.move_to_end(key)
                return self._tries[key]
        made = make()
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
        k: int,
    ) -> list[list[Hit]]:
        """The k best of a beam search behind each prompt."""
        engine = self._engine
        if trie.key != engine.base.fingerprint["tokenizer"]:
            raise ModelError(f"the trie was built for another tokenizer than that of {engine.name}")
        for prompt in prompts:
            if (refusal := self._beyond(prompt, setting, trie.depth)) is not None:
                raise ModelError(refusal.error)
        found: list[list[Hit]] = []
        for start in range(0, len(prompts), BATCH):
            began, batch = time.monotonic(), slice(start, start + BATCH)
            jobs, states = self._read(prompts[batch], setting)
            searcher = Beams(engine.worker, engine.head, beams, norm, k)
            allowed = [Allowed(trie, own) for own in banned[batch]]
            ready = [(job.after, state) for job, state in zip(jobs, states, strict=True)]
            found += searcher(ready, allowed, setting)  # type: ignore[arg-type]
            self._count_search(jobs, searcher.tokens, began)
        return found

    def beam(self, prompts: Sequence[Prompt], setting: Setting, width: int) -> list[list[Hypothesis]]:
        """Several answers of each prompt, by beam search."""
        for prompt in prompts:
            if (refusal := self._too_long(prompt, setting)) is not None:
                raise ModelError(refusal.error)
        found: list[list[Hypothesis]] = []
        size = max(1, min(BATCH, WIDE // width))
        for start in range(0, len(prompts), size):
            began, batch = time.monotonic(), prompts[start : start + size]
            jobs, states = self._read(batch, setting)
            searcher = FreeBeams(self._engine.worker, self._engine.head, self._engine.tokens, width)
            ready = [(prompt, job.after, state) for prompt, job, state in zip(batch, jobs, states, strict=True)]
            found += searcher(ready, setting)  # type: ignore[arg-type]
            self._count_search(jobs, searcher.tokens, began)
        return found

    def _count_search(self, jobs: Sequence[Job], made: int, began: float) -> None:
        count_call(
            len(jobs),
            tokens_in=sum(job.read for job in jobs),
            tokens_cached=sum(job.cached for job in jobs),
            tokens_out=made,
            seconds=time.monotonic() - began,
        )

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
