"""The rows of the engine's benchmark: ours and its peers, each with `run() -> answer`."""

from __future__ import annotations

import csv
import itertools
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """What a row is to do. prefix and k are the tokens of the prompt and the number of candidates."""

    model: str = "smollm2"
    data: str = ""
    device: str = "cpu"
    prefix: int = 400
    k: int = 20
    users: int = 1
    dtype: str = "float32"
    catalog: int = 10_000
    norm: str = "full"
    batch: int = 4
    events: int = 5


def titles(data: str) -> list[str]:
    """Film titles of MovieLens-100K in a fixed shuffled order, or of the bundled films where the data is not there."""
    file = Path(data) / "ml100k" / "u.item"
    if file.exists():
        rows = [line.split("|")[1] for line in file.read_text("latin-1").splitlines()]
    else:
        from hexarec.data import films

        made = films.catalog()
        rows = [f"{title} ({year})" for title, year in zip(made.titles, made.attributes["year"], strict=True)]
    rows = list(dict.fromkeys(row for row in rows if row and row != "unknown"))
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]


def catalog(data: str, size: int) -> list[str]:
    """`size` distinct titles: those of MovieLens, and then new ones that join the halves of two."""
    real = titles(data)
    file = Path(data) / "ml_latest_small" / "movies.csv"
    if file.exists():
        with open(file, encoding="utf-8", newline="") as stream:
            real += [row["title"] for row in csv.DictReader(stream)]
    found = dict.fromkeys(real)
    draw = np.random.default_rng(1)
    words = [title.rsplit(" (", 1)[0].split() for title in found]
    years = [title.rsplit(" (", 1)[-1].rstrip(")") for title in found]
    while len(found) < size:
        a, b, y = draw.integers(0, len(words), 3)
        found[f"{' '.join(words[a][: (len(words[a]) + 1) // 2] + words[b][len(words[b]) // 2 :])} ({years[y]})"] = None
    return list(itertools.islice(found, size))


class Ours:
    """The engine, opened once."""

    scale = 1.0

    def __init__(self, work: Work) -> None:
        from hexarec.lm.hf.engine import HF

        self.work = work
        rows = 2048 if work.device == "cpu" else 16_384  # a GPU is not full before
        self.lm = HF(work.model, dtype=work.dtype, device=work.device, prefix_mb=2000.0, rows=rows)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Back to a cold start."""
        self.lm.prefixes.forget()
        self.lm.tokens.forget()

    def history(self, user: int = 0, tokens: int | None = None) -> str:
        """A film history of about as many tokens as asked for."""
        return history(self.lm.tokens.text, titles(self.work.data), tokens or self.work.prefix, user)

    def candidates(self, user: int = 0) -> list[str]:
        """K titles of 8 to 12 tokens."""
        return candidates(self.lm.tokens.text, titles(self.work.data), self.work.k, user)


def history(encode: Any, names: list[str], tokens: int, user: int) -> str:
    """The prompt: what a user watched, then the cue."""
    order = np.random.default_rng(100 + user).permutation(len(names))
    head, tail, lines = "I watched these films, oldest first:\n", "Next I will watch:", []
    size = len(encode(head + tail))
    for n, i in enumerate(order):
        line = f"{n + 1}. {names[i]}\n"
        size += len(encode(line))
        if size > tokens:
            break
        lines.append(line)
    return head + "".join(lines) + tail


def candidates(encode: Any, names: list[str], k: int, user: int) -> list[str]:
    """K titles, with the space that stands before them."""
    order = np.random.default_rng(900 + user).permutation(len(names))
    fit = [f" {names[i]}" for i in order if 8 <= len(encode(f" {names[i]}")) <= 12]
    return fit[:k]


class Score(Ours):
    """Title likelihood of K candidates behind one prompt, for each user in turn or all in one call."""

    note = "hexarec: prefix once, candidates packed and merged"

    def run(self) -> dict[str, Any]:
        """Score; tokenising is inside."""
        from hexarec.core import run
        from hexarec.lm.base import Prompt

        users = range(self.work.users)
        prompts = [Prompt.plain(text) for text in self.asked]
        with run() as spent:
            rows = self.lm.score(prompts, [self.own[user] for user in users])
        return {
            "scores": np.concatenate([row.logprobs for row in rows]).tolist(),
            "tokens": spent.ledger.tokens_in,
            "cached": spent.ledger.tokens_cached,
            "gflop": gflop(self.lm, self.asked, [self.own[user] for user in users]),
        }

    @cached_property
    def asked(self) -> list[str]:
        """The prompts."""
        return [self.history(user) for user in range(self.work.users)]

    @cached_property
    def own(self) -> list[list[str]]:
        """Each prompt's candidates."""
        return [self.candidates(user) for user in range(self.work.users)]


class OneByOne(Score):
    """The same users, one call each."""

    note = "hexarec: the same users, one call after the other"

    def run(self) -> dict[str, Any]:
        """Score each user alone."""
        from hexarec.lm.base import Prompt

        rows = [self.lm.score([Prompt.plain(p)], [c])[0] for p, c in zip(self.asked, self.own, strict=True)]
        return {"scores": np.concatenate([row.logprobs for row in rows]).tolist()}


class Warm(Score):
    """The prompt of a user whose earlier prompt, five events ago, is warm."""

    note = "hexarec: the same user five events later, prefix warm"

    def reset(self) -> None:
        """Warm with the history before the newest events."""
        from hexarec.lm.base import Prompt

        super().reset()
        lines = self.asked[0].split("\n")
        before = "\n".join([*lines[: -1 - self.work.events], lines[-1]])
        self.lm.score([Prompt.plain(before)], [self.own[0][:1]])


def gflop(lm: Any, prompts: list[str], choices: list[list[str]]) -> float:
    """Useful work in 10^9 operations: every distinct token once, attention to what it sees, the head at read rows."""
    from hexarec.lm.hf.packing import pack

    config, total = lm.base.model.config, 0.0
    linear = sum(m.weight.numel() for m in lm.worker.body.inner.modules() if hasattr(m, "in_features"))
    size = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    head = lm.head.weight.numel()
    for prompt, own in zip(prompts, choices, strict=True):
        p = len(lm.tokens.text(prompt))
        made = pack([lm.tokens.text(text)[:-1] for text in own], 10**9)
        n, seen = len(made.tokens), p * (p + 1) / 2 + float((p + made.depth + 1).sum())
        total += 2 * linear * (p + n) + 4 * size * config.num_hidden_layers * seen + 2 * head * (n + 1)
    return total / 1e9


class Loop:
    """transformers, K candidates each with the whole prompt in front, at a batch size, head only where it is read.

    A loop costs the same for every full batch: whole batches of at least ten candidates are timed, and multiplied
    by K over their number; the answer for all comes from the first, untimed run.
    """

    def __init__(self, work: Work) -> None:
        import torch

        from hexarec.lm.hf.tokens import Tokens
        from hexarec.lm.hf.weights import load

        self.torch, self.work = torch, work
        base = load(work.model, dtype=work.dtype, device=work.device)  # type: ignore[arg-type]
        self.model, self.tokens = base.model, Tokens(base.tokenizer)
        names = titles(work.data)
        self.prompt = history(self.tokens.text, names, work.prefix, 0)
        self.own = candidates(self.tokens.text, names, work.k, 0)
        self.timed = min(work.k, -(-10 // work.batch) * work.batch)
        self.scale = 1.0
        self.answer: list[float] | None = None
        self.note = f"transformers loop, logits_to_keep, batch {work.batch}"
        if self.timed < work.k:
            self.note += f"; {self.timed} of {work.k} timed, times {work.k / self.timed:g}"

    def reset(self) -> None:
        """The first run answers for all candidates."""
        self.tokens.forget()
        self.scale = 1.0 if self.answer is None else self.work.k / self.timed

    def run(self) -> dict[str, Any]:
        """Score in batches."""
        if self.answer is None:
            self.answer = self._scored(self.own)
        else:
            self._scored(self.own[: self.timed])
        total = sum(len(self.tokens.text(self.prompt)) + len(self.tokens.text(text)) for text in self.own)
        return {"scores": self.answer, "tokens": total}

    def _scored(self, texts: list[str]) -> list[float]:
        torch, found = self.torch, []
        prompt = list(self.tokens.text(self.prompt))
        for start in range(0, len(texts), self.work.batch):
            rows = [list(self.tokens.text(text)) for text in texts[start : start + self.work.batch]]
            width = max(map(len, rows))
            ids = torch.tensor([prompt + row + [0] * (width - len(row)) for row in rows])
            with torch.no_grad():
                logits = self.model(ids.to(self.model.device), logits_to_keep=width + 1, use_cache=False).logits
            odds = torch.log_softmax(logits.float(), -1).cpu()
            found += [sum(float(odds[n, at, token]) for at, token in enumerate(row)) for n, row in enumerate(rows)]
        return found


class Roof:
    """A plain matrix product of torch, side 1,536 (8,192 on a GPU), the best of ten."""

    note = "torch matrix product, the best of this turn"
    scale = 1.0

    def __init__(self, work: Work) -> None:
        import torch

        kind = getattr(torch, "bfloat16" if work.dtype == "int8" else work.dtype)
        self.torch, self.device = torch, work.device
        self.side = 1536 if work.device == "cpu" else 8192
        self.a, self.b = (torch.randn(self.side, self.side, device=work.device).to(kind) for _ in range(2))
        self.seen: list[float] = []

    def reset(self) -> None:
        """Nothing is kept."""

    def run(self) -> dict[str, Any]:
        """Ten products."""
        best = float("inf")
        for _ in range(10):
            started = time.perf_counter()
            self.torch.mm(self.a, self.b)
            if self.device != "cpu":
                self.torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
        self.seen.append(2 * self.side**3 / best / 1e9)
        return {"gflops_seen": self.seen}


class Labels(Ours):
    """Yes or no about K titles behind one history, packed."""

    note = "hexarec hf: labels, history read once, questions packed"

    def run(self) -> dict[str, Any]:
        """All labels in one call."""
        return {"scores": asked_labels(self.lm, self.history(), self.candidates())}


class LlamaLabels:
    """The same with the embedded llama.cpp engine and its own prefix cache: one slot, questions in order."""

    note = "xllamacpp: labels, its own prefix cache, 2 threads, Q4_1 weights"
    scale = 1.0

    def __init__(self, work: Work) -> None:
        from hexarec.lm.gguf import GGUF

        self.work, self.lm = work, GGUF(work.model, threads=2)
        self.encode = self.lm._core.tokens

    def reset(self) -> None:
        """Push the history out of the slot."""
        from hexarec.lm.base import Prompt

        self.lm.label([Prompt.plain("Something else. " * 20)], ["Yes", "No"])

    def run(self) -> dict[str, Any]:
        """All labels in one call."""
        names = titles(self.work.data)
        text = history(self.encode, names, self.work.prefix, 0)
        return {"scores": asked_labels(self.lm, text, candidates(self.encode, names, self.work.k, 0))}


def asked_labels(lm: Any, text: str, options: list[str]) -> list[float]:
    """The log-odds of Yes against No for each option."""
    from hexarec.lm.base import Prompt

    prompts = [Prompt.plain(f"{text}{title}? Answer Yes or No:") for title in options]
    rows = lm.label(prompts, ["Yes", "No"])
    return [float(row[0] - row[1]) for row in rows]


class Generate(Ours):
    """The ten best titles of a catalog by beam search in its token trie, 20 beams."""

    note = "hexarec: beams in a token trie, prompt once, children only"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.names = [f" {title}" for title in catalog(work.data, work.catalog)]
        started = time.perf_counter()
        self.trie = self.lm.trie(self.names)
        self.built = time.perf_counter() - started
        self.asked = self.history()

    def run(self) -> dict[str, Any]:
        """One list."""
        from hexarec.lm.base import Prompt

        hits = self.lm.search([Prompt.plain(self.asked)], self.trie, k=10, beams=20, norm=self.work.norm)[0]  # type: ignore[arg-type]
        arrays = (self.trie.token, self.trie.first, self.trie.leaf)
        return {
            "found": [[self.names[hit.number], hit.logprob] for hit in hits],
            "trie_build_s": self.built,
            "trie_nodes": len(self.trie.token),
            "trie_mb": sum(array.nbytes for array in arrays) / 1e6,
        }


class HfGenerate:
    """The same list by transformers' `generate` with `prefix_allowed_tokens_fn` over a dictionary trie."""

    note = "transformers generate, prefix_allowed_tokens_fn, 20 beams"
    scale = 1.0

    def __init__(self, work: Work) -> None:
        import torch

        from hexarec.lm.hf.tokens import Tokens
        from hexarec.lm.hf.weights import load

        self.torch = torch
        base = load(work.model, dtype=work.dtype, device=work.device)  # type: ignore[arg-type]
        self.model, self.tokens = base.model, Tokens(base.tokenizer)
        names = [f" {title}" for title in catalog(work.data, work.catalog)]
        self.end = self.tokens.end
        self.trie: dict[int, Any] = {}
        for ids in self.tokens.many(names):
            node = self.trie
            for token in [*ids, self.end]:
                node = node.setdefault(token, {})
        self.longest = max(len(ids) for ids in self.tokens.many(names)) + 1
        self.text = history(self.tokens.text, titles(work.data), work.prefix, 0)

    def reset(self) -> None:
        """Nothing is kept."""

    def run(self) -> dict[str, Any]:
        """One list."""
        ids = list(self.tokens.text(self.text))
        cut = len(ids)

        def legal(_: int, sequence: Any) -> list[int]:
            node = self.trie
            for token in sequence[cut:].tolist():
                node = node.get(token, {})
            return list(node) or [self.end]

        with self.torch.no_grad():
            made = self.model.generate(
                self.torch.tensor([ids], device=self.model.device),
                attention_mask=self.torch.ones(1, cut, dtype=self.torch.long, device=self.model.device),
                num_beams=20,
                num_return_sequences=10,
                max_new_tokens=self.longest,
                length_penalty=0.0,
                early_stopping="never",
                do_sample=False,
                eos_token_id=self.end,
                pad_token_id=self.end,
                prefix_allowed_tokens_fn=legal,
                return_dict_in_generate=True,
                output_scores=True,
            )
        texts = [self.tokens.decode(row[cut:].tolist()) for row in made.sequences]
        return {"found": [[t, float(s)] for t, s in zip(texts, made.sequences_scores, strict=True)]}


class Embed:
    """Titles to vectors with our MiniLM."""

    scale = 1.0

    def __init__(self, work: Work) -> None:
        from hexarec.lm.open import open_encoder

        self.texts = catalog(work.data, 2000)
        options = {} if work.dtype == "default" else {"dtype": work.dtype}
        self.encoder = open_encoder("minilm", **options)
        self.note = f"hexarec minilm, {work.dtype}"

    def reset(self) -> None:
        """Nothing is kept."""

    def run(self) -> dict[str, Any]:
        """All titles."""
        return {"found": self.encoder.encode(self.texts)}


class SentenceTransformers:
    """The same by the default loop of sentence-transformers."""

    note = "sentence-transformers encode, its defaults"
    scale = 1.0

    def __init__(self, work: Work) -> None:
        from sentence_transformers import SentenceTransformer

        from hexarec.lm import models

        self.texts = catalog(work.data, 2000)
        self.model = SentenceTransformer(str(models.path("minilm")), device=work.device)

    def reset(self) -> None:
        """Nothing is kept."""

    def run(self) -> dict[str, Any]:
        """All titles."""
        return {"found": self.model.encode(self.texts, normalize_embeddings=True, show_progress_bar=False)}


ROWS: dict[str, Any] = {
    "ours": Score,
    "one by one": OneByOne,
    "loop": Loop,
    "roof": Roof,
    "warm": Warm,
    "labels": Labels,
    "xllamacpp": LlamaLabels,
    "search": Generate,
    "generate": HfGenerate,
    "embed": Embed,
    "sentence-transformers": SentenceTransformers,
}
