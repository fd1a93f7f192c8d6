"""What a system will cost before it runs: a dry run of a few questions in which no model is asked."""

from __future__ import annotations

import copy
import itertools
import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from hexarec.core import Dataset, IdTable, Lists, PerUser, Queries, fresh, learned, option_names, rng, run, variant
from hexarec.core.lists import BLOCK
from hexarec.core.options import is_stage
from hexarec.eval.experiment import answered
from hexarec.lm.base import Constraint, Floats, Prompt, ScoreRow
from hexarec.lm.fake import Counting
from hexarec.pipeline.combine import Blend
from hexarec.pipeline.pipeline import Pipeline

T = TypeVar("T")
Rate = tuple[float, float]
# tokens per second read and written; gguf: a 135M model on two cores
RATES: dict[str, Rate] = {
    "gguf": (250.0, 40.0),
    "hf": (250.0, 40.0),
    "tiny": (2_000.0, 200.0),
    "openai": (4_000.0, 200.0),
    "fake": (math.inf, math.inf),
}
UNKNOWN: Rate = (250.0, 40.0)
TEXTS_PER_SECOND = {"minilm": 60.0, "st": 60.0, "gguf": 5.0, "openai": 200.0, "tfidf": 5_000.0}
STATE_WIDTH = 576  # length of a hidden state that nobody computes
_NUMBERS = itertools.count()


def is_lm(value: Any) -> bool:
    """Whether a value is a language model, wrapped or not."""
    return callable(getattr(value, "generate", None)) and hasattr(value, "can")


def is_encoder(value: Any) -> bool:
    """Whether a value is an encoder."""
    return callable(getattr(value, "encode", None)) and hasattr(value, "spec")


def swapped(thing: T, swap: Callable[[Any], Any], *, keep: bool = True) -> T:
    """A copy in which every language model and encoder, however deep, is `swap(model)`; each is swapped once.

    keep: whether the copy keeps what its stages learned. The given objects are left as they were.
    """
    seen: dict[int, Any] = {}

    def made(value: Any) -> Any:
        if id(value) in seen:
            return seen[id(value)]
        if not isinstance(value, type) and (is_lm(value) or is_encoder(value)):
            seen[id(value)] = swap(value)
            return seen[id(value)]
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(made(one) for one in value)
        if isinstance(value, dict):
            return {name: made(one) for name, one in value.items()}
        if not is_stage(value) or isinstance(value, IdTable | PerUser):
            return value
        twin = seen[id(value)] = copy.copy(value) if keep else fresh(value)
        for name in [*option_names(twin), *learned(twin)]:
            before = getattr(twin, name)
            if (after := made(before)) is not before:
                object.__setattr__(twin, name, after)
        return twin

    twin: T = made(thing)
    return twin


def stages_inside(thing: Any, _seen: set[int] | None = None) -> list[Any]:
    """All stages that a stage holds in options or learned state, itself included, each once."""
    seen = set() if _seen is None else _seen
    if isinstance(thing, list | tuple):
        return [one for part in thing for one in stages_inside(part, seen)]
    if not is_stage(thing) or id(thing) in seen:
        return []
    seen.add(id(thing))
    held = [getattr(thing, name) for name in [*option_names(thing), *learned(thing)]]
    return [thing, *(one for value in held for one in stages_inside(value, seen))]


@dataclass
class Tally:
    """What one model would have been asked. prices: dollars per token read and written."""

    kind: str
    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    texts: float = 0.0
    prices: Rate = (0.0, 0.0)

    def plus(self, other: Tally, times: float) -> Tally:
        """This and `times` the other."""
        return Tally(
            self.kind, self.calls + times * other.calls, self.tokens_in + times * other.tokens_in,
            self.tokens_out + times * other.tokens_out, self.texts + times * other.texts, self.prices,
        )  # fmt: skip


@dataclass
class Meter:
    """Stand-ins for models, and what they counted by the model's name."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    def stand_in(self, model: Any) -> Any:
        """The double that counts in place of a language model or encoder."""
        name = str(getattr(model, "spec", "") or model.name)
        kind = ("lm:" if is_lm(model) else "encoder:") + name.partition(":")[0]
        tally = self.tallies.setdefault(name, Tally(kind, prices=getattr(model, "_prices", (0.0, 0.0))))
        return _CountingAs(model, tally) if is_lm(model) else _ZeroEncoder(model, tally)

    def taken(self) -> dict[str, Tally]:
        """What was counted since the last look."""
        out = {name: copy.copy(tally) for name, tally in self.tallies.items()}
        for tally in self.tallies.values():
            tally.calls = tally.tokens_in = tally.tokens_out = tally.texts = 0.0
        return out


class _CountingAs(Counting):
    """`fake:counting` with the capabilities of another model. Its spec is its own, so no memo takes two for one."""

    def __init__(self, model: Any, tally: Tally) -> None:
        super().__init__()
        self.name, self.spec, self._window = model.name, f"dry:{next(_NUMBERS)}", int(model.window)
        self._can: frozenset[str] = model.can
        self._tally = tally

    @property
    def can(self) -> frozenset[str]:
        """What the other model can."""
        return self._can

    @property
    def window(self) -> int:
        """The other model's window."""
        return self._window

    def _metered(self, call: Callable[[], T]) -> T:
        with run() as inner:
            made = call()
        self._tally.calls += inner.ledger.calls
        self._tally.tokens_in += inner.ledger.tokens_in
        self._tally.tokens_out += inner.ledger.tokens_out
        return made

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Any]:
        """Counted completions."""
        return self._metered(lambda: super(_CountingAs, self).generate(prompts, within))

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """Counted labels."""
        self.need("label")
        return self._metered(lambda: super(_CountingAs, self).label(prompts, labels))

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Counted scores."""
        self.need("score")
        return self._metered(lambda: super(_CountingAs, self).score(prompts, choices))

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """Zeros; the prompts are counted as read."""
        self.need("hidden")
        self._metered(lambda: super(_CountingAs, self).label(prompts, ["A"]))
        return np.zeros((len(prompts), STATE_WIDTH), np.float32)


class _ZeroEncoder:
    """Zeros for every text, and a count of the texts."""

    def __init__(self, model: Any, tally: Tally) -> None:
        self.name, self.spec = model.name, f"dry:{next(_NUMBERS)}"
        self.dim, self._tally = int(model.dim), tally

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dim) zeros."""
        self._tally.texts += len(texts)
        return np.zeros((len(texts), self.dim), np.float32)


@dataclass(frozen=True)
class Estimate:
    """What `n` lists will cost, fit included. seconds: one after another; usd: dollars; fit_calls: part of `calls`."""

    n: int
    calls: int
    tokens_in: int
    tokens_out: int
    texts: int
    seconds: float
    memory_mb: float
    usd: float
    fit_calls: int
    fit_seconds: float
    assumptions: tuple[str, ...]

    def times(self, n: int) -> Estimate:
        """The same run n times over; memory stays."""
        sums = {name: n * getattr(self, name) for name in vars(self) if name not in ("memory_mb", "assumptions")}
        return Estimate(**sums, memory_mb=self.memory_mb, assumptions=self.assumptions)


def estimate(
    system: Any,
    data: Dataset,
    n_queries: int,
    k: int = 10,
    *,
    sample: int = 5,
    tokens_per_second: Rate | Mapping[str, Rate] | None = None,
    queries: Queries | None = None,
    candidates: Lists | None = None,
    explain: bool = True,
    seed: int = 0,
) -> Estimate:
    """The cost of fitting `system` on `data` and answering `n_queries` questions with lists of k.

    tokens_per_second: (read, written) for all models or by engine ("gguf"), where it was measured. queries, candidates:
    questions to sample from, by default users of the data. explain: whether a pipeline words its reasons.
    """
    meter = Meter()
    dry = swapped(system, meter.stand_in, keep=False)
    if isinstance(dry, Pipeline):
        dry = variant(dry, strict=True, **({} if explain else {"explain_by": None}))
    started = time.perf_counter()
    ready = dry.fit(data, seed=seed) if hasattr(dry, "fit") else dry
    fit_seconds = time.perf_counter() - started
    fitting = meter.taken()
    weighed = _with_weight(ready)
    asked = data.queries(seed=seed) if queries is None else queries
    rows = np.sort(rng(seed, "estimate").permutation(len(asked))[:sample])
    started = time.perf_counter()
    _answer(ready, asked.take(rows), None if candidates is None else candidates.take(rows), k, explain)
    each = (time.perf_counter() - started) / max(len(rows), 1)
    times = n_queries / max(len(rows), 1)
    asking = meter.taken()
    total = {name: tally.plus(asking[name], times) for name, tally in fitting.items()}
    fit_model = _seconds(fitting, tokens_per_second)
    said = _assumptions(total, tokens_per_second, len(rows), n_queries, weighed)
    return Estimate(
        n=n_queries,
        calls=math.ceil(sum(t.calls for t in total.values())),
        tokens_in=math.ceil(sum(t.tokens_in for t in total.values())),
        tokens_out=math.ceil(sum(t.tokens_out for t in total.values())),
        texts=math.ceil(sum(t.texts for t in total.values())),
        seconds=fit_seconds + n_queries * each + _seconds(total, tokens_per_second),
        memory_mb=_memory(data, n_queries),
        usd=sum(t.tokens_in * t.prices[0] + t.tokens_out * t.prices[1] for t in total.values()),
        fit_calls=math.ceil(sum(t.calls for t in fitting.values())),
        fit_seconds=fit_seconds + fit_model,
        assumptions=said,
    )


def _answer(ready: Any, queries: Queries, candidates: Lists | None, k: int, explain: bool) -> None:
    if explain and isinstance(ready, Pipeline) and candidates is None:
        ready.recommend(queries, k)
    else:
        answered(ready, queries, candidates, k)


def _with_weight(ready: Any) -> bool:
    """Let every blend ask its ranker, as it does when the model proves useful; whether there was one."""
    blends = [one for one in stages_inside(ready) if isinstance(one, Blend)]
    for one in blends:
        one.weight_ = 0.5
    return bool(blends)


def _rate(tally: Tally, given: Rate | Mapping[str, Rate] | None) -> Rate:
    engine = tally.kind.partition(":")[2]
    if isinstance(given, Mapping):
        return given.get(engine, RATES.get(engine, UNKNOWN))
    return RATES.get(engine, UNKNOWN) if given is None else given


def _seconds(tallies: Mapping[str, Tally], given: Rate | Mapping[str, Rate] | None) -> float:
    total = 0.0
    for tally in tallies.values():
        if tally.kind.startswith("lm:"):
            read, written = _rate(tally, given)
            total += tally.tokens_in / read + tally.tokens_out / written
        else:
            total += tally.texts / TEXTS_PER_SECOND.get(tally.kind.partition(":")[2], 60.0)
    return total


def _memory(data: Dataset, n: int) -> float:
    """Peak of this process in MB, and two score tables of one block, which a dry run of few questions does not fill."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return peak + 2 * 4e-6 * min(n, BLOCK) * data.n_items


def _assumptions(
    total: Mapping[str, Tally], given: Rate | Mapping[str, Rate] | None, played: int, n: int, weighed: bool
) -> tuple[str, ...]:
    said = [f"{played} of {n:,} questions were played through; the others are taken to be like them."]
    lms = {name: tally for name, tally in total.items() if tally.kind.startswith("lm:")}
    if lms:
        said.append(
            "Tokens are guessed from the text; every answer is as long as its limit, nothing is asked twice, and no "
            "prefix is read for free: an upper bound."
        )
    for name, tally in lms.items():
        read, written = _rate(tally, given)
        how = "a guess for this engine" if given is None else "as given"
        speed = f"reads {read:g} and writes {written:g} tokens a second ({how})" if read < math.inf else "takes no time"
        said.append(f"{name} {speed}.")
        if tally.kind == "lm:openai" and not any(tally.prices):
            said.append(f"{name} has no price, so its dollars count as 0: state price_in and price_out in [use].")
    for name, tally in total.items():
        if tally.kind.startswith("encoder:") and tally.texts:
            pace = TEXTS_PER_SECOND.get(tally.kind.partition(":")[2], 60.0)
            said.append(f"{name} encodes {tally.texts:,.0f} texts, {pace:g} a second (a guess).")
    if weighed:
        said.append("A blend is taken to ask its model; if validation gives it weight 0, asking costs nothing.")
    said.append("Fitting without models was done for real; memory is the peak of this dry run and of one block.")
    return tuple(said)
