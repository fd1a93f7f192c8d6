"""Experiments: systems x seeds on one task, the floor ladder always beside them, cost always counted."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import hexarec
from hexarec.classic import EASE, ItemKNN, Popular, Random
from hexarec.core import (
    BudgetError,
    CapabilityError,
    Dataset,
    Lists,
    OptionError,
    Queries,
    digest,
    fitted,
    options_digest,
    run,
    track,
)
from hexarec.eval.cells import Cell, CellStore
from hexarec.eval.diff import write_questions
from hexarec.eval.report import Report
from hexarec.eval.tasks import Round, Task
from hexarec.metrics import Reference, evaluate, measure, parse, validity
from hexarec.pipeline.pipeline import Pipeline

FLOORS: dict[str, Any] = {
    "random": Random(),
    "popular": Popular(),
    "itemknn-last3": ItemKNN(last=3),
    "ease": EASE(),
}
LM_BLOCK = 8  # questions between two saves when a language model answers


@dataclass(frozen=True)
class AsGiven:
    """The floor of given candidates: the order in which they came."""

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates, untouched."""
        return candidates


@dataclass(frozen=True)
class Experiment:
    """Measure systems on a task.

    systems: name -> pipeline, retriever or ranker (a bare ranker needs given candidates). seeds: one fit each.
    baseline: name that paired tests compare with, by default the best floor. k: length of the lists. floors: False
    leaves the ladder out (only for sweeps that show it elsewhere).
    """

    task: Task
    systems: Mapping[str, Any]
    seeds: Sequence[int] = (0,)
    baseline: str | None = None
    metrics: tuple[str, ...] = ()
    k: int = 20
    floors: bool = True
    _round: list[Round] = field(default_factory=list, repr=False, compare=False)

    def round(self) -> Round:
        """The cases, cut once."""
        if not self._round:
            self._round.append(self.task.round())
        return self._round[0]

    def ladder(self) -> dict[str, Any]:
        """All systems, floors first."""
        made: dict[str, Any] = {}
        if self.floors:
            made |= FLOORS
            if self.round().candidates is not None:
                made = {"candidate order": AsGiven(), **made}
        for name, system in self.systems.items():
            if name in made:
                raise OptionError(f"the name {name!r} belongs to the floor ladder", hint="name the system otherwise")
            made[name] = system
        return made

    def run(self, folder: str | Path | None = None, *, resume: bool = False) -> Report:
        """Fit and ask every system with every seed; finished cells, and blocks of unfinished ones, stay in `folder`.

        An interrupted run goes on with resume=True; a cell of other data, options or seed is measured again.
        """
        asked = self.round()
        store = CellStore(folder, resume)
        if folder is not None:
            write_questions(folder, asked)
        cells: list[Cell] = []
        skipped: dict[str, str] = {}
        jobs = [(name, system, seed) for name, system in self.ladder().items() for seed in self.seeds]
        for name, system, seed in track(jobs, "experiment"):
            key = digest(name, options_digest(system), asked.train.key, asked.key, seed, self.k)
            try:
                cells.append(store.finished(key) or self._cell(name, system, seed, asked, store, key))
            except CapabilityError as error:
                if name not in FLOORS:
                    raise
                skipped[name] = error.message  # a floor too large for this machine is named, not run
        report = Report.of(
            asked.title,
            cells,
            self.values_of(cells, asked),
            self.baseline,
            {**self.manifest(asked), **({"not run": skipped} if skipped else {})},
            asked.train.simulated,
        )
        if folder is not None:
            report.write(folder)
        return report

    def _cell(self, name: str, system: Any, seed: int, asked: Round, store: CellStore, key: str) -> Cell:
        with run() as work:
            started = time.perf_counter()
            ready = fitted(system, asked.train, seed)
            fit_seconds = time.perf_counter() - started
            fit_cost = work.ledger.snapshot()
        blocks: list[Lists] = []
        seconds = 0.0
        degraded = 0
        size = LM_BLOCK if asks_model(system) else 2048
        with run() as work:
            for place, part in track(list(asked.queries.blocks(size)), f"{name}, seed {seed}"):
                saved = store.block(key, place.start)
                if saved is None:
                    began = time.perf_counter()
                    candidates = None if asked.candidates is None else asked.candidates.take(place)
                    lists, failed = answered(ready, part, candidates, self.k)
                    saved = (lists, time.perf_counter() - began, failed)
                    store.keep_block(key, place.start, *saved)
                blocks.append(saved[0])
                seconds += saved[1]
                degraded += saved[2]
            cost = work.ledger.snapshot()
        lists = Lists.join(blocks) if blocks else Lists.empty(asked.train.catalog.key, 0)
        cell = Cell(
            name, seed, lists, fit_seconds, seconds, fit_cost, store.total_cost(key, cost), degraded, facts_of(ready)
        )
        store.finish(key, cell)
        return cell

    def values_of(self, cells: Sequence[Cell], asked: Round) -> dict[tuple[str, int], dict[str, Any]]:
        """Per cell: metric name -> Measured (run metrics) or per-user values (list metrics)."""
        names = [parse(name) for name in (self.metrics or self.task.metrics)]
        on_lists = [m for m in names if m.family == "list"]
        on_runs = [m for m in names if m.family == "run"]
        counts = asked.train.interactions.counts(len(asked.queries.catalog))
        attributes = asked.train.catalog.attributes
        reference = Reference.of(asked.train, asked.queries, tags="genres" if "genres" in attributes else "")
        out: dict[tuple[str, int], dict[str, Any]] = {}
        for cell in cells:
            made: dict[str, Any] = dict(
                evaluate(cell.lists, asked.truth, on_lists, queries=asked.queries, counts=counts)
            )
            made |= measure(cell.lists, reference, on_runs)
            reports = [note["parse"] for note in cell.lists.notes if "parse" in note]
            if reports:
                made |= validity(reports)
            out[cell.system, cell.seed] = made
        return out

    def manifest(self, asked: Round) -> dict[str, Any]:
        """All that is needed to tell this run from another."""
        return manifest(asked.train, {"seeds": list(self.seeds), "k": self.k, "title": asked.title})


def manifest(data: Dataset, more: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, command, machine and data of a run."""
    import scipy

    return {
        "hexarec": hexarec.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": f"{platform.machine()}, {len_cpus()} cores",
        "command": command_line(sys.argv),
        "data": data.name,
        "data_key": data.key,
        "simulated": data.simulated,
        "like_rule": data.interactions.like_rule,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **more,
    }


def command_line(argv: Sequence[str]) -> str:
    """The command as typed, with absolute paths cut to their last part: a report is read on other machines."""
    return " ".join(Path(word).name if Path(word).is_absolute() else word for word in argv)


def len_cpus() -> int:
    """Processors this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def asks_model(system: Any) -> bool:
    """Whether a system, or anything inside it, holds a language model: its answers are saved in small blocks."""
    seen: set[int] = set()

    def inside(value: Any) -> bool:
        if id(value) in seen:
            return False
        seen.add(id(value))
        if hasattr(value, "generate") and hasattr(value, "can"):
            return True
        if isinstance(value, list | tuple):
            return any(inside(one) for one in value)
        fields = getattr(value, "__dataclass_fields__", {})
        return any(inside(getattr(value, name, None)) for name in fields)

    return inside(system)


def facts_of(stage: Any) -> dict[str, Any]:
    """What a fitted system learned that a reader of the table must see: the weight of a blend."""
    ranker = getattr(stage, "rank_", stage)
    facts: dict[str, Any] = {}
    if not hasattr(ranker, "weight_"):
        return facts
    for name in ("weight_", "curve_", "gain_", "error_", "asked_"):
        if hasattr(ranker, name):
            facts[name.rstrip("_")] = getattr(ranker, name)
    return facts


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
