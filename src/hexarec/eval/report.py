"""Rows from cells: means, intervals, paired tests with Holm, cost; written as JSON, Markdown and HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import DataError, Lists
from hexarec.core.atomic import write_text
from hexarec.eval.cells import Cell
from hexarec.eval.floors import FLOORS
from hexarec.metrics import Interval, Measured, bootstrap, holm, interval_of, paired, paired_draws, parse

Values = Mapping[tuple[str, int], Mapping[str, Any]]
COSTS = ("fit_s", "fit_calls", "ms/list", "calls", "tokens_in", "tokens_out", "usd")


@dataclass(frozen=True)
class Value:
    """One number of the table: the mean over users and seeds, its 95 % interval, and p against the baseline (Holm)."""

    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    by_seed: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    """One system: metric name -> Value, cost name -> number, and what it learned."""

    system: str
    values: Mapping[str, Value]
    costs: Mapping[str, float]
    degraded: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The table of an experiment and what it was made from; lists of the first seed stay for `diff`.

    curves: position bias by system. pairs: `metric`, and `p` as (system, system, p of the paired test, Holm over all
    pairs). history: the same metric by length of the history (`eval.segments`). systems: options that were not left at
    their defaults (`eval.told`).
    """

    title: str
    rows: tuple[Row, ...]
    baseline: str
    manifest: Mapping[str, Any]
    simulated: bool = False
    lists: Mapping[str, Lists] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pairs: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    systems: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        title: str,
        cells: Sequence[Cell],
        values: Values,
        baseline: str | None,
        manifest: Mapping[str, Any],
        simulated: bool,
        floors: Sequence[str] = tuple(FLOORS),
    ) -> Report:
        """Aggregate cells. Without a baseline the best of the floors is taken, by NDCG where it is measured."""
        systems = list(dict.fromkeys(cell.system for cell in cells))
        pooled = {name: _pooled(name, cells, values) for name in systems}
        if baseline is None:
            baseline = _best([name for name in systems if name in floors] or systems, pooled)
        if systems and baseline not in systems:
            raise DataError(f"the baseline {baseline!r} is not among the systems {', '.join(systems)}")
        p_values = _tests(pooled, baseline)
        rows = tuple(_row(name, cells, pooled[name], p_values.get(name, {})) for name in systems)
        lists = {cell.system: cell.lists for cell in reversed(cells)}
        curves = {cell.system: curve for cell in cells if (curve := position_curve(cell.lists))}
        return cls(title, rows, baseline, dict(manifest), simulated, lists, curves, _pairs(pooled))

    @property
    def metrics(self) -> list[str]:
        """Metric names in the order of the table."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def as_json(self) -> dict[str, Any]:
        """Everything but the lists, as JSON values."""
        return {
            "title": self.title,
            "simulated": self.simulated,
            "baseline": self.baseline,
            "manifest": dict(self.manifest),
            "rows": [
                {
                    "system": row.system,
                    "metrics": {name: vars(value) for name, value in row.values.items()},
                    "costs": dict(row.costs),
                    "degraded": row.degraded,
                    "facts": dict(row.facts),
                }
                for row in self.rows
            ],
            "curves": dict(self.curves),
            "pairs": dict(self.pairs),
            "history": dict(self.history),
            "systems": {name: dict(options) for name, options in self.systems.items()},
        }

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Report:
        """A report from what `as_json` gave."""
        rows = tuple(
            Row(
                row["system"],
                {
                    n: Value(**{**v, "mean": _known(v["mean"]), "by_seed": tuple(map(_known, v["by_seed"]))})
                    for n, v in row["metrics"].items()
                },
                row["costs"],
                row["degraded"],
                row["facts"],
            )
            for row in made["rows"]
        )
        more = (made.get(name, {}) for name in ("curves", "pairs", "history", "systems"))
        return cls(made["title"], rows, made["baseline"], made["manifest"], made["simulated"], {}, *more)

    def write(self, folder: str | Path) -> Path:
        """report.json, report.md and report.html in the folder, each whole or not at all."""
        from hexarec.eval.html import html
        from hexarec.eval.text import markdown

        place = Path(folder)
        text = json.dumps(_plain(self.as_json()), indent=1, ensure_ascii=False)
        for name, content in (("report.json", text), ("report.md", markdown(self)), ("report.html", html(self))):
            write_text(place / name, content)
        return place


def read_report(folder: str | Path) -> Report:
    """The report of a run folder. Raises DataError naming the file when it is missing or damaged."""
    from hexarec.eval.text import markdown

    place = Path(folder)
    place = place / "report.json" if place.is_dir() else place
    try:
        made = Report.from_json(json.loads(place.read_text("utf-8")))
        markdown(made)  # a value of a wrong type shows itself here, not in the middle of a page
        if not isinstance(made.title, str):
            raise TypeError("the title is not text")
        return made
    except FileNotFoundError:
        raise DataError("there is no report", file=str(place), hint="hexarec bench writes one") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"not a report: {error}", file=str(place)) from None


def _known(value: float | None) -> float:
    """A number as it was before JSON: null was NaN."""
    return float("nan") if value is None else value


def _plain(value: Any) -> Any:
    """JSON has no NaN: those become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _pooled(system: str, cells: Sequence[Cell], values: Values) -> dict[str, list[Any]]:
    """metric -> one entry per seed: per-user values, or a Measured of the whole run."""
    out: dict[str, list[Any]] = {}
    for cell in cells:
        if cell.system == system:
            for name, value in values[cell.system, cell.seed].items():
                out.setdefault(name, []).append(value)
    return out


def _per_user(entries: Sequence[Any]) -> NDArray[np.float64] | None:
    """Values per user, averaged over seeds: users, not runs, are what is sampled."""
    tables: list[Any] = [e.values if isinstance(e, Measured) else e for e in entries]
    if any(table is None for table in tables):
        return None
    stacked = np.stack(tables)
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def _mean(entries: Sequence[Any]) -> float:
    means = [e.value if isinstance(e, Measured) else _nanmean(e) for e in entries]
    return float(np.mean(means))


def _nanmean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _best(systems: Sequence[str], pooled: Mapping[str, Mapping[str, Sequence[Any]]]) -> str:
    """The best system by NDCG, else by the first metric that is tested; the first one without any such metric."""
    first = _first(pooled[systems[0]] if systems else {})
    if first is None:
        return next(iter(systems), "")
    sign = -1.0 if parse(first).better == "lower" else 1.0
    return max(systems, key=lambda name: np.nan_to_num(sign * _mean(pooled[name][first]), nan=-np.inf))


def _first(entries: Mapping[str, Sequence[Any]]) -> str | None:
    """The metric that a table is read by: NDCG, else the first that is tested."""
    tested = [name for name, some in entries.items() if _is_tested(some)]
    return next((name for name in tested if name.startswith("ndcg")), next(iter(tested), None))


def _pairs(pooled: Mapping[str, Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
    """Every two systems compared on the first metric; {} where nothing is to be compared."""
    metric = _first(next(iter(pooled.values()), {}))
    if metric is None:
        return {}
    names = [name for name in pooled if metric in pooled[name]]
    both = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    raw = [_p(pooled[a][metric], pooled[b][metric]) for a, b in both]
    known = [(a, b, p) for (a, b), p in zip(both, holm(np.array(raw)) if raw else [], strict=True) if not np.isnan(p)]
    return {"metric": metric, "p": [[a, b, float(p)] for a, b, p in known]} if known else {}


def per_user_means(values: Values, metric: str) -> dict[str, NDArray[np.float64]]:
    """System -> its values per user, averaged over seeds; systems without them are left out."""
    entries: dict[str, list[Any]] = {}
    for (system, _), measured in values.items():
        if metric in measured:
            entries.setdefault(system, []).append(measured[metric])
    tables = {system: _per_user(some) for system, some in entries.items()}
    return {system: table for system, table in tables.items() if table is not None}


def _is_tested(entries: Sequence[Any]) -> bool:
    """Whether a metric is compared with the baseline: values per user, or draws of a bootstrap over users."""
    return not isinstance(entries[0], Measured) or entries[0].draws is not None


def _tests(pooled: Mapping[str, Mapping[str, Sequence[Any]]], baseline: str) -> dict[str, dict[str, float]]:
    """Paired permutation p-values of every system against the baseline, Holm-corrected over systems per metric."""
    out: dict[str, dict[str, float]] = {name: {} for name in pooled}
    others = [name for name in pooled if name != baseline]
    for metric, base in pooled.get(baseline, {}).items():
        raw = [_p(pooled[name].get(metric, []), base) for name in others]
        for name, p in zip(others, holm(np.array(raw)) if raw else [], strict=True):
            if not np.isnan(p):
                out[name][metric] = float(p)
    return out


def _p(mine: Sequence[Any], base: Sequence[Any]) -> float:
    """Permutation of signs for values per user, paired bootstrap for draws; NaN where nothing is to be compared."""
    if not mine or not base or not (_is_tested(mine) and _is_tested(base)):
        return float("nan")
    own, other = _draws(mine), _draws(base)
    if own is not None and other is not None:
        return paired_draws(own, other)
    left, right = _per_user(mine), _per_user(base)
    if left is None or right is None or not (~np.isnan(left) & ~np.isnan(right)).any():
        return float("nan")
    return paired(left, right, rounds=2_000)


def _draws(entries: Sequence[Any]) -> NDArray[np.float64] | None:
    """Draws averaged over seeds, which share the drawn users; None for a metric without draws."""
    tables: list[Any] = [getattr(entry, "draws", None) for entry in entries]
    return None if any(table is None for table in tables) else np.asarray(np.mean(tables, axis=0))


def _interval(entries: Sequence[Any]) -> Interval | None:
    """The 95 % interval over users; None where nothing says how users differ."""
    draws, per_user = _draws(entries), _per_user(entries)
    if draws is not None:
        return None if np.isnan(draws).all() else interval_of(draws)
    if per_user is None or np.isnan(per_user).all():
        return None
    low, high = bootstrap(per_user)
    return Interval(float(np.squeeze(low)), float(np.squeeze(high)))


def _row(name: str, cells: Sequence[Cell], pooled: Mapping[str, Sequence[Any]], p: Mapping[str, float]) -> Row:
    values = {}
    for metric, entries in pooled.items():
        low, high = _interval(entries) or (None, None)
        by_seed = tuple(e.value if isinstance(e, Measured) else _nanmean(e) for e in entries)
        values[metric] = Value(_mean(entries), low, high, p.get(metric), by_seed)
    mine = [cell for cell in cells if cell.system == name]
    asked = max(sum(len(cell.lists) for cell in mine), 1)
    costs = {
        "fit_s": float(np.mean([cell.fit_seconds for cell in mine])),
        "fit_calls": float(np.mean([cell.fit_cost.get("calls", 0) for cell in mine])),
        "fit_tokens": float(
            np.mean([sum(cell.fit_cost.get(t, 0) for t in ("tokens_in", "tokens_out")) for cell in mine])
        ),
        "fit_usd": float(np.mean([cell.fit_cost.get("cost", 0.0) for cell in mine])),
        "ms/list": 1000.0 * sum(cell.seconds for cell in mine) / asked,
        "calls": sum(cell.cost.get("calls", 0) for cell in mine) / asked,
        "tokens_in": sum(cell.cost.get("tokens_in", 0) for cell in mine) / asked,
        "tokens_out": sum(cell.cost.get("tokens_out", 0) for cell in mine) / asked,
        "usd": sum(cell.cost.get("cost", 0.0) for cell in mine) / asked,
    }
    facts = next((cell.facts for cell in mine if cell.facts), {})
    return Row(name, values, costs, sum(cell.degraded for cell in mine), facts)


def position_curve(lists: Lists, k: int = 10) -> dict[str, Any]:
    """How often the option at each prompt place came into the top k of its own round, before rounds are merged.

    From the notes: `orders` says what was shown where, `rounds` what it scored there. Equal scores share the places.
    """
    shown: list[int] = []
    kept: list[float] = []
    for note in lists.notes:
        for order, scores in zip(note.get("orders", ()), note.get("rounds", ()), strict=False):
            values = np.nan_to_num(np.array(scores, np.float64), nan=-np.inf)
            ahead = (values[None, :] > values[:, None]).sum(1)
            equal = (values[None, :] == values[:, None]).sum(1)
            inside = np.clip((k - ahead) / np.maximum(equal, 1), 0.0, 1.0)
            for place in range(len(order)):
                if place == len(shown):
                    shown.append(0)
                    kept.append(0.0)
                shown[place] += 1
                kept[place] += float(inside[place])
    if not shown:
        return {}
    rates = [hit / n for hit, n in zip(kept, shown, strict=True)]
    return {"place": list(range(len(shown))), "rate": rates, "shown": shown, "k": k}
