"""Tasks: what is asked, what is right, and what the title of a table must say about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    BudgetError,
    DataError,
    Dataset,
    Lists,
    OptionError,
    Queries,
    at_least,
    digest,
    ragged,
    rng,
    same_lineage,
)
from hexarec.data.split import Cases, Split, cold_items, cold_users, global_time, leave_last, system_cold
from hexarec.eval.floors import FLOORS, AsGiven
from hexarec.metrics import Metric, Reference, evaluate, measure, validity
from hexarec.metrics.words import MEASURES
from hexarec.pipeline.pipeline import Pipeline

METRICS = ("recall@10", "ndcg@10", "mrr@10", "hit@1", "coverage@10", "gini@10", "novelty@10", "popularity_lift@10")
SLICES = ("recall@10[cold]", "recall@10[warm]", "recall@10[head]", "recall@10[tail]", "ndcg@10[cold_users:5]")
SplitName = Literal["global", "last", "cold-items", "cold-users", "system-cold"]


@dataclass(frozen=True, eq=False)
class Round:
    """One evaluation: what may be learned from, the questions, what is right, and given candidates if any.

    This is the round of a ranking; other tasks have rounds that ask systems otherwise and measure something else.
    """

    train: Dataset
    queries: Queries
    truth: Lists
    candidates: Lists | None
    title: str

    @property
    def key(self) -> str:
        """A hash of the title, the questions, their moments, the truth and the candidates."""
        given = [] if self.candidates is None else [self.candidates.offsets, self.candidates.items]
        asked = self.queries
        return digest(
            self.title, asked.user_ids(), asked.now, asked.seed, asked.history.offsets, asked.history.item,
            self.truth.offsets, self.truth.items, *given,
        )  # fmt: skip

    @property
    def leaked(self) -> int:
        """How many pairs of the truth the training log holds as well: a system may have read the answer."""
        log, wide = self.train.interactions, len(self.queries.catalog) + 1
        user = self.queries.user_rows(self.train.users.ids).astype(np.int64)[ragged.segments(self.truth.offsets)]
        learned = ragged.segments(log.offsets) * wide + log.item
        return int((ragged.member(user * wide + self.truth.items, learned) & (user >= 0)).sum())

    def floors(self) -> dict[str, Any]:
        """The systems that stand in every table, weakest first."""
        return FLOORS if self.candidates is None else {"candidate order": AsGiven(), **FLOORS}

    def answered(self, system: Any, queries: Queries, given: Lists | None, k: int) -> tuple[Lists, int]:
        """What a fitted system says to some of the questions, and how many stages degraded."""
        return answered(system, queries, given, k)

    def measured(self, answers: Sequence[Lists], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
        """For the whole answer of each system: metric name -> values per user, or a Measured of the whole run."""
        on_lists = [m for m in metrics if m.family == "list"]
        on_runs = [m for m in metrics if m.family == "run"]
        if other := [m for m in metrics if m.family not in ("list", "run") and m.name not in MEASURES]:
            raise OptionError(f"{other[0]} does not measure ranked lists", hint="list and run metrics do")
        counts = self.train.interactions.counts(len(self.queries.catalog))
        attributes = self.train.catalog.attributes
        reference = Reference.of(self.train, self.queries, tags="genres" if "genres" in attributes else "")
        out = []
        for lists in answers:
            made: dict[str, Any] = dict(evaluate(lists, self.truth, on_lists, queries=self.queries, counts=counts))
            out.append(made | measure(lists, reference, on_runs) | validity_of(lists))
        return out


def validity_of(lists: Lists) -> dict[str, Any]:
    """Validity errors of what a model answered, where the notes hold parse reports; else nothing.

    Where all of them hold one of what was `repaired` as well, also those of what was left then.
    """
    noted = [note for note in lists.notes if "parse" in note]
    repaired = [note["repaired"] for note in noted if "repaired" in note]
    reports = [note["parse"] for note in noted]
    return dict(validity(reports, repaired if len(repaired) == len(reports) else None)) if reports else {}


def answered(system: Any, queries: Queries, candidates: Lists | None, k: int) -> tuple[Lists, int]:
    """The lists of a system of any kind, and how many stages degraded."""
    if isinstance(system, Pipeline):
        if candidates is not None:
            made = system.rerank(queries, candidates, k)
        else:
            made = system.recommend(queries, k, explain=False)
        for one in made.degraded:
            # a list that came about because the money ran out is no measurement of the system
            if one.reason.startswith(("BudgetError", "DeadlineError")):
                raise BudgetError(f"{one.stage} {one.method}: {one.reason}", hint="raise the limit and resume")
        return made.items, len(made.degraded)
    if candidates is not None:
        if not hasattr(system, "rank"):
            raise OptionError(f"{type(system).__name__} cannot rank given candidates")
        ranked: Lists = system.rank(queries, candidates)
        return ranked.top_k(k), 0
    if not hasattr(system, "retrieve"):
        raise OptionError(
            f"{type(system).__name__} ranks candidates but finds none",
            hint="put it into a pipeline with a retriever, or give the task candidates",
        )
    found: Lists = system.retrieve(queries, k)
    return found, 0


class Task(Protocol):
    """Supplies cases; the experiment does the rest."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the table, unless the experiment names others."""

    def round(self) -> Round:
        """The evaluation, the same at every call."""


@dataclass(frozen=True)
class Ranking:
    """Rank the whole catalog (default) or given candidates.

    split: global (one moment for all, the default), last (each user's last event), cold-items, cold-users, system-cold.
    part: test trains on all that lies before the test, validation included; valid is for tuning. candidates: None =
    the full catalog; a number = that many sampled unseen items beside the truth, printed in the title. max_users: a
    seeded sample of the questions, printed as well.
    """

    data: Dataset
    split: SplitName = "global"
    part: Literal["valid", "test"] = "test"
    candidates: int | None = None
    max_users: int | None = None
    seed: int = 0
    metrics: tuple[str, ...] = METRICS + SLICES

    def __post_init__(self) -> None:
        at_least(self, candidates=1, max_users=1)

    def round(self) -> Round:
        """Cut the data and draw what is to be drawn. Raises DataError when the cut leaves no question."""
        made = self._split()
        cases = made.test if self.part == "test" else made.valid
        if cases is None:
            raise OptionError(f"the split {self.split!r} has no validation part")
        total = len(cases)
        if not total:
            raise DataError(
                f"{self.data.name}: in the {self.split} split nobody of the {self.part} likes anything new afterwards",
                hint="take another split or more data; hexarec data check says what each split would leave",
            )
        if self.max_users is not None and total > self.max_users:
            rows = np.sort(rng(self.seed, "max_users").permutation(total)[: self.max_users])
            cases = Cases(cases.queries.take(rows), cases.truth.take(rows))
        title = f"{self.data.name}{' (simulated)' if self.data.simulated else ''}, {self.split} split, {self.part}"
        drawn = None
        if self.candidates is not None:
            drawn = sampled(cases, self.candidates, self.seed)
            title += f", SAMPLED candidates: the truth and {self.candidates} random unseen items"
        else:
            title += ", full catalog"
        title += f", {len(cases)} users" + (f" sampled of {total}" if len(cases) < total else "")
        return Round(made.train, cases.queries, cases.truth, drawn, title)

    def _split(self) -> Split:
        tuning = self.part == "valid"
        splits: dict[str, Callable[[], Split]] = {
            "global": lambda: global_time(self.data, 0.1 if tuning else 0.0, 0.1),
            "last": lambda: leave_last(self.data, tuning),
            "cold-items": lambda: cold_items(self.data, seed=self.seed),
            "cold-users": lambda: cold_users(self.data, seed=self.seed),
            "system-cold": lambda: system_cold(self.data),
        }
        if self.split not in splits:
            raise OptionError(f"unknown split {self.split!r}", hint=f"use one of {', '.join(splits)}")
        return splits[self.split]()


@dataclass(frozen=True)
class Given:
    """Cases from elsewhere, for example a paper's own: queries, truth and candidates as they are."""

    train: Dataset
    queries: Queries
    truth: Lists
    candidates: Lists | None
    title: str
    metrics: tuple[str, ...] = METRICS

    def round(self) -> Round:
        """The cases. Raises LineageError when they are about different catalogs."""
        same_lineage(self.train.catalog.key, self.truth.key)
        return Round(self.train, self.queries, self.truth, self.candidates, self.title)


def askers(queries: Queries) -> NDArray[np.int64]:
    """Who asks each question, (n,) int64: the user's row; questions of nobody count as one person each."""
    alone = len(queries.users) + np.arange(len(queries))
    return np.where(queries.user < 0, alone, queries.user).astype(np.int64)


def sampled(cases: Cases, n: int, seed: int) -> Lists:
    """For each question its truth and n distinct random permitted items, shuffled: no place tells the answer."""
    parts = []
    asked: dict[str, int] = {}  # the draw depends on the user, not on the place in the batch
    for i, name in enumerate(cases.queries.user_ids()):
        asked[name] = asked.get(name, 0) + 1
        draw = rng(seed, "candidates", name, asked[name])
        true = cases.truth[i].items
        banned = cases.queries.take(np.array([i])).forbidden(len(cases.queries.catalog))[0]
        banned[true] = True
        open_ = np.flatnonzero(~banned)
        drawn = draw.permutation(open_)[:n]
        parts.append(draw.permutation(np.concatenate([true, drawn])).astype(np.int32))
    offsets = ragged.offsets_of(np.array([len(part) for part in parts]))
    items = np.concatenate(parts or [np.zeros(0, np.int32)]).astype(np.int32)
    return Lists(cases.truth.key, offsets, items, np.full(len(items), np.nan, np.float32))
