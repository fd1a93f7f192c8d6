"""Experiments: systems x seeds on one task, the floor ladder always beside them, cost always counted."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import hexarec
from hexarec.core import (
    CapabilityError,
    Dataset,
    Lists,
    OptionError,
    at_least,
    digest,
    fitted,
    options_digest,
    run,
    track,
)
from hexarec.core.atomic import clear_parts
from hexarec.core.lock import alone_in
from hexarec.eval.asked import Overheard
from hexarec.eval.cells import CELLS, Cell, CellStore
from hexarec.eval.diff import write_questions
from hexarec.eval.report import Report, Values, per_user_means
from hexarec.eval.segments import by_history
from hexarec.eval.tasks import Round, Task
from hexarec.eval.told import local_cut, options_told
from hexarec.metrics import parse

LM_BLOCK = 32  # questions between two saves when a language model answers; fewer decode at half the speed


@dataclass(frozen=True)
class Experiment:
    """Measure systems on a task.

    systems: name -> pipeline, or the bare stage that the task asks: a retriever, or a ranker where candidates are
    given; a ranker for labels; an explainer for text. seeds: one fit each.
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

    def __post_init__(self) -> None:
        at_least(self, k=1)
        if not len(self.seeds):
            raise OptionError("Experiment: seeds is empty, not at least 1 seed", hint="seeds=(0,) fits once")

    def round(self) -> Round:
        """The cases, cut once."""
        if not self._round:
            self._round.append(self.task.round())
        return self._round[0]

    def ladder(self) -> dict[str, Any]:
        """All systems, floors first."""
        made: dict[str, Any] = dict(self.round().floors()) if self.floors else {}
        for name, system in self.systems.items():
            if name in made:
                raise OptionError(f"the name {name!r} belongs to the floor ladder", hint="name the system otherwise")
            made[name] = system
        return made

    def run(self, folder: str | Path | None = None, *, resume: bool = False) -> Report:
        """Fit and ask every system with every seed; finished cells, and blocks of unfinished ones, stay in `folder`.

        An interrupted run goes on with resume=True; a cell of other data, options or seed is measured again.
        Raises StateError while another process measures into the folder.
        """
        if folder is None:
            return self._run(None, resume)
        with alone_in(Path(folder) / CELLS):
            clear_parts(folder)
            clear_parts(Path(folder) / CELLS)
            return self._run(folder, resume)

    def _run(self, folder: str | Path | None, resume: bool) -> Report:
        asked = self.round()
        store = CellStore(folder, resume, asked.train.n_items)
        if folder is not None:
            write_questions(folder, asked)
        cells: list[Cell] = []
        skipped: dict[str, str] = {}
        floors = asked.floors() if self.floors else {}
        jobs = [(name, system, seed) for name, system in self.ladder().items() for seed in self.seeds]
        for name, system, seed in track(jobs, "experiment"):
            key = digest(name, options_digest(system), asked.train.key, asked.key, seed, self.k)
            try:
                cells.append(store.finished(key) or self._cell(name, system, seed, asked, store, key))
            except CapabilityError as error:
                if name not in floors:
                    raise
                skipped[name] = error.message  # a floor too large for this machine is named, not run
        values = self.values_of(cells, asked)
        report = Report.of(
            asked.title,
            cells,
            values,
            self.baseline,
            {**self.manifest(asked), **({"not run": skipped} if skipped else {})},
            asked.train.simulated,
            floors=[name for name in floors if name != "candidate order"],
        )
        told = {name: options_told(system) for name, system in self.systems.items()}
        report = replace(report, systems=told, history=self._by_history(report, values, asked))
        if folder is not None:
            report.write(folder)
        return report

    def _by_history(self, report: Report, values: Values, asked: Round) -> dict[str, Any]:
        """The first metric by length of the history, where the task measures by question."""
        metric = str(report.pairs.get("metric", ""))
        lengths = asked.queries.history.lengths.astype(np.int64)
        columns = per_user_means(values, metric) if metric else {}
        return by_history({name: one for name, one in columns.items() if len(one) == len(lengths)}, lengths, metric)

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
        overheard = Overheard()
        with run(emit=overheard.listening()) as work:
            for place, part in track(list(asked.queries.blocks(size)), f"{name}, seed {seed}"):
                saved = store.block(key, place.start)
                if saved is None:
                    began = time.perf_counter()
                    candidates = None if asked.candidates is None else asked.candidates.take(place)
                    lists, failed = asked.answered(ready, part, candidates, self.k)
                    saved = (overheard.noted(lists, part), time.perf_counter() - began, failed)
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
        """Per cell: metric name -> Measured, or values per user, as the task measures them."""
        metrics = [parse(name) for name in (self.metrics or self.task.metrics)]
        made = asked.measured([cell.lists for cell in cells], metrics)
        return {(cell.system, cell.seed): values for cell, values in zip(cells, made, strict=True)}

    def manifest(self, asked: Round) -> dict[str, Any]:
        """All that is needed to tell this run from another."""
        told: dict[str, Any] = {"seeds": list(self.seeds), "k": self.k, "title": asked.title, "questions": asked.key}
        if asked.leaked:
            total = len(asked.truth.items)
            told["truth in training"] = f"{asked.leaked:,} of {total:,} pairs stand in the training log"
        return manifest(asked.train, told)


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
    return " ".join(map(local_cut, argv))


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
