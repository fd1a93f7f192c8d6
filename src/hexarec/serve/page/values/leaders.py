"""The table of a run: means with intervals, who stands significantly above whom, costs; and several side by side."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hexarec.eval.report import COSTS, Report, Row, Value
from hexarec.eval.text import is_ranged
from hexarec.serve.page.figures import comma_separated
from hexarec.serve.page.values.runs import Run, best_of, floors_of, headline

LEVEL = 0.05


@dataclass(frozen=True)
class Cell:
    """A value: whether it has an interval, letters of the systems below it, whether it differs from the baseline."""

    value: Value | None
    ranged: bool = False
    above: str = ""
    differs: bool = False


@dataclass(frozen=True)
class Leader:
    """One system: its letter, its cells by metric, its costs."""

    letter: str
    row: Row
    floor: bool
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Table:
    """The leaderboard. first: the metric that letters are about, "" where nothing was compared."""

    metrics: Sequence[str]
    first: str
    leaders: Sequence[Leader]


def table_of(report: Report) -> Table:
    """The table without its slices, in the order of the run; the metric that is compared first."""
    first = str(report.pairs.get("metric", ""))
    metrics = sorted((name for name in report.metrics if "[" not in name), key=lambda name: name != first)
    letters = {row.system: _letter(place) for place, row in enumerate(report.rows)}
    floors = set(floors_of(report))
    above = _above(report, letters)
    leaders = []
    for row in report.rows:
        cells = {
            name: _cell(row.values.get(name), name, above[row.system] if name == first else "") for name in metrics
        }
        leaders.append(Leader(letters[row.system], row, row.system in floors, cells))
    return Table(metrics, first, leaders)


def _letter(place: int) -> str:
    """a to z, then aa, ab, ..."""
    letters = string.ascii_lowercase
    return letters[place] if place < 26 else letters[place // 26 - 1] + letters[place % 26]


def _above(report: Report, letters: Mapping[str, str]) -> dict[str, str]:
    """For each system the letters of those that stand significantly below it on the first metric."""
    metric = str(report.pairs.get("metric", ""))
    means = {row.system: row.values[metric].mean for row in report.rows if metric in row.values}
    found: dict[str, list[str]] = {row.system: [] for row in report.rows}
    for a, b, p in report.pairs.get("p", ()):
        if p < LEVEL and a in means and b in means and means[a] != means[b]:
            high, low = (a, b) if means[a] > means[b] else (b, a)
            found[high].append(letters[low])
    return {name: " ".join(sorted(below, key=lambda one: (len(one), one))) for name, below in found.items()}


def _cell(value: Value | None, metric: str, above: str) -> Cell:
    if value is None:
        return Cell(None)
    ranged = is_ranged(metric) and value.low is not None and value.low == value.low
    return Cell(value, ranged, above, value.p is not None and value.p < LEVEL)


def table_csv(table: Table) -> str:
    """The leaderboard with its numbers as they are: mean, low and high of each metric, and the costs."""
    heads = ["letter", "system", *(f"{name}{part}" for name in table.metrics for part in ("", " low", " high")), *COSTS]
    rows = []
    for one in table.leaders:
        values = [one.cells[name].value for name in table.metrics]
        numbers = [
            None if value is None else getattr(value, part) for value in values for part in ("mean", "low", "high")
        ]
        rows.append([one.letter, one.row.system, *numbers, *(one.row.costs.get(name) for name in COSTS)])
    return comma_separated(heads, rows)


# ---------------------------------------------------------------------------------------------------- side by side
@dataclass(frozen=True)
class Column:
    """One system of one run, in a comparison. place: of the run, from 1."""

    place: int
    run: Run
    system: str
    floor: bool
    row: Row


@dataclass(frozen=True)
class Comparison:
    """Several runs. lines: metric -> a value per column; differing: option or fact -> text per run; same: whether all
    asked the same questions, so that their numbers may be compared."""

    runs: Sequence[Run]
    columns: Sequence[Column]
    lines: Mapping[str, Sequence[Value | None]]
    differing: Mapping[str, Sequence[str]]
    same: bool


FACTS = ("title", "data", "data_key", "seeds", "k", "hexarec", "machine")


def comparison_of(runs: Sequence[Run]) -> Comparison:
    """The runs that have a report: of each its own systems and its best floor."""
    known = [run for run in runs if run.report is not None]
    columns: list[Column] = []
    for place, run in enumerate(known, 1):
        assert run.report is not None
        rows = {row.system: row for row in run.report.rows}
        best = best_of(run.report, floors_of(run.report), headline(run.report))
        shown = [*([best] if best else []), *run.systems]
        columns += [Column(place, run, name, name == best, rows[name]) for name in shown]
    metrics = dict.fromkeys(name for column in columns for name in column.row.values if "[" not in name)
    lines = {name: [column.row.values.get(name) for column in columns] for name in metrics}
    asked = {
        (run.report.title, *(str(run.report.manifest.get(name)) for name in ("data_key", "questions")))
        for run in known if run.report is not None
    }  # fmt: skip
    return Comparison(known, columns, lines, _differing(known), len(asked) == 1)


def _differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    told = [_told(run) for run in runs]
    names = dict.fromkeys(name for one in told for name in one)
    rows = {name: [one.get(name, "") for one in told] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _told(run: Run) -> dict[str, str]:
    """Facts of the manifest and options of the systems; of a run with one system without its name in front."""
    report = run.report
    assert report is not None
    made = {name: str(report.manifest[name]) for name in FACTS if name in report.manifest}
    for system, options in report.systems.items():
        before = "" if len(report.systems) == 1 else f"{system}: "
        made |= {f"{before}{name}": value for name, value in options.items()}
    return made
