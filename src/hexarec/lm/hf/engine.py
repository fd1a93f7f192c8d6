"""`hf:` - a causal language model in torch, every token computed once. See docs/engine.md.

Scoring packs all choices behind their prompt, merges equal beginnings and reads the output layer only where a score is
read; labels share the beginnings of prompts; prefixes stay warm between calls; requests of several threads become one
forward.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch

from hexarec.core.errors import ModelError, OptionError
from hexarec.core.run import current
from hexarec.core.state import MANIFEST
from hexarec.lm.base import (
    Completion,
    Constraint,
    Floats,
    Hypothesis,
    Ints,
    Prompt,
    ScoreRow,
    canonical_hash,
    count_call,
    failed,
    lacks,
)
from hexarec.lm.engine import Engine, label_forms
from hexarec.lm.hf.adapters import Adapters
from hexarec.lm.hf.artefact import file_hash, stamp
from hexarec.lm.hf.beam import Hit, Norm
from hexarec.lm.hf.forward import Body, Path
from hexarec.lm.hf.head import Head
from hexarec.lm.hf.jobs import Job, Jobs, Seen, Setting
from hexarec.lm.hf.named import Named
from hexarec.lm.hf.packing import groups
from hexarec.lm.hf.prefixes import Prefixes
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.weights import Base, DType, load
from hexarec.lm.hf.worker import Worker
from hexarec.lm.hf.writer import Writer
from hexarec.lm.tokentrie import Allowed, TokenTrie

ROWS = {"cpu": 2048, "cuda": 16384}
CAN = frozenset({"text", "json", "choice", "trie", "label", "score", "hidden", "vectors", "weights"})
REFERENCE = CAN - {"text", "json", "choice", "trie"}
"""What the masked path can: it keeps nothing between forwards, so it cannot go on behind a prompt."""


class HF(Engine):
    """A causal model by registry name ("smollm2"), .gguf file, Hugging Face directory or hub name.

    window: most tokens of a prompt and its answer, at most the model's own. dtype: auto (bfloat16 where it is measured
    to be faster), float32 (for equality), bfloat16, int8. device: auto, cpu, cuda. prefix_mb: memory for warm prefixes,
    0 keeps none. rows: most tokens of one forward; it bounds the memory of activations; None takes 2048 on a processor
    and 16384 on a GPU, which fewer leave idle. path: packed, or masked, which writes the mask out, is the reference of
    score, label and hidden, and can nothing else. adapters: the most that are held at a time.

    Raises as `weights.load` does, OptionError for an impossible setting, and ModelError for a model whose states are
    others in one packed row than alone (see `probe`).
    """

    def __init__(
        self,
        source: str = "smollm2",
        *,
        window: int | None = None,
        dtype: DType = "auto",
        device: str = "auto",
        prefix_mb: float = 256.0,
        rows: int | None = None,
        path: Path = "packed",
        adapters: int = 8,
    ) -> None:
        if (rows is not None and rows < 64) or prefix_mb < 0 or adapters < 1 or path not in ("packed", "masked"):
            raise OptionError(
                f"hf:{source}: rows {rows}, prefix_mb {prefix_mb}, path {path!r} or adapters {adapters} is impossible",
                hint="rows at least 64, prefix_mb at least 0, path packed or masked, adapters at least 1",
            )
        self.name = self.spec = f"hf:{source}"
        self.base: Base = load(source, dtype=dtype, device=device)
        self.tokens = Tokens(self.base.tokenizer)
        trained = _reach(self.base.model.config)
        self._window = min(window or trained, trained)
        body = Body(self.base, path, trained)
        self.head = Head(self.base.model)
        self.adapters = Adapters(self.base.model, self.base.fingerprint, adapters)
        self.prefixes = Prefixes(prefix_mb if path == "packed" else 0.0)
        self.worker = Worker(body, rows or ROWS.get(body.device.type, ROWS["cpu"]))
        self.named = Named()
        self.jobs = Jobs(self.worker, self.prefixes, self.base.key)
        self._writer: Writer = Writer(self) if path == "packed" else _Unwritten(self)

    @property
    def can(self) -> frozenset[str]:
        """Everything; without answers in words in the masked path."""
        return CAN if self.worker.body.path == "packed" else REFERENCE

    def identity(self, prompt: Prompt) -> str:
        """The base's key and the hash of the adapter's manifest. Raises ModelError for an adapter that is missing."""
        if prompt.adapter is None:
            return self.base.key
        stamp(prompt.adapter)
        return canonical_hash([self.base.key, file_hash(FilePath(prompt.adapter) / MANIFEST)])

    @property
    def window(self) -> int:
        """The most tokens of a prompt and its answer together."""
        return self._window

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) exact token counts, without the tokens of the chat format."""
        return np.array([len(ids) for ids in self.tokens.many(texts)], dtype=np.int32)

    def length(self, prompt: Prompt) -> int:
        """The number of a prompt's tokens, those of the chat format included."""
        return len(self.job(prompt).tokens)

    def score(
        self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]], *, closed: bool = False
    ) -> list[ScoreRow]:
        """The log-probability of each choice as it continues its prompt; an empty choice scores 0 over 0 tokens.

        `closed` adds the token that ends an answer, so that the whole answer is scored and not a beginning. NaN where
        prompt and choice do not fit the window. Equal choices of a prompt are computed once; their order and number
        change nothing.
        """
        mark = [self.tokens.end] if closed else []
        rows = [[ids + mark for ids in self.tokens.many(texts)] for texts in choices]
        if len(rows) != len(prompts):
            raise OptionError(f"{len(prompts)} prompts but {len(rows)} lists of choices")
        answers = [ScoreRow(np.full(len(r), np.nan, np.float32), np.array([len(c) for c in r], np.int32)) for r in rows]
        for setting, own in self._settings(prompts):
            jobs, wanted = [], []
            for i in own:
                job = self.job(prompts[i])
                fits = [c for c, ids in enumerate(rows[i]) if len(job.tokens) + len(ids) <= self._room(setting)]
                if not fits:
                    continue
                job.sequences = [rows[i][c][:-1] for c in fits]
                jobs.append(job)
                wanted.append((i, fits))
            started = time.monotonic()
            ids = [[rows[i][c] for c in fits] for i, fits in wanted]
            found = self.jobs.run(jobs, setting, partial(self._logprobs, ids))
            for (i, fits), parts in zip(wanted, found, strict=True):
                for part in parts:
                    for row, value in part:
                        answers[i].logprobs[fits[row]] = value
            self._count(jobs, started)
        return answers

    def _logprobs(self, ids: list[list[list[int]]], job: int, seen: Seen) -> list[tuple[int, float]]:
        """The summed log-probability of each sequence of a part; equal rows of states are read once."""
        choices = ids[job]
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

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities of short answers; NaN rows for prompts beyond the window.

        A label of one token is read from the prompt's last state. Where one has several (see `label_forms`), all are
        scored over their whole words, which costs as much as `score` does.

        Prompts that begin alike are read behind their common beginning.
        """
        made = np.full((len(prompts), len(labels)), np.nan, np.float32)
        known = {end: label_forms(labels, end, self.tokens.text, self.name) for end in {p.ending for p in prompts}}
        if any(len(ids) > 1 for own in known.values() for _, ids in own):
            rows = self.score(prompts, [[text for text, _ in known[prompt.ending]] for prompt in prompts])
            return np.array([row.logprobs for row in rows], np.float32).reshape(made.shape)
        forms = {end: [ids[0] for _, ids in own] for end, own in known.items()}
        for setting, own in self._settings(prompts):
            jobs = [self.job(prompts[i]) for i in own]
            fit = [n for n, job in enumerate(jobs) if len(job.tokens) < self._room(setting)]
            merged, members = _merged([jobs[n] for n in fit], self.worker.rows // 2)
            started = time.monotonic()
            columns = [[forms[prompts[own[fit[m]]].ending] for m in group] for group in members]
            found = self.jobs.run(merged, setting, partial(self._columns, columns))
            for group, parts in zip(members, found, strict=True):
                for part in parts:
                    for row, values in part:
                        made[own[fit[group[row]]]] = values
            self._count(merged, started, calls=len(fit))
        return made

    def _columns(self, columns: list[list[list[int]]], job: int, seen: Seen) -> list[tuple[int, Floats]]:
        if not seen.rows:
            states, rows = seen.last[None], [0]
        else:
            last = [int(path[-1]) for path in seen.paths]
            states, rows = seen.nodes[torch.as_tensor(last)], seen.rows
        wanted = torch.tensor([columns[job][row] for row in rows], device=states.device)
        values = self.head.columns(states, wanted) - self.head.log_sums(states)[:, None]
        return list(zip(rows, values.float().cpu().numpy(), strict=True))

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) states after `layer` (0 the embedding, -1 the last, normed), pooled by "mean" or "last" token.

        NaN rows for prompts beyond the window.
        """
        layers = self.worker.body.layers
        if pool not in ("mean", "last") or not -layers - 1 <= layer <= layers:
            raise OptionError(
                f"no layer {layer} or pool {pool!r}", hint=f"layers 0 to {layers} or -1, pools mean, last"
            )
        made = np.full((len(prompts), self.worker.body.width), np.nan, np.float32)
        for setting, own in self._settings(prompts):
            jobs = [self.job(prompts[i]) for i in own]
            fit = [n for n, job in enumerate(jobs) if len(job.tokens) < self._room(setting)]
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
        """One completion for each prompt; one beyond the window gets finish "error", nothing is cut.

        A `Choice` is answered by its most probable whole option, a `Trie` by beam search (see `search`), both by a draw
        when the temperature is above 0; JSON keeps to its schema token by token.
        """
        self.admit(prompts, within)
        answers: list[Completion] = [failed("not asked")] * len(prompts)
        for setting, own in self._settings(prompts):
            made = self._writer.write([prompts[i] for i in own], setting, within)
            for i, answer in zip(own, made, strict=True):
                answers[i] = answer
        return answers

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces as they are made. Raises ModelError for a prompt beyond the window."""
        self.admit([prompt])
        yield from self._writer.stream(prompt, self._setting(prompt.adapter))

    def trie(self, texts: Sequence[str], *, before: str = "", after: str | None = None) -> TokenTrie:
        """The token trie of distinct texts for `search`.

        before: what stands between prompt and text, a space behind a raw prompt that ends in a letter or a mark. after:
        the text that closes each, by default the token that ends an answer.

        Raises OptionError for equal or empty texts.
        """
        return self._writer.trie(texts, before, after)

    def search(
        self,
        prompts: Sequence[Prompt],
        trie: TokenTrie,
        *,
        k: int = 10,
        beams: int = 20,
        norm: Norm = "full",
        banned: Sequence[Iterable[int]] | None = None,
    ) -> list[list[Hit]]:
        """For each prompt the k best sequences of a trie by beam search, best first; fewer where fewer are allowed.

        banned: for each prompt the numbers of sequences that must not come. norm: full sums log-probabilities over the
        whole vocabulary, local renormalises over the legal tokens of each step. Raises ModelError for a trie of another
        tokenizer and for a prompt beyond the window, OptionError for k above beams.
        """
        if not 1 <= k <= beams:
            raise OptionError(f"{k} answers cannot come of {beams} beams", hint="k from 1 to beams")
        found: list[list[Hit]] = [[] for _ in prompts]
        for setting, own in self._settings(prompts):
            bans = [() if banned is None else banned[i] for i in own]
            made = self._writer.search([prompts[i] for i in own], setting, trie, bans, beams, norm, k)
            for i, hits in zip(own, made, strict=True):
                found[i] = hits
        return found

    def beam(self, prompts: Sequence[Prompt], width: int = 10) -> list[list[Hypothesis]]:
        """For each prompt at most `width` different answers in free words by beam search, the likeliest first.

        An answer ends as one of `generate` does; temperature is not used. Raises ModelError for a prompt beyond the
        window, OptionError for a width below 1.
        """
        if width < 1:
            raise OptionError(f"{width} beams give no answer", hint="width at least 1")
        self.admit(prompts)
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        for setting, own in self._settings(prompts):
            for i, made in zip(own, self._writer.beam([prompts[i] for i in own], setting, width), strict=True):
                found[i] = made
        return found

    def slate(self, prompt: Prompt, texts: Sequence[str], k: int, *, beams: int = 4) -> list[Hit]:
        """k different texts written one after the other as a numbered list: each sees those before it.

        `prompt` must be raw and end where the list begins, behind a new line. Each line is "1. " and a text, closed by
        a new line. Raises OptionError for a prompt that is not raw, and as `trie` and `search` do.
        """
        if prompt.raw is None:
            raise OptionError("a list goes on from a raw prompt")
        trie = self._writer.lines(texts)
        made: list[Hit] = []
        text = prompt.raw
        for place in range(min(k, Allowed(trie).left)):
            text += f"{place + 1}."
            asked = replace(prompt, raw=text)
            hit = self.search([asked], trie, k=1, beams=beams, banned=[[one.number for one in made]])[0][0]
            made.append(hit)
            text += f" {texts[hit.number]}\n"
        return made

    def _settings(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Setting, list[int]]]:
        """The prompts by adapter, and what each adapter asks of the forward."""
        by_name: dict[str | None, list[int]] = {}
        for i, prompt in enumerate(prompts):
            by_name.setdefault(prompt.adapter, []).append(i)
        for name, own in by_name.items():
            yield self._setting(name), own

    def _setting(self, name: str | None) -> Setting:
        """What an adapter asks of a forward. Raises ModelError for one that is missing, damaged or of another base."""
        if name is None:
            return Setting()
        adapter = self.adapters.known(name)
        if adapter is None:
            with self._alone():  # loading changes modules that a forward may be using
                adapter = self.adapters.load(name)
        past = None if adapter.past is None else self.worker.body.given(adapter.past)
        lead, vectors = ([], {}) if adapter.vectors is None else self._stands_for(adapter.vectors)
        using = partial(self.adapters.using, adapter)
        return Setting(adapter.digest, using, lead, vectors, past, adapter.length)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """With no forward under way. Raises when the current run ends before that."""
        while not self.worker.lock.acquire(timeout=0.05):
            current().check()
        try:
            yield
        finally:
            self.worker.lock.release()

    def _room(self, setting: Setting) -> int:
        """Tokens that are left beside what an adapter puts in front."""
        return self._window - setting.length

    def job(self, prompt: Prompt) -> Job:
        """The prompt's tokens; a prompt of none stands behind the token that ends texts."""
        current().check()
        ids, slots = self.tokens.read(prompt)
        if prompt.vectors is None:
            return Job(ids or [self.tokens.end])
        size = self.worker.body.width
        if prompt.vectors.shape[1] != size:
            raise ModelError(f"{self.name} takes vectors of {size} numbers, not {prompt.vectors.shape[1]}")
        if len(slots) != len(prompt.vectors):
            said = f"{self.name}: the prompt has {len(slots)} slots for {len(prompt.vectors)} vectors"
            raise ModelError(said, hint="one SLOT for each vector")
        if not _finite(prompt.vectors):
            said = f"{self.name}: a vector of the prompt holds NaN or infinity, which would spread to its neighbours"
            raise ModelError(said, hint="fit what makes the vectors anew, or leave this user or item out")
        numbers, vectors = self._stands_for(torch.as_tensor(prompt.vectors))
        for at, number in zip(slots, numbers, strict=True):
            ids[at] = number
        return Job(ids, vectors=vectors)

    def _stands_for(self, vectors: torch.Tensor) -> tuple[list[int], dict[int, torch.Tensor]]:
        """The tokens that stand for rows of vectors, and the rows by token."""
        numbers = self.named.numbers(vectors.cpu().numpy())
        return numbers, dict(zip(numbers, vectors, strict=True))

    def _count(self, jobs: Sequence[Job], started: float, calls: int | None = None) -> None:
        count_call(
            len(jobs) if calls is None else calls,
            tokens_in=sum(job.read for job in jobs),
            tokens_cached=sum(job.cached for job in jobs),
            seconds=time.monotonic() - started,
        )


class _Unwritten(Writer):
    """What the masked path has of it: nothing. Text, JSON and choices are refused by `can` already."""

    def trie(self, texts: Sequence[str], before: str = "", after: str | None = None) -> TokenTrie:
        raise lacks(self._engine.name, "trie")

    def search(self, *args: Any, **more: Any) -> list[list[Hit]]:
        raise lacks(self._engine.name, "trie")


def _reach(config: Any) -> int:
    """How far back every layer sees, and up to which place the numbers of a token are its own.

    The trained length; the sliding window or chunk of a model that has one; and for rotations that are scaled by the
    longest sequence of a forward (dynamic, longrope) the length up to which they are not: requests share forwards.
    """
    config = config.get_text_config()
    reach = [getattr(config, "max_position_embeddings", None), *_windows(config)]
    rotations = getattr(config, "rope_parameters", None) or {}
    for one in (rotations, *rotations.values()):  # one for all layers, or one for each kind of layer
        if isinstance(one, dict) and one.get("rope_type") in ("dynamic", "longrope"):
            reach.append(one.get("original_max_position_embeddings"))
    return int(min([one for one in reach if one] or [1 << 20]))


def _windows(config: Any) -> list[int | None]:
    """The windows that some layer really has: a model may name one that no layer uses."""
    kinds = getattr(config, "layer_types", None)
    slides = getattr(config, "use_sliding_window", True) if kinds is None else "sliding_attention" in kinds
    chunks = kinds is None or "chunked_attention" in kinds
    window, chunk = getattr(config, "sliding_window", None), getattr(config, "attention_chunk_size", None)
    return [window if slides else None, chunk if chunks else None]


def _merged(jobs: Sequence[Job], most: int) -> tuple[list[Job], list[list[int]]]:
    """Jobs that begin alike as one, each prompt's rest a sequence; and the numbers of each one's members.

    A rest of more than `most` tokens stays a prompt: a sequence cannot be cut into several forwards.
    """
    merged, members, alone = [], [], []
    for length, own in groups([job.tokens for job in jobs]):
        long = {n for n in own if len(own) > 1 and len(jobs[n].tokens) - length > most}
        alone += sorted(long)
        group = [n for n in own if n not in long]
        if not group:
            continue
        rest = [jobs[n].tokens[length:] for n in group] if len(group) > 1 else []
        head = jobs[group[0]].tokens[:length] if rest else jobs[group[0]].tokens
        vectors = {number: one for n in group for number, one in jobs[n].vectors.items()}
        merged.append(Job(head, rest, vectors))
        members.append(group)
    return [*merged, *(jobs[n] for n in alone)], [*members, *([n] for n in alone)]


def _finite(vectors: Any) -> bool:
    return bool(np.isfinite(vectors).all())
