"""The figures of a run, and of several side by side: the numbers are those of its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hexarec.eval.report import Report, Value
from hexarec.serve.page.figures import Axis, Figure, Series
from hexarec.serve.page.values.runs import Run, headline
from hexarec.serve.page.words import word

PARTS = ("cold", "warm", "head", "tail")
LEAST_MS = 1e-3
"""What a list takes at least, on a logarithmic axis."""


def figures_of(report: Report, lang: str) -> dict[str, Figure]:
    """Every figure the run has numbers for, by name, in the order of the page."""
    made = [
        _against_cost(report, lang), _against_tokens(report, lang), _segments(report, lang), _history(report, lang),
        _positions(report, lang), _bars(report, lang, "popularity", "popularity_lift"),
        _bars(report, lang, "calibration", "calibration") or _bars(report, lang, "calibration", "ece"),
    ]  # fmt: skip
    return {one.name: one for one in made if one is not None and not one.empty}


def _said(lang: str) -> Callable[..., str]:
    return lambda name, **values: word(lang, f"experiments.{name}", **values)


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else value


def _parts(values: Sequence[Value | None]) -> dict[str, list[float | None]]:
    """Means with their intervals; no interval where none of them has one."""
    low, high = ([None if one is None else _known(getattr(one, side)) for one in values] for side in ("low", "high"))
    mean = [None if one is None else _known(one.mean) for one in values]
    ranged = any(one is not None for one in low)
    return {"values": mean, "low": low if ranged else [], "high": high if ranged else []}


def _against_cost(report: Report, lang: str) -> Figure | None:
    t, costs = _said(lang), {row.system: max(row.costs.get("ms/list", 0.0), LEAST_MS) for row in report.rows}
    return _scattered("accuracy", t("fig_accuracy"), Axis(t("axis_ms"), "ms", log=True), report, costs)


def _against_tokens(report: Report, lang: str) -> Figure | None:
    t = _said(lang)
    costs = {row.system: row.costs.get("tokens_in", 0.0) + row.costs.get("tokens_out", 0.0) for row in report.rows}
    if not any(costs.values()):
        return None
    return _scattered("tokens", t("fig_tokens"), Axis(t("axis_tokens")), report, costs)


def _scattered(name: str, title: str, x: Axis, report: Report, costs: Mapping[str, float]) -> Figure | None:
    metric = headline(report)
    places = sorted(set(costs.values()))
    if not metric:
        return None
    series = []
    for row in report.rows:
        at = places.index(costs[row.system])
        values = [row.values.get(metric) if place == at else None for place in range(len(places))]
        series.append(Series(row.system, kind="points", **_parts(values)))
    return Figure(name, title, x, Axis(metric), places, tuple(series))


def _segments(report: Report, lang: str) -> Figure | None:
    t, base = _said(lang), next((name for name in report.metrics if "[cold]" in name or "[head]" in name), "")
    base = base.partition("[")[0]
    sliced = [part for part in PARTS if f"{base}[{part}]" in report.metrics]
    if not base or not sliced:
        return None
    series = [
        Series(t(f"part_{part}"), kind="bars", **_parts([row.values.get(f"{base}[{part}]") for row in report.rows]))
        for part in sliced
    ]
    return _by_system("segments", t("fig_segments"), Axis(base), report, series, lang)


def _by_system(
    name: str, title: str, y: Axis, report: Report, series: Sequence[Series], lang: str
) -> Figure:  # fmt: skip
    names = tuple(row.system for row in report.rows)
    return Figure(name, title, Axis(_said(lang)("system")), y, range(len(names)), tuple(series), names)


def _history(report: Report, lang: str) -> Figure | None:
    told, t = report.history, _said(lang)
    if not told:
        return None
    names = tuple(f"{name} (n={users})" for name, users in zip(told["bins"], told["users"], strict=True))
    series = []
    for system, cells in told["values"].items():
        mean, low, high = ([_known(cell[part]) for cell in cells] for part in range(3))
        series.append(Series(system, mean, low, high, "line"))
    return Figure("history", t("fig_history"), Axis(t("axis_history")), Axis(told["metric"]), range(len(names)),
                  tuple(series), names)  # fmt: skip


def _positions(report: Report, lang: str) -> Figure | None:
    t = _said(lang)
    if not report.curves:
        return None
    longest = max(len(curve["place"]) for curve in report.curves.values())
    series = [
        Series(system, [*curve["rate"], *[None] * (longest - len(curve["rate"]))])
        for system, curve in report.curves.items()
    ]
    k = next(iter(report.curves.values()))["k"]
    return Figure("position", t("fig_position"), Axis(t("axis_place")), Axis(t("axis_rate", k=k)),
                  range(1, longest + 1), tuple(series))  # fmt: skip


def _bars(report: Report, lang: str, name: str, metric: str) -> Figure | None:
    found = next((one for one in report.metrics if one.partition("@")[0] == metric and "[" not in one), None)
    if found is None:
        return None
    made = Series(found, kind="bars", **_parts([row.values.get(found) for row in report.rows]))
    return _by_system(name, _said(lang)(f"fig_{name}"), Axis(found), report, [made], lang)


def compared(runs: Sequence[Run], metric: str, lang: str) -> Figure:
    """One metric of several runs: a row of bars for each run over all systems."""
    t = _said(lang)
    tables: list[tuple[str, dict[str, Any]]] = [
        (run.name, {row.system: row.values.get(metric) for row in run.report.rows}) for run in runs if run.report
    ]
    names = tuple(dict.fromkeys(system for _, rows in tables for system in rows))
    series = [
        Series(f"{place}. {name}", kind="bars", **_parts([rows.get(system) for system in names]))
        for place, (name, rows) in enumerate(tables, 1)
    ]
    return Figure("compared", t("fig_compared", metric=metric), Axis(t("system")), Axis(metric), range(len(names)),
                  tuple(series), names)  # fmt: skip
