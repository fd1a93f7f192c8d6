"""The health report for a terminal (rich) and as one self-contained HTML page (jinja2, SVG by matplotlib)."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core.atomic import atomic_file
from hexarec.data.health.findings import Health

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLOURS = {"ok": "green", "warn": "yellow", "bad": "red"}
_PLOTS = {
    "events per user": ("Events per user", "rank of the user", "events"),
    "events per item": ("Events per item", "rank of the item", "events"),
    "lorenz": ("Popularity (Lorenz curve)", "share of items, least popular first", "share of events"),
    "events over time": ("Events over time", "", "events"),
    "text length": ("Title and text length", "characters", "items"),
}


def render_terminal(health: Health) -> RenderableType:
    """The findings as a table, worst first within the order of the report."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(_heading(health)), title_justify="left", show_lines=False, expand=False)
    table.add_column("")
    table.add_column("what")
    table.add_column("finding", overflow="fold")
    for one in health.findings:
        words = Text(one.sentence)
        if one.mend:
            words.append(f"\n-> {one.mend}", style="dim")
        table.add_row(Text(one.level, style=_COLOURS[one.level]), Text(one.name), words)
    counted = {level: sum(one.level == level for one in health.findings) for level in ("bad", "warn")}
    return Group(table, Text(f"{counted['bad']} bad, {counted['warn']} to look at, {len(health.findings)} looked at"))


def _heading(health: Health) -> str:
    said = ", ".join(f"{count:,} {what}" for what, count in health.counts.items())
    return f"{health.name}: {said}" + (" (simulated)" if health.simulated else "")


def write_html(health: Health, path: str | Path) -> Path:
    """One HTML file with findings and plots and nothing to fetch, whole or not at all."""
    from jinja2 import Environment, PackageLoader

    env = Environment(loader=PackageLoader("hexarec.data.health", "."), autoescape=True)
    plots = [(_PLOTS[name][0], _drawn(name, *curve)) for name, curve in health.curves.items()]
    page = env.get_template("report.html.j2").render(health=health, heading=_heading(health), plots=plots)
    with atomic_file(path) as part:
        part.write_text(page, "utf-8", errors="replace")
    return Path(path)


def _drawn(name: str, x: Any, y: Any) -> str:
    """One plot as an SVG image in base64: an image of its own cannot mix its ids and styles with the page."""
    import matplotlib
    from matplotlib.figure import Figure

    title, across, up = _PLOTS[name]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.add_subplot()
        if name.startswith("events per"):
            axes.loglog(x, y, ".", markersize=3)
        elif name == "lorenz":
            axes.plot(x, y)
            axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
        else:
            axes.stairs(y, x, fill=True)
        if name == "events over time":
            places = [x[0], (x[0] + x[-1]) / 2, x[-1]]
            axes.set_xticks(places, [_day(at) for at in places])
        axes.set(title=title, xlabel=across, ylabel=up)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return base64.b64encode(out.getvalue().encode()).decode("ascii")


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.2g} s"
