"""`hf:` - a causal language model in torch, every token computed once. See docs/engine.md.

Scoring packs all choices behind their prompt, merges equal beginnings and reads the output layer only where a score is
read; labels share the beginnings of prompts; prefixes stay warm between calls; requests of several threads become one
forward.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from hexarec.core.errors import ModelError, OptionError
from hexarec.core.run import current
from hexarec.lm.base import (
    SLOT,
    Completion,
    Constraint,
    Floats,
    Ints,
    Prompt,
    ScoreRow,
    count_call,
)
from hexarec.lm.engine import Engine, label_tokens
from hexarec.lm.hf.forward import Body, Path
from hexarec.lm.hf.head import Head
from hexarec.lm.hf.jobs import Job, Jobs, Seen, Setting
from hexarec.lm.hf.packing import groups
from hexarec.lm.hf.prefixes import Prefixes
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.weights import Base, DType, load
from hexarec.lm.hf.worker import Worker

CAN = frozenset({"text", "json", "choice", "trie", "label", "score", "hidden", "vectors", "weights"})


class HF(Engine):
    """A causal model by registry name ("smollm2"), .gguf file, Hugging Face directory or hub name.

    window: most tokens of a prompt and its answer, at most the model's own. dtype: auto (bfloat16 where it is measured
    to be faster), float32 (for equality), bfloat16, int8. device: auto, cpu, cuda. prefix_mb: memory for warm prefixes,
    0 keeps none. rows: most tokens of one forward; it bounds the memory of activations. path: packed, or masked, which
    writes the mask out and is the reference.

    Raises as `weights.load` does, and OptionError for an impossible setting.
    """

    def __init__(
        self,
        source: str = "smollm2",
        *,
        window: int | None = None,
        dtype: DType = "auto",
        device: str = "auto",
        prefix_mb: float = 256.0,
        rows: int = 2048,
        path: Path = "packed",
    ) -> None:
        if rows < 64 or prefix_mb < 0 or path not in ("packed", "masked"):
            raise OptionError(
                f"hf:{source}: rows {rows}, prefix_mb {prefix_mb} or path {path!r} is impossible",
                hint="rows at least 64, prefix_mb at least 0, path packed or masked",
            )
        self.name = self.spec = f"hf:{source}"
        self.base: Base = load(source, dtype=dtype, device=device)
        self.tokens = Tokens(self.base.tokenizer)
        trained = getattr(self.base.model.config, "max_position_embeddings", None) or 1 << 20
        self._window = min(window or trained, trained)
        body = Body(self.base, path)
        self.head = Head(self.base.model)
        self.prefixes = Prefixes(prefix_mb if path == "packed" else 0.0)
        self.worker = Worker(body, rows)
        self.jobs = Jobs(self.worker, self.prefixes, self.base.key)

    @property
    def can(self) -> frozenset[str]:
        """Everything."""
        return CAN

    @property
    def window(self) -> int:
        """The most tokens of a prompt and its answer together."""
        return self._window

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) exact token counts, without the tokens of the chat format."""
        return np.array([len(ids) for ids in self.tokens.many(texts)], dtype=np.int32)

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """The log-probability of each choice as it continues its prompt; an empty choice scores 0 over 0 tokens.

        NaN where prompt and choice do not fit the window. Equal choices of a prompt are computed once; their order and
        number change nothing.
        """
        rows = [self.tokens.many(texts) for texts in choices]
        if len(rows) != len(prompts):
            raise OptionError(f"{len(prompts)} prompts but {len(rows)} lists of choices")
        answers = [ScoreRow(np.full(len(r), np.nan, np.float32), np.array([len(c) for c in r], np.int32)) for r in rows]
        for setting, own in self._settings(prompts):
            jobs, wanted = [], []
            for i in own:
                job = self._job(prompts[i])
                fits = [c for c, ids in enumerate(rows[i]) if len(job.tokens) + len(ids) <= self._window]
                if not fits:
                    continue
                job.sequences = [rows[i][c][:-1] for c in fits]
                jobs.append(job)
                wanted.append((i, fits))
            started = time.monotonic()
            ids = [[rows[i][c] for c in fits] for i, fits in wanted]
            found = self.jobs.run(jobs, setting, lambda j, seen, ids=ids: self._logprobs(seen, ids[j]))
            for (i, fits), parts in zip(wanted, found, strict=True):
                for part in parts:
                    for row, value in part:
                        answers[i].logprobs[fits[row]] = value
            self._count(jobs, started)
        return answers

    def _logprobs(self, seen: Seen, choices: list[list[int]]) -> list[tuple[int, float]]:
        """The summed log-probability of each sequence of a part; equal rows of states are read once."""
        states = torch.cat([seen.last[None], seen.nodes])
        at, targets, owner = [], [], []
        for n, (row, path) in enumerate(zip(seen.rows, seen.paths, strict=True)):
            tokens = choices[row]
            at += [0, *(path + 1).tolist()][: len(tokens)]
            targets += tokens
            owner += [n] * len(tokens)
        if not at:
            return [(row, 0.0) for row in seen.rows]
        read, back = np.unique(at, return_inverse=True)
        sums = self.head.log_sums(states[torch.as_tensor(read)])[torch.as_tensor(back)]
        pairs = states[torch.as_tensor(at)]
        logits = self.head.columns(pairs, torch.as_tensor(targets, device=pairs.device)[:, None])[:, 0]
        values = (logits - sums).double().cpu().numpy()
        totals = np.bincount(owner, values, len(seen.rows))
        return list(zip(seen.rows, totals.tolist(), strict=True))

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str], *, relative: bool = False) -> Floats:
        """(n, n_labels) log-probabilities of one-token answers; NaN rows for prompts beyond the window.

        `relative` reads only the columns of the labels: then only differences within a row mean anything. Prompts that
        begin alike are read behind their common beginning.
        """
        made = np.full((len(prompts), len(labels)), np.nan, np.float32)
        forms = {end: label_tokens(labels, end, self.tokens.one, self.name) for end in {p.ending for p in prompts}}
        for setting, own in self._settings(prompts):
            jobs = [self._job(prompts[i]) for i in own]
            fit = [n for n, job in enumerate(jobs) if len(job.tokens) < self._window]
            merged, members = _merged([jobs[n] for n in fit])
            started = time.monotonic()
            columns = [[forms[prompts[own[fit[m]]].ending] for m in group] for group in members]
            found = self.jobs.run(
                merged, setting, lambda j, seen, columns=columns: self._columns(seen, columns[j], relative)
            )
            for group, parts in zip(members, found, strict=True):
                for part in parts:
                    for row, values in part:
                        made[own[fit[group[row]]]] = values
            self._count(merged, started, calls=len(fit))
        return made

    def _columns(self, seen: Seen, columns: list[list[int]], relative: bool) -> list[tuple[int, Floats]]:
        if not seen.rows:
            states, rows = seen.last[None], [0]
        else:
            last = [int(path[-1]) for path in seen.paths]
            states, rows = seen.nodes[torch.as_tensor(last)], seen.rows
        wanted = torch.tensor([columns[row] for row in rows], device=states.device)
        values = self.head.columns(states, wanted)
        if not relative:
            values = values - self.head.log_sums(states)[:, None]
        return list(zip(rows, values.float().cpu().numpy(), strict=True))

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) states after `layer` (0 the embedding, -1 the last, normed), pooled by "mean" or "last" token.

        NaN rows for prompts beyond the window.
        """
        layers = self.worker.body.layers
        if pool not in ("mean", "last") or not -layers - 1 <= layer <= layers:
            raise OptionError(f"no layer {layer} or pool {pool!r}", hint=f"layers 0 to {layers} or -1, pools mean, last")
        made = np.full((len(prompts), self.worker.body.width), np.nan, np.float32)
        for setting, own in self._settings(prompts):
            jobs = [self._job(prompts[i]) for i in own]
            fit = [n for n, job in enumerate(jobs) if len(job.tokens) < self._window]
            started = time.monotonic()
            for n, row in zip(fit, self.jobs.states([jobs[n] for n in fit], setting, layer, pool), strict=True):
                made[own[n]] = row
            self._count([jobs[n] for n in fit], started)
        return made

    def weights(self) -> tuple[Any, Any]:
        """A module of its own, not the one that serves, and its tokenizer, for tuning."""
        kind = "float32" if self.base.dtype == "int8" else self.base.dtype
        own = load(self.name.removeprefix("hf:"), dtype=kind, device=self.base.device)  # type: ignore[arg-type]
        return own.model, own.tokenizer

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt."""
        raise NotImplementedError

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces."""
        raise NotImplementedError

    def _settings(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Setting, list[int]]]:
        """The prompts by adapter, and what each adapter asks of the forward."""
        by_name: dict[str | None, list[int]] = {}
        for i, prompt in enumerate(prompts):
            by_name.setdefault(prompt.adapter, []).append(i)
        for name, own in by_name.items():
            yield self._setting(name), own

    def _setting(self, name: str | None) -> Setting:
        return Setting()

    def _job(self, prompt: Prompt) -> Job:
        """The prompt's tokens; a prompt of none stands behind the token that ends texts."""
        current().check()
        ids = self.tokens.prompt(prompt) or [self.tokens.end]
        if prompt.vectors is None:
            return Job(ids)
        slots = _slots(self.tokens, prompt, ids, self.name)
        return Job(ids, slots=slots, vectors=torch.as_tensor(prompt.vectors), mark=prompt.digest())

    def _count(self, jobs: Sequence[Job], started: float, calls: int | None = None) -> None:
        count_call(
            len(jobs) if calls is None else calls,
            tokens_in=sum(job.read for job in jobs),
            tokens_cached=sum(job.cached for job in jobs),
            seconds=time.monotonic() - started,
        )


def _slots(tokens: Tokens, prompt: Prompt, ids: list[int], name: str) -> list[int]:
    """The places of the slots, counted against the vectors and the text."""
    texts = [prompt.raw] if prompt.raw is not None else [turn.text for turn in prompt.turns]
    wanted, given = sum((text or "").count(SLOT) for text in texts), len(prompt.vectors)  # type: ignore[arg-type]
    slots = [at for at, token in enumerate(ids) if token == tokens.slot]
    if wanted != given or len(slots) != given:
        raise ModelError(f"{name}: the prompt has {wanted} slots for {given} vectors", hint="one SLOT for each vector")
    return slots


def _merged(jobs: Sequence[Job]) -> tuple[list[Job], list[list[int]]]:
    """Jobs that begin alike as one, each prompt's rest a sequence; and the numbers of each one's members."""
    plain = [n for n, job in enumerate(jobs) if job.vectors is None]
    merged, members = [], []
    for length, own in groups([jobs[n].tokens for n in plain]):
        group = [plain[n] for n in own]
        rest = [jobs[n].tokens[length:] for n in group] if len(group) > 1 else []
        merged.append(Job(jobs[group[0]].tokens[:length], rest))
        members.append(group)
    for n, job in enumerate(jobs):
        if job.vectors is not None:
            merged.append(job)
            members.append([n])
    return merged, members
