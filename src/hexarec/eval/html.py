"""The report as one HTML file that needs nothing else: tables, plots as SVG, manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hexarec.eval.drawing import drawn
from hexarec.eval.report import COSTS, Report
from hexarec.eval.text import cell, cost, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLICED = (("cold", "warm"), ("head", "tail"))
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ report.title }}</title><style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}
td:first-child,th:first-child{text-align:left}small{opacity:.7}.badge{background:#c60;color:#fff;padding:.1rem .5rem;
border-radius:.3rem}figure{display:inline-block;margin:1rem 1rem 0 0;background:#fff}dt{font-weight:600}
</style></head><body><h1>{{ report.title }}</h1>{% if report.simulated %}<p><span class="badge">simulated: true</span>
The users of this data set are simulated.</p>{% endif %}
<table><thead><tr>{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>{% for one in row %}<td>{{ one }}</td>{% endfor %}</tr>{% endfor %}</tbody></table>
<p><small>{{ note }}</small></p>
{% for title, svg in plots %}<figure role="img" aria-label="{{ title }}">{{ svg }}</figure>{% endfor %}
{% for name, lists in shown %}<h2>{{ name }}</h2>{% for line in lists %}<p>{{ line }}</p>{% endfor %}{% endfor %}
<h2>Manifest</h2><dl>{% for key, value in manifest.items() %}<dt>{{ key }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
</body></html>"""


def html(report: Report, shown: Sequence[tuple[str, Sequence[str]]] = ()) -> str:
    """The page. shown: further sections of plain text, for example example lists; everything is escaped."""
    from jinja2 import Environment
    from markupsafe import Markup

    names = report.metrics
    rows = [
        [row.system, *(cell(row.values.get(m), interval="[" not in m) for m in names), *(cost(row, c) for c in COSTS)]
        for row in report.rows
    ]
    page = Environment(autoescape=True).from_string(PAGE)
    return page.render(
        report=report,
        heads=["system", *names, *COSTS],
        rows=rows,
        note=note(report),
        plots=[(title, Markup(svg)) for title, svg in plots(report)],  # noqa: S704 - our own drawing
        shown=shown,
        manifest=report.manifest,
    )


def plots(report: Report) -> list[tuple[str, str]]:
    """(title, SVG) of every plot the report has numbers for."""
    main = next((name for name in report.metrics if name.startswith("ndcg")), None)
    main = main or next(iter(report.metrics), None)
    if main is None:
        return []
    out = [("accuracy against cost", drawn(lambda ax: _against_cost(ax, report, main)))]
    for pair in SLICED:
        sliced = [name for name in report.metrics if name.endswith(tuple(f"[{part}]" for part in pair))]
        if sliced:
            out.append((f"by segment: {' and '.join(pair)}", drawn(lambda ax, s=sliced: _segments(ax, report, s))))
    if report.curves:
        out.append(("position bias", drawn(lambda ax: _positions(ax, report))))
    return out


def _against_cost(ax: Axes, report: Report, metric: str) -> None:
    for row in report.rows:
        value = row.values.get(metric)
        if value is None:
            continue
        x = max(row.costs["ms/list"], 1e-3)
        low, high = value.low, value.high
        error = None if low is None or high is None else [[value.mean - low], [high - value.mean]]
        ax.errorbar([x], [value.mean], yerr=error, fmt="o", capsize=2)
        ax.annotate(row.system, (x, value.mean), textcoords="offset points", xytext=(5, 4))
    ax.set(xscale="log", xlabel="ms per list (log)", ylabel=metric, title="accuracy against cost")
    ax.margins(x=0.2)


def _segments(ax: Axes, report: Report, metrics: Sequence[str]) -> None:
    height = 0.8 / len(metrics)
    for place, metric in enumerate(metrics):
        values: list[Any] = [row.values[metric].mean if metric in row.values else 0.0 for row in report.rows]
        ax.barh([i + place * height for i in range(len(values))], values, height=height, label=metric)
    ax.set_yticks([i + 0.4 - height / 2 for i in range(len(report.rows))], [row.system for row in report.rows])
    ax.invert_yaxis()
    ax.legend()
    ax.set_title("by segment")


def _positions(ax: Axes, report: Report) -> None:
    for name, curve in report.curves.items():
        ax.plot(curve["place"], curve["rate"], marker=".", label=name)
    ax.set(xlabel="place in the prompt", ylabel="rate in the top k", title="position bias", ylim=(0, 1))
    ax.legend()
