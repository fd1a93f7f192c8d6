"""The report as a terminal table and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hexarec.core.printable import printable
from hexarec.eval.report import COSTS, Report, Row, Value
from hexarec.metrics import parse
from hexarec.metrics.byuser import RESAMPLED

if TYPE_CHECKING:
    from rich.table import Table


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
    return parse(metric).family in ("list", "label") or metric in RESAMPLED


def note(report: Report) -> str:
    """What stars, intervals and simulated data mean, in one sentence each."""
    resampled = [name for name in report.metrics if name in RESAMPLED]
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


def table(report: Report, metrics: list[str] | None = None, costs: tuple[str, ...] = COSTS[:6]) -> Table:
    """A rich table of these metrics (by default the first six) and costs."""
    from rich.table import Table
    from rich.text import Text

    names = metrics or [name for name in report.metrics if "[" not in name][:6]
    made = Table(title=Text(printable(report.title)), caption=Text(printable(note(report))), caption_justify="left")
    made.add_column("system", no_wrap=True)
    for name in [*names, *costs]:
        made.add_column(name, justify="right")
    for row in report.rows:
        values = [cell(row.values.get(name), interval=place == 0) for place, name in enumerate(names)]
        made.add_row(Text(printable(row.system)), *values, *(cost(row, name) for name in costs))
    return made


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
