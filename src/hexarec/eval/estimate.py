"""What a system will cost before it runs: a dry run of a few questions in which no model is asked."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Lists, Queries, option_names, rng, variant
from hexarec.core.lists import BLOCK
from hexarec.core.options import clear_memo, stages_inside
from hexarec.eval.standins import Meter, Rate, Tally, WordsEncoder, swapped
from hexarec.eval.tasks import Round, answered
from hexarec.pipeline.combine import Blend
from hexarec.pipeline.pipeline import Pipeline

Rates = Rate | Mapping[str, Rate] | None
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
    tokens_per_second: Rates = None,
    queries: Queries | None = None,
    candidates: Lists | None = None,
    explain: bool = True,
    seed: int = 0,
    asked: Round | None = None,
) -> Estimate:
    """The cost of fitting `system` on `data` and answering `n_queries` questions with lists of k.

    tokens_per_second: (read, written) for all models or by engine ("gguf"), where it was measured. queries, candidates:
    questions to sample from, by default users of the data. explain: whether a pipeline words its reasons. asked: the
    round of a task, which gives queries and candidates and asks systems in its own way.
    """
    if asked is not None:
        queries, candidates = asked.queries, asked.candidates
    clear_memo()  # the dry run sets blend weights on what it fits: nothing of it may be shared
    meter = Meter()
    dry = swapped(system, meter.stand_in, keep=False)
    most = _asking_all(dry)
    if isinstance(dry, Pipeline):
        dry = variant(dry, strict=True, **({} if explain else {"explain_by": None}))
    started = time.perf_counter()
    ready = dry.fit(data, seed=seed) if hasattr(dry, "fit") else dry
    fit_seconds = time.perf_counter() - started
    fitting = meter.taken()
    weighed = _with_weight(ready)
    questions = data.queries(seed=seed) if queries is None else queries
    rows = np.sort(rng(seed, "estimate").permutation(len(questions))[:sample])
    given = None if candidates is None else candidates.take(rows)
    started = time.perf_counter()
    if asked is not None:
        asked.answered(ready, questions.take(rows), given, k)
    else:
        _answer(ready, questions.take(rows), given, k, explain)
    each = (time.perf_counter() - started) / max(len(rows), 1)
    asking = meter.taken()
    clear_memo()
    total = {name: tally.plus(asking[name], n_queries / max(len(rows), 1)) for name, tally in fitting.items()}
    return _summed(
        total, n_queries, _memory(data, n_queries),
        (sum(tally.calls for tally in fitting.values()), fit_seconds + _seconds(fitting, tokens_per_second)),
        fit_seconds + n_queries * each + _seconds(total, tokens_per_second),
        _assumptions(total, tokens_per_second, len(rows), n_queries, weighed, most),
    )  # fmt: skip


def _summed(
    total: Mapping[str, Tally], n: int, memory: float, fit: Rate, seconds: float, said: tuple[str, ...]
) -> Estimate:
    tallies = list(total.values())
    return Estimate(
        n=n,
        calls=math.ceil(sum(t.calls for t in tallies)),
        tokens_in=math.ceil(sum(t.tokens_in for t in tallies)),
        tokens_out=math.ceil(sum(t.tokens_out for t in tallies)),
        texts=math.ceil(sum(t.texts for t in tallies)),
        seconds=seconds,
        memory_mb=memory,
        usd=sum(t.tokens_in * t.prices[0] + t.tokens_out * t.prices[1] for t in tallies),
        fit_calls=math.ceil(fit[0]),
        fit_seconds=fit[1],
        assumptions=said,
    )


def _answer(ready: Any, queries: Queries, candidates: Lists | None, k: int, explain: bool) -> None:
    if explain and isinstance(ready, Pipeline) and candidates is None:
        ready.recommend(queries, k)
    else:
        answered(ready, queries, candidates, k)


class _AtMost(Blend):
    """A blend that validates on as many questions as it may: which of them hold an answer, vectors decide."""

    def _useful(self, right: NDArray[Any], n: int) -> NDArray[Any]:
        return np.arange(n)


def _asking_all(dry: Any) -> bool:
    """Let every blend of the copy whose source reads texts by an encoder ask its most; whether there was one."""
    blends = [one for one in stages_inside(dry) if type(one) is Blend and _by_encoder(one.source)]
    for one in blends:
        one.__class__ = _AtMost  # a copy made for this run alone: it keeps its place and its options
    return bool(blends)


def _by_encoder(source: Any) -> bool:
    held = [getattr(one, name) for one in stages_inside(source) for name in option_names(one)]
    return any(isinstance(one, WordsEncoder) for one in held)


def _with_weight(ready: Any) -> bool:
    """Let every blend ask its ranker, as it does when the model proves useful; whether there was one."""
    blends = [one for one in stages_inside(ready) if isinstance(one, Blend)]
    for one in blends:
        one.weight_ = 0.5
    return bool(blends)


def _rate(tally: Tally, given: Rates) -> Rate:
    engine = tally.kind.partition(":")[2]
    if isinstance(given, Mapping):
        return given.get(engine, RATES.get(engine, UNKNOWN))
    return RATES.get(engine, UNKNOWN) if given is None else given


def _seconds(tallies: Mapping[str, Tally], given: Rates) -> float:
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
    total: Mapping[str, Tally], given: Rates, played: int, n: int, weighed: bool, most: bool
) -> tuple[str, ...]:
    said = [f"{played} of {n:,} questions were played through; the others are taken to be like them."]
    lms = {name: tally for name, tally in total.items() if tally.kind.startswith("lm:")}
    if lms:
        said.append(
            "Tokens are guessed from the text; every answer is as long as its limit, nothing is asked twice, and no "
            "prefix is read for free: an upper bound."
        )
    if spare := sum(tally.spare for tally in lms.values()):
        said.append(
            f"Into how many groups an encoder puts items is not known here: {spare:,.0f} calls are counted in case "
            "there are more of them."
        )
    if most:
        said.append("A blend over what an encoder finds is taken to validate on as many questions as it may.")
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
