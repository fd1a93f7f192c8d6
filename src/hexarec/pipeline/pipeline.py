"""The pipeline: six fixed slots, a trace of every step, and nothing that degrades silently."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    Answer,
    Asked,
    CancelledError,
    Catalog,
    Controller,
    Conversationalist,
    DataError,
    Dataset,
    Degraded,
    Dialogue,
    Enricher,
    Explainer,
    Exposures,
    Graph,
    Item,
    Lists,
    OptionError,
    Queries,
    Ranker,
    Reasons,
    Reply,
    Retriever,
    StateError,
    Step,
    current,
    fitted,
    forget,
    fuse,
    ragged,
    run,
    track,
)
from hexarec.core.options import clear_memo
from hexarec.lm.overheard import KIND, heard
from hexarec.pipeline.combine import grown

T = TypeVar("T")
MOST_ASKED = 40
"""Requests of a stage that a whole trace keeps."""


@dataclass
class _Log:
    """Steps and failures of one answer; with `whole` also what models were asked and the lists between the stages."""

    steps: list[Step] = field(default_factory=list)
    degraded: list[Degraded] = field(default_factory=list)
    whole: bool = False

    @contextmanager
    def _timed(self, stage: str, method: str, n_in: int, out: list[int], status: list[str]) -> Iterator[None]:
        started = time.perf_counter()

        def complained(reason: str) -> None:
            status[0] = "degraded"
            self.degraded.append(Degraded(stage, method, reason))

        asked: list[Asked] = []
        with run(complain=complained, emit=_listening(asked) if self.whole else None) as inner:
            try:
                yield
            finally:
                spent = inner.ledger.snapshot()
                self.steps.append(
                    Step(
                        stage, method, n_in, sum(out), time.perf_counter() - started, int(spent["calls"]),
                        int(spent["tokens_in"]), int(spent["tokens_cached"]), int(spent["tokens_out"]),
                        int(spent["forwards"]), spent["cost"], status[0], tuple(asked),
                    )
                )  # fmt: skip

    def attempt(
        self, stage: str, method: str, n_in: int, work: Callable[[], T], size: Callable[[T], int], strict: bool
    ) -> T | None:
        """Do a stage's work as a step; on failure None, with the reason kept. Cancelling is not a failure.

        A stage that did its work badly says so by `core.degrade`; its result is used.
        """
        out, status = [0], ["ok"]
        with self._timed(stage, method, n_in, out, status):
            try:
                made = work()
            except CancelledError:
                raise
            except Exception as error:
                if strict:
                    raise
                status[0] = "failed"
                self.degraded.append(Degraded(stage, method, f"{type(error).__name__}: {error}"))
                return None
            out[0] = size(made)
            return made

    def passed(self, before: Lists | None, after: Lists | None) -> None:
        """Keep the lists that the last stage was given and gave."""
        if self.whole:
            self.steps[-1] = replace(self.steps[-1], before=before, after=after)


def _listening(asked: list[Asked]) -> Callable[[dict[str, Any]], None]:
    """Hears the events of a run: keeps the first requests to models, and passes all on."""
    outer = current().emit

    def emitted(event: dict[str, Any]) -> None:
        if event.get("kind") == KIND and len(asked) < MOST_ASKED:
            asked.extend(heard(event, MOST_ASKED - len(asked)))
        outer(event)

    return emitted


def name_of(stage: object) -> str:
    """How a stage is called in traces: its class, and what it holds for combinators."""
    inner = getattr(stage, "ranker", None)
    own = type(stage).__name__
    return f"{own}({name_of(inner)})" if inner is not None else own


@dataclass
class Pipeline:
    """A recommender: enrich -> retrieve (fused) -> rank -> control -> explain, and converse beside them.

    retrieve: at least one; several are fused by reciprocal rank with `weights`. depth: candidates that reach the
    ranker, or k where more are asked for. strict: raise a stage's error instead of degrading (for experiments and
    tests). A pipeline is a `Desk`: agents may call it, read-only.
    """

    retrieve_by: Sequence[Retriever]
    rank_by: Ranker | None = None
    control_by: Sequence[Controller] = ()
    explain_by: Explainer | None = None
    converse_by: Conversationalist | None = None
    enrich_by: Sequence[Enricher] = ()
    weights: Sequence[float] = ()
    depth: int = 100
    strict: bool = False
    name: str = "pipeline"

    def __post_init__(self) -> None:
        if not self.retrieve_by:
            raise OptionError("a pipeline needs at least one retriever")
        if self.depth < 1:
            raise OptionError(f"depth is {self.depth}, not at least 1")
        if any(not 0.0 < weight < float("inf") for weight in self.weights):
            raise OptionError("weights must be above 0 and finite", hint="leave a retriever out to give it no weight")
        if self.weights and len(self.weights) != len(self.retrieve_by):
            raise OptionError(f"{len(self.weights)} weights for {len(self.retrieve_by)} retrievers")

    # ------------------------------------------------------------------ life
    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Enrich the data, then fit every stage on it; a stage that several hold is fitted once."""
        for enricher in self.enrich_by:
            data = fitted(enricher, data, seed).enrich(data)
        stages = [*self.retrieve_by, self.rank_by, *self.control_by, self.explain_by, self.converse_by]
        made: dict[int, Any] = {
            id(stage): fitted(stage, data, seed)
            for stage in track([stage for stage in stages if stage is not None], f"fit {self.name}")
        }
        self.retrieve_ = [made[id(stage)] for stage in self.retrieve_by]
        self.rank_ = None if self.rank_by is None else made[id(self.rank_by)]
        self.control_ = [made[id(stage)] for stage in self.control_by]
        self.explain_ = None if self.explain_by is None else made[id(self.explain_by)]
        self.converse_ = None if self.converse_by is None else made[id(self.converse_by)]
        self.items_ = data.catalog.items
        self.data_key_, self.seed_ = data.key, seed
        self._data: Dataset | None = data
        return self

    def attach(self, data: Dataset) -> Self:
        """The same fitted pipeline serving another state of the data: its rows are mapped onto ours by id.

        Items added since `fit` pass `extend` of each stage that has it; the others serve the rows they know.
        """
        made = copy.copy(self)
        made._data = data.onto(self._fitted().items_)
        if len(data.catalog) and len(self.items_) and not (self.items_.rows(data.catalog.items.ids) >= 0).any():
            raise DataError("none of these items was known when the pipeline was fitted", hint="fit on this data set")
        catalog = made._data.catalog
        made.items_ = catalog.items  # a further attach extends from here
        done: dict[int, Any] = {}

        def extended(stage: Any) -> Any:
            if id(stage) not in done:
                done[id(stage)] = grown(stage, catalog)
            return done[id(stage)]

        if len(catalog) > len(self.items_):
            made.retrieve_ = [extended(stage) for stage in self.retrieve_]
            made.rank_ = None if self.rank_ is None else extended(self.rank_)
            made.control_ = [extended(stage) for stage in self.control_]
            made.explain_ = None if self.explain_ is None else extended(self.explain_)
        return made

    def learn(self, exposures: Exposures) -> Self:
        """A pipeline whose learning stages have seen what came of shown lists; the others are shared."""
        made = copy.copy(self._fitted())
        made.retrieve_ = [one.learn(exposures) if hasattr(one, "learn") else one for one in self.retrieve_]
        made.rank_ = self.rank_.learn(exposures) if hasattr(self.rank_, "learn") else self.rank_  # type: ignore[union-attr]
        made.control_ = [one.learn(exposures) if hasattr(one, "learn") else one for one in self.control_]
        return made

    def forget(self, users: Sequence[str]) -> Self:
        """The pipeline without these users in any per-user table; shared weights are marked stale."""
        clear_memo()  # fits made before still know them
        made = copy.copy(self._fitted())
        made.retrieve_ = [forget(one, users) for one in self.retrieve_]
        made.rank_ = forget(self.rank_, users)
        made.control_ = [forget(one, users) for one in self.control_]
        made.explain_ = forget(self.explain_, users)
        made.converse_ = forget(self.converse_, users)
        made._data = None  # the data set still holds them: attach the erased one
        return made

    def _fitted(self) -> Self:
        if not hasattr(self, "retrieve_"):
            raise StateError("the pipeline is not fitted", hint="call fit(data) first, or load a saved one")
        return self

    # ------------------------------------------------------------------ desk
    @property
    def data(self) -> Dataset:
        """The data set served. Raises StateError when a loaded pipeline has none yet."""
        data = getattr(self._fitted(), "_data", None)
        if data is None:
            raise StateError("this pipeline has no data set yet", hint="use hexarec.load(path, data)")
        made: Dataset = data
        return made

    @property
    def catalog(self) -> Catalog:
        """The items."""
        return self.data.catalog

    @property
    def graph(self) -> Graph | None:
        """Typed edges, if there are any."""
        return self.data.graph

    def lookup(self, ids: Sequence[str]) -> list[Item]:
        """Items by id. Raises DataError for one the catalog lacks."""
        return [self.catalog[one] for one in ids]

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """Fused candidates."""
        return self._retrieve(queries, k, _Log())

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """Candidates in the ranker's order; as they came without one. A desk has no trace: a failure is raised."""
        return self._rank(queries, candidates, _Log(), strict=True)

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """The shaped list of at most k. A failure is raised."""
        return self._control(queries, ranked, k, _Log(), strict=True)

    def rerank(self, queries: Queries, candidates: Lists, k: int = 10) -> Answer:
        """Given candidates through the ranker and the controllers, with trace and what degraded."""
        log = _Log()
        lists = self._control(queries, self._rank(queries, candidates, log), k, log)
        return Answer(lists, None, None, tuple(log.steps), tuple(log.degraded))

    def recommend(self, queries: Queries, k: int = 10, *, explain: bool = True, trace: bool = False) -> Answer:
        """The whole pipeline for a batch of questions.

        trace: let each step also hold the lists it was given and gave, and what it asked models: the prompts as sent,
        the answers as they came, up to MOST_ASKED of a stage. Raises OptionError for a k that is no whole number of at
        least 1.
        """
        if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
            raise OptionError(f"k is {k!r}, no whole number of at least 1", hint="k is the length of the lists")
        log = _Log(whole=trace)
        found = self._retrieve(queries, max(int(k), self.depth), log)
        lists = self._control(queries, self._rank(queries, found, log), int(k), log)
        reasons: Sequence[Reasons] | None = None
        if explain and self._fitted().explain_ is not None:
            stage: Any = self.explain_
            reasons = log.attempt(
                "explain", name_of(stage), len(lists.items),
                lambda: stage.explain(queries, lists, self), lambda made: sum(len(r.items) for r in made), self.strict,
            )  # fmt: skip
        current().emit({"kind": "answer", "n": len(queries)})
        return Answer(lists, reasons, None, tuple(log.steps), tuple(log.degraded))

    def converse(self, dialogues: Sequence[Dialogue]) -> list[Reply]:
        """One reply per dialogue. Raises StateError without a conversationalist."""
        if self._fitted().converse_ is None:
            raise StateError("this pipeline has no conversationalist", hint="fill the slot [converse]")
        stage: Any = self.converse_
        replies: list[Reply] = stage.converse(dialogues, self)
        return replies

    # ----------------------------------------------------------------- steps
    def _retrieve(self, queries: Queries, k: int, log: _Log) -> Lists:
        self._fitted()
        weights = list(self.weights) or [1.0] * len(self.retrieve_)
        found, kept = [], []
        wanted = max(k, self.depth)
        for stage, weight in zip(self.retrieve_, weights, strict=True):
            made = log.attempt(
                "retrieve", name_of(stage), len(queries),
                lambda stage=stage: stage.retrieve(queries, wanted),  # type: ignore[misc]
                lambda lists: len(lists.items), self.strict,
            )  # fmt: skip
            log.passed(None, made)
            if made is not None:
                found.append(made)
                kept.append(weight)
        if not found:
            reasons = "; ".join(d.reason for d in log.degraded)
            raise StateError(f"every retriever failed: {reasons}")
        return found[0].top_k(k) if len(self.retrieve_) == 1 else fuse(found, kept, k)

    def _rank(self, queries: Queries, candidates: Lists, log: _Log, *, strict: bool = False) -> Lists:
        stage = self._fitted().rank_
        if stage is None:
            return candidates
        made = log.attempt(
            "rank", name_of(stage), len(candidates.items),
            lambda: _permutation(candidates, stage.rank(queries, candidates), name_of(stage)),
            lambda lists: len(lists.items), strict or self.strict,
        )  # fmt: skip
        log.passed(candidates, made)
        return candidates if made is None else made

    def _control(self, queries: Queries, ranked: Lists, k: int, log: _Log, *, strict: bool = False) -> Lists:
        stages = self._fitted().control_
        for place, stage in enumerate(stages):
            last = place == len(stages) - 1
            size = k if last else max(k, self.depth)
            made = log.attempt(
                "control", name_of(stage), len(ranked.items),
                lambda stage=stage, size=size, ranked=ranked: _picked(  # type: ignore[misc]
                    ranked, stage.control(queries, ranked, size), name_of(stage)
                ),
                lambda lists: len(lists.items), strict or self.strict,
            )  # fmt: skip
            log.passed(ranked, made)
            if made is not None:
                ranked = _of_unknown_chance(made) if "propensity" in ranked.fields else made
        return ranked.top_k(k)


def _of_unknown_chance(shaped: Lists) -> Lists:
    """A drawn list after a further stage: many draws may end in the same list, so its propensities are NaN."""
    return shaped.with_field("propensity", np.full(len(shaped.items), np.nan, np.float32))


def _pairs(lists: Lists) -> NDArray[np.int64]:
    """Every (list, item) as one number, sorted."""
    return np.sort((ragged.segments(lists.offsets) << 32) + lists.items)


def _permutation(before: Lists, after: Lists, method: str) -> Lists:
    """`after`, when it holds exactly the items of `before`. Raises DataError otherwise: a ranker may not invent."""
    before.same(after)
    if not np.array_equal(_pairs(before), _pairs(after)):
        raise DataError(f"{method} returned other items than it was given")
    return after


def _picked(before: Lists, after: Lists, method: str) -> Lists:
    """`after`, when all its items, each once, come from `before`. Raises DataError otherwise."""
    before.same(after)
    pairs = _pairs(after)
    if (pairs[1:] == pairs[:-1]).any() or not np.isin(pairs, _pairs(before)).all():
        raise DataError(f"{method} returned items it was not given, or one twice")
    return after
