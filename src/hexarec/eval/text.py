"""The report as a terminal table and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hexarec.core.printable import printable
from hexarec.eval.report import COSTS, Report, Row, Value
from hexarec.metrics import parse
from hexarec.metrics.byuser import RESAMPLED

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


def number(value: float | None, digits: int = 4) -> str:
    """A number as the tables write it; an en dash for what does not apply."""
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"


def cell(value: Value | None, *, interval: bool) -> str:
    """A value with its interval and a mark: * differs from the baseline with p < .05 after Holm."""
    if value is None:
        return "–"
    mark = "*" if value.p is not None and value.p < 0.05 else ""
    text = number(value.mean) + mark
    if interval and value.low is not None and value.high is not None and value.low == value.low:
        text += f" [{value.low:.4f}, {value.high:.4f}]"
    return text


def cost(row: Row, name: str) -> str:
    """A cost with a precision that suits it."""
    value = row.costs.get(name, 0.0)
    if name == "usd":
        return f"{value:.5f}" if value else "0"
    return number(value, 0 if name.startswith(("tokens", "fit_calls")) else 2 if name == "fit_s" else 1)


def is_ranged(metric: str) -> bool:
    """Whether the tables show the interval of a metric: of what is measured by user."""
    return parse(metric).family in ("list", "label", "visit") or parse(metric).name in RESAMPLED


def note(report: Report) -> str:
    """What stars, intervals and simulated data mean, in one sentence each."""
    resampled = [name for name in report.metrics if parse(name).name in RESAMPLED]
    test = "paired permutation test" + (", paired bootstrap for numbers of all pairs together" if resampled else "")
    said = (
        f"Mean over users [95 % bootstrap interval by user]; * differs from {report.baseline} ({test}, Holm, p < .05). "
        "Costs are per list, except fit_s and fit_calls; a stage that an earlier row fitted is shared and "
        "counted there."
    )
    said += "" if resampled else " Ties inside a list count by expected rank."
    if "parse_failure_rate" in resampled:
        said += " Pairs without a score are left out of the other metrics and stand as parse failures."
    if "claim_precision" in resampled:
        said += " Shares are of all reasons asked for, claim precision of all claims."
    return said + (" The users are simulated." if report.simulated else "")


def table(report: Report, metrics: list[str] | None = None, costs: tuple[str, ...] = COSTS[:6]) -> Tables:
    """These metrics (by default the first six) and costs, for a terminal."""
    names = metrics or [name for name in report.metrics if "[" not in name][:6]
    columns = [
        Column(name, tuple(cell(row.values.get(name), interval=place == 0) for row in report.rows))
        for place, name in enumerate(names)
    ]
    columns += [Column(name, tuple(cost(row, name) for row in report.rows)) for name in costs]
    systems = Column("system", tuple(printable(row.system) for row in report.rows))
    return Tables(printable(report.title), systems, tuple(columns), printable(note(report)))


@dataclass(frozen=True)
class Column:
    """A head and a cell for every system."""

    head: str
    cells: tuple[str, ...]

    @property
    def narrow(self) -> int:
        """Characters of the longest word: what is less cuts a number in two."""
        return max(len(word) for text in (self.head, *self.cells) for word in text.split() or [""])


@dataclass(frozen=True)
class Tables:
    """One table as wide as the terminal; where its columns do not fit, several below each other."""

    title: str
    systems: Column
    columns: tuple[Column, ...]
    note: str

    def parts(self, width: int) -> list[list[Column]]:
        """The columns of each table; a column takes its longest word, two blanks and a line."""
        first = max(len(text) for text in (self.systems.head, *self.systems.cells)) + 4
        parts: list[list[Column]] = [[]]
        left = width - first
        for column in self.columns:
            if parts[-1] and column.narrow + 3 > left:
                parts.append([])
                left = width - first
            parts[-1].append(column)
            left -= column.narrow + 3
        return parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich draws."""
        from rich.table import Table
        from rich.text import Text

        for place, part in enumerate(self.parts(options.max_width)):
            made = Table(title=Text(self.title) if place == 0 else None)
            made.add_column(self.systems.head, no_wrap=True)
            for column in part:
                made.add_column(column.head, justify="right", min_width=column.narrow)
            for row, system in enumerate(self.systems.cells):
                made.add_row(Text(system), *(column.cells[row] for column in part))
            yield made
        yield Text(self.note, style="table.caption")


def markdown(report: Report) -> str:
    """The whole table as Markdown, with intervals on the list metrics, facts and the manifest."""
    plain = [name for name in report.metrics if "[" not in name]
    parts = [name for name in report.metrics if "[" in name]
    lines = [f"# {report.title}", "", *_grid(report, plain, costs=True), "", note(report), ""]
    if parts:
        lines += ["## Slices", "", *_grid(report, parts, costs=False), ""]
    facts = [row for row in report.rows if row.facts or row.degraded]
    if facts:
        lines += ["## Learned", ""]
        lines += [f"- {row.system}: {_facts(row)}" for row in facts] + [""]
    if report.curves:
        lines += ["## Position bias (rate in the top k by place in the prompt)", ""]
        for name, curve in report.curves.items():
            lines.append(f"- {name}, k = {curve['k']}: " + " ".join(f"{rate:.2f}" for rate in curve["rate"]))
        lines.append("")
    lines += ["## Manifest", "", *(f"- {key}: {value}" for key, value in report.manifest.items()), ""]
    return "\n".join(lines)


def _facts(row: Row) -> str:
    said = [f"degraded stages: {row.degraded}"] if row.degraded else []
    for name, value in row.facts.items():
        if name == "curve":
            said.append("weight: NDCG@10 on validation = " + ", ".join(f"{w:g}: {v:.4f}" for w, v in value))
        else:
            said.append(f"{name} = {number(value) if isinstance(value, float) else value}")
    return "; ".join(said)


def _grid(report: Report, metrics: list[str], *, costs: bool) -> list[str]:
    heads = ["system", *metrics, *(COSTS if costs else ())]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in report.rows:
        cells = [cell(row.values.get(m), interval=costs and is_ranged(m)) for m in metrics]
        cells += [cost(row, name) for name in COSTS] if costs else []
        lines.append("| " + " | ".join([row.system, *cells]) + " |")
    return lines
