"""`Cassette`: the answers of a language model on file, to replay a run, to save money, or to refuse all asking.

A cassette records good answers only; a cache keeps even fewer: no empty ones, and of the others those that the asking
stage could use (`keeping`). Keys
hold the model (`base.identity`: of `hf:` the weights, their number type and what the adapter's folder holds), the call,
the prompt with its seed and sample, the constraint and the tenant. Equal requests, in one batch or in several threads,
are asked once.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hexarec.core.errors import ModelError, OptionError, StateError
from hexarec.core.run import current
from hexarec.lm.base import (
    Completion,
    Constraint,
    Finish,
    Floats,
    Hypothesis,
    Ints,
    LanguageModel,
    Prompt,
    ScoreRow,
    canonical_hash,
    constraint_key,
    identity,
)
from hexarec.lm.overheard import tell
from hexarec.lm.tape import Tape, open_tape
from hexarec.lm.tokentrie import TokenTrie

Mode = Literal["cache", "record", "replay", "refuse"]
MODES = ("cache", "record", "replay", "refuse")
Judge = Callable[[Prompt, Any], bool]
_JUDGE: ContextVar[Judge | None] = ContextVar("hexarec_judge", default=None)


@contextlib.contextmanager
def keeping(judge: Judge) -> Iterator[None]:
    """Let `judge(prompt, answer)` say which answers of the enclosed calls may stay in a cache.

    The answer is a Completion, a row of log-probabilities, a ScoreRow or a list of hits. A recording keeps the others
    too, so that a replay repeats the run as it was.
    """
    token = _JUDGE.set(judge)
    try:
        yield
    finally:
        _JUDGE.reset(token)


class _Flight:
    """One request on its way: those who want the same wait for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.made: Any = None
        self.error: ModelError | None = None

    def wait(self) -> Any:
        """The answer, None when whoever asked gave up. Raises what the model raised, or that this run has ended."""
        while not self.done.wait(0.05):
            current().check()
        if self.error is not None:
            raise self.error
        return self.made


@dataclass(frozen=True)
class _Kind:
    """How the answers of a kind of call are written and read, and what who listens is told: the call, the words whose
    log-probabilities are asked for. Without a call nothing is told."""

    call: str
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]
    choices: Sequence[Sequence[str]] = ()


class Cassette:
    """A language model whose answers are kept at `path`: JSON lines, SQLite for a name in .sqlite, memory for None.

    A `Tape` in the place of the path is used as it is.

    Modes: `cache` asks what it lacks and keeps it; `record` asks everything anew; `replay` never asks and raises
    StateError for what it lacks; `refuse` raises for any call at all. Equal requests on their way at the same time are
    one call in every mode, and share its answer, a failed one too.
    """

    def __init__(self, lm: LanguageModel, path: str | Path | Tape | None = None, mode: Mode = "cache") -> None:
        if mode not in MODES:
            raise OptionError(f"a cassette has no mode {mode!r}", hint=f"modes: {', '.join(MODES)}")
        self.lm, self.mode, self.name, self.spec = lm, mode, lm.name, lm.spec
        made = path is None or isinstance(path, str | Path)
        self.tape: Tape = open_tape(path, writable=mode in ("cache", "record")) if made else path  # type: ignore[arg-type, assignment]
        self._hits = self._misses = 0
        self._lock = threading.Lock()
        self._asking: dict[str, _Flight] = {}

    @property
    def hits(self) -> int:
        """Requests that were answered without the inner model."""
        return self._hits

    @property
    def misses(self) -> int:
        """Requests that the inner model was asked."""
        return self._misses

    @property
    def options(self) -> dict[str, Any]:
        """With the spec they open the inner model again."""
        return dict(getattr(self.lm, "options", {}))

    @property
    def can(self) -> frozenset[str]:
        """What the inner model can."""
        return self.lm.can

    @property
    def window(self) -> int:
        """The inner model's window, in tokens."""
        return self.lm.window

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) token counts of the inner model."""
        return self.lm.count(texts)

    def identity(self, prompt: Prompt) -> str:
        """What besides the prompt decides the inner model's answers."""
        return identity(self.lm, prompt)

    def weights(self) -> tuple[Any, Any]:
        """The inner model's module and tokenizer; never recorded."""
        return self.lm.weights()

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt, from the tape or from the model; failures and refusals are not kept."""
        keys = [self._key("generate", prompt, constraint_key(within)) for prompt in prompts]
        kind = _Kind("generate", _dump_completion, _load_completion)
        return self._answers(kind, keys, prompts, lambda rows: self.lm.generate([prompts[row] for row in rows], within))

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities; a row of NaN only is not kept."""
        keys = [self._key("label", prompt, canonical_hash(list(labels))) for prompt in prompts]

        def ask(rows: list[int]) -> list[Floats]:
            return list(self.lm.label([prompts[row] for row in rows], labels))

        kind = _Kind("label", _dump_numbers, _numbers, [labels] * len(prompts))
        return _table(self._answers(kind, keys, prompts, ask), len(labels))

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) hidden states."""
        keys = [self._key("hidden", prompt, f"{layer} {pool}") for prompt in prompts]
        kind = _Kind("", _dump_numbers, _numbers)
        rows = self._answers(
            kind, keys, prompts, lambda rows: list(self.lm.hidden([prompts[row] for row in rows], layer, pool))
        )
        return _table(rows, len(rows[0]) if rows else 0)

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]], **how: bool) -> list[ScoreRow]:
        """Score rows; a prompt with its choices is one request. `how` is what the model takes beside."""
        pairs = list(zip(prompts, choices, strict=True))
        keys = [self._key("score", prompt, canonical_hash(list(texts)) + _told(how)) for prompt, texts in pairs]

        def ask(rows: list[int]) -> list[ScoreRow]:
            return self.lm.score([prompts[row] for row in rows], [choices[row] for row in rows], **how)

        return self._answers(_Kind("score", _dump_score, _load_score, choices), keys, prompts, ask)

    @property
    def trie(self) -> Callable[..., Any]:
        """`trie` of an inner model that searches, never recorded; another has none, and so has this one."""
        return self.lm.trie  # type: ignore[attr-defined, no-any-return]

    @property
    def search(self) -> Callable[..., list[list[Any]]]:
        """`search` of an inner model that has it, from the tape or from the model: as `HF.search`."""
        inner = self.lm.search  # type: ignore[attr-defined]

        @wraps(inner)
        def searched(
            prompts: Sequence[Prompt],
            trie: TokenTrie,
            *,
            banned: Sequence[Iterable[int]] | None = None,
            **how: Any,
        ) -> list[list[Any]]:
            bans = [sorted(set(own)) for own in banned or [()] * len(prompts)]
            within = _trie_hash(trie) + _told(how)
            pairs = zip(prompts, bans, strict=True)
            keys = [self._key("search", prompt, within + canonical_hash(own)) for prompt, own in pairs]

            def ask(rows: list[int]) -> list[list[Any]]:
                found: list[list[Any]] = inner(
                    [prompts[row] for row in rows], trie, banned=[bans[row] for row in rows], **how
                )
                return found

            return self._answers(_Kind("search", _dump_hits, _load_hits), keys, prompts, ask)

        return searched

    @property
    def beam(self) -> Callable[..., list[list[Hypothesis]]]:
        """`beam` of an inner model that has it, from the tape or from the model: as `HF.beam`."""
        inner = self.lm.beam  # type: ignore[attr-defined]

        @wraps(inner)
        def written(prompts: Sequence[Prompt], width: int = 10) -> list[list[Hypothesis]]:
            keys = [self._key("beam", prompt, str(width)) for prompt in prompts]

            def ask(rows: list[int]) -> list[list[Hypothesis]]:
                return inner([prompts[row] for row in rows], width)  # type: ignore[no-any-return]

            return self._answers(_Kind("beam", _dump_beam, _load_beam), keys, prompts, ask)

        return written

    @property
    def slate(self) -> Callable[..., list[Any]]:
        """`slate` of an inner model that has it, from the tape or from the model: as `HF.slate`."""
        inner = self.lm.slate  # type: ignore[attr-defined]

        @wraps(inner)
        def written(prompt: Prompt, texts: Sequence[str], k: int, **how: Any) -> list[Any]:
            within = canonical_hash([list(texts), k]) + _told(how)
            key = self._key("slate", prompt, within)
            kind = _Kind("", _dump_hits, _load_hits)
            made: list[Any] = self._answers(kind, [key], [prompt], lambda _: [inner(prompt, texts, k, **how)])[0]
            return made

        return written

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces; a recorded one comes as a single piece. An answer broken off is not kept.

        A whole one is an answer as any other: who asks for it by `generate` finds it, and `keeping` judges it.
        """
        return self._pieces(self._key("generate", prompt, ""), prompt, _JUDGE.get())

    def _pieces(self, key: str, prompt: Prompt, judge: Judge | None) -> Iterator[str]:
        known = self._look(key)
        if known is not None:
            self._hits += 1
            yield _load_completion(known).text
            return
        self._miss([0], [prompt])
        pieces = []
        for piece in self.lm.stream(prompt):
            pieces.append(piece)
            yield piece
        text = "".join(pieces)
        used_in, used_out = (int(n) for n in self.lm.count([prompt.text, text]))
        finish: Finish = "length" if used_out >= prompt.sample.max_tokens else "stop"
        self._keep(key, prompt, Completion(text, finish, used_in, used_out), _dump_completion, judge)

    def _key(self, call: str, prompt: Prompt, more: str) -> str:
        return canonical_hash([self.identity(prompt), call, prompt.digest(), more, current().tenant])

    def _look(self, key: str) -> Any:
        return None if self.mode in ("record", "refuse") else self.tape.get(key)

    def _miss(self, rows: Sequence[int], prompts: Sequence[Prompt]) -> None:
        """Count what is not on the tape; raise in a mode that never asks."""
        self._misses += len(rows)
        if rows and self.mode in ("replay", "refuse"):
            what = "is not on the cassette" if self.mode == "replay" else "is refused by the cassette"
            raise StateError(
                f"{self.name}: the request {prompts[rows[0]].text[:80]!r} {what}",
                hint="record it again with mode='record'" if self.mode == "replay" else "use mode='cache' to ask",
            )

    def _answers(
        self, kind: _Kind, keys: list[str], prompts: Sequence[Prompt], ask: Callable[[list[int]], Sequence[Any]]
    ) -> list[Any]:
        """An answer for each key: from the tape, from `ask`, or from another thread's asking.

        Who listens hears of those from the tape too: what was answered is of interest, whenever it was.
        """
        found: dict[str, Any] = {}
        mine, others = self._sort(keys, found)
        kept = {key: kind.load(value) for key, value in found.items()}
        found.update(kept)
        try:
            self._miss([row for row, _ in mine.values()], prompts)
            if mine:
                rows = [row for row, _ in mine.values()]
                for (key, (row, flight)), made in zip(mine.items(), ask(rows), strict=True):
                    found[key] = flight.made = made
                    self._keep(key, prompts[row], made, kind.dump, _JUDGE.get())
        except ModelError as error:
            for _, flight in mine.values():
                flight.error = error
            raise
        finally:
            self._release(mine)
        if kind.call and (rows := [row for row, key in enumerate(keys) if key in kept]):
            choices = [kind.choices[row] for row in rows] if kind.choices else ()
            tell(self.name, kind.call, [prompts[row] for row in rows], [kept[keys[row]] for row in rows], choices)
        for key, (row, flight) in others.items():
            made = flight.wait()
            # who asked may have run out of time or money: then this one asks
            found[key] = made if made is not None else self._again(kind, key, row, prompts, ask)
        return [found[key] for key in keys]

    def _again(
        self, kind: _Kind, key: str, row: int, prompts: Sequence[Prompt], ask: Callable[[list[int]], Sequence[Any]]
    ) -> Any:
        choices = [kind.choices[row]] if kind.choices else ()
        return self._answers(replace(kind, choices=choices), [key], [prompts[row]], lambda _: ask([row]))[0]

    def _keep(self, key: str, prompt: Prompt, made: Any, dump: Callable[[Any], Any], judge: Judge | None) -> None:
        if self.mode == "cache":
            if isinstance(made, Completion) and not made.text.strip():
                return
            if judge is not None and not judge(prompt, made):
                return
        if (value := dump(made)) is not None:
            self.tape.put(key, value)

    def _sort(
        self, keys: list[str], found: dict[str, Any]
    ) -> tuple[dict[str, tuple[int, _Flight]], dict[str, tuple[int, _Flight]]]:
        """Split keys: on the tape (into `found`), to be asked here, being asked by another thread; rows and flights."""
        mine: dict[str, tuple[int, _Flight]] = {}
        others: dict[str, tuple[int, _Flight]] = {}
        with self._lock:
            for row, key in enumerate(keys):
                if key in found or key in mine or key in others:
                    self._hits += 1
                elif (known := self._look(key)) is not None:
                    found[key] = known
                    self._hits += 1
                elif key in self._asking:
                    others[key] = (row, self._asking[key])
                    self._hits += 1
                else:
                    self._asking[key] = _Flight()
                    mine[key] = (row, self._asking[key])
        return mine, others

    def _release(self, mine: dict[str, tuple[int, _Flight]]) -> None:
        with self._lock:
            for key, (_, flight) in mine.items():
                del self._asking[key]
                flight.done.set()


def _told(how: Mapping[str, Any]) -> str:
    """What is asked beside the plain call, for the key; "" where that is nothing, as of old."""
    told = {name: value for name, value in how.items() if value}
    return canonical_hash(told) if told else ""


def _trie_hash(trie: TokenTrie) -> str:
    """What a trie holds, for the key."""
    held = hashlib.sha256(trie.key.encode())
    for numbers in (trie.token, trie.first, trie.leaf):
        held.update(np.ascontiguousarray(numbers).tobytes())
    return held.hexdigest()


def _dump_hits(made: Sequence[Any]) -> Any:
    return {"hits": [[int(hit.number), float(hit.logprob)] for hit in made]} if made else None


def _load_hits(made: Any) -> list[Any]:
    from hexarec.lm.hf.beam import Hit

    return [Hit(number, logprob) for number, logprob in made["hits"]]


def _dump_beam(made: Sequence[Hypothesis]) -> Any:
    said = any(one.text.strip() for one in made)
    return {"beam": [[one.text, one.logprob, one.finish] for one in made]} if said else None


def _load_beam(made: Any) -> list[Hypothesis]:
    return [Hypothesis(*one) for one in made["beam"]]


def _dump_completion(made: Completion) -> Any:
    if not made.good:
        return None
    counts = [made.tokens_in, made.tokens_out, made.tokens_cached]
    return {"text": made.text, "finish": made.finish, "tokens": counts}


def _load_completion(value: Any) -> Completion:
    return Completion(value["text"], value["finish"], *value["tokens"])


def _dump_numbers(row: Floats) -> Any:
    values = np.asarray(row, dtype=np.float64)
    return None if not np.isfinite(values).any() else _safe(values)


def _safe(values: Any) -> list[float | str | None]:
    """JSON has neither NaN nor infinity."""
    return [
        float(v) if np.isfinite(v) else None if np.isnan(v) else "inf" if v > 0 else "-inf" for v in values.tolist()
    ]


def _numbers(values: Any) -> Floats:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float32)


def _table(rows: list[Floats], width: int) -> Floats:
    """(n, width) float32."""
    return np.array(rows, dtype=np.float32).reshape(len(rows), width)


def _dump_score(row: ScoreRow) -> Any:
    logprobs = np.asarray(row.logprobs, dtype=np.float64)
    if logprobs.size and not np.isfinite(logprobs).any():
        return None
    return {"logprobs": _safe(logprobs), "tokens": [int(n) for n in row.tokens]}


def _load_score(value: Any) -> ScoreRow:
    return ScoreRow(_numbers(value["logprobs"]), np.array(value["tokens"], dtype=np.int32))
