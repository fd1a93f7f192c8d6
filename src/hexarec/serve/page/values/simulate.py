"""Simulated visits as the page shows them: curves that grow, exits by page, and what the users said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.eval.simulation import MEASURES
from hexarec.lm.models import REGISTRY, installed
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.simulating import read_curves
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.figures import Axis, Figure, Numbers, Series
from hexarec.serve.page.values.jobs import JobLine, line_of
from hexarec.serve.store.rows import JobRow

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from hexarec.serve.backend import Backend

T = Callable[..., str]
Curves = Mapping[str, Mapping[str, Any]]
KIND = "simulate"
Z = 1.96
"""Standard errors of a 95 % interval."""
DEFAULTS = {"users": "200", "pages": "5", "model": "", "seed": "0"}
LOOKED = 500
"""Newest jobs among which runs are looked for."""


@dataclass(frozen=True)
class Run:
    """One run. means: (pipeline, mean of each measure)."""

    line: JobLine
    curves: Curves
    means: Sequence[tuple[str, int, Mapping[str, float | None]]]


def runs(tenant: Tenant) -> list[JobLine]:
    """Runs, newest first."""
    return [line_of(row) for row in tenant.shelf.jobs(LOOKED) if row.kind == KIND]


def run_of(tenant: Tenant, row: JobRow) -> Run:
    """One run as far as it is."""
    curves = (row.result or {}).get("curves") or read_curves(folder_of(tenant, row.id))
    means = []
    for name, curve in curves.items():
        told = {measure: _mean(curve["values"][measure]) for measure in MEASURES}
        means.append((name, curve["visits"][-1] if curve["visits"] else 0, told))
    return Run(line_of(row), curves, means)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None


def figures_of(curves: Curves, t: T) -> list[Figure]:
    """The running mean of each measure with its interval, by visits; and who is still there, by page."""
    places = sorted({n for curve in curves.values() for n in curve["visits"]})
    made = []
    for measure in MEASURES:
        series = tuple(_running(name, curve, measure, places) for name, curve in curves.items())
        figure = Figure(
            measure.replace("_", "-"), t(f"simulate.measure.{measure}"), Axis(t("simulate.visits")),
            Axis(t(f"simulate.axis.{measure}")), places, series,
        )  # fmt: skip
        made += [] if figure.empty else [figure]
    return [*made, _stay(curves, t)] if places else []


def _running(name: str, curve: Mapping[str, Any], measure: str, places: Sequence[int]) -> Series:
    values, known = curve["values"][measure], set(curve["visits"])
    rows = [_interval(values[:n] if n in known else ()) for n in places]
    return Series(name, [one[0] for one in rows], [one[1] for one in rows], [one[2] for one in rows])


def _interval(values: Sequence[float | None]) -> tuple[float | None, float | None, float | None]:
    """Mean and 95 % interval of the known values; of one value there is no interval."""
    known = [one for one in values if one is not None]
    if not known:
        return None, None, None
    mean = sum(known) / len(known)
    if len(known) < 2:
        return mean, None, None
    spread = sum((one - mean) ** 2 for one in known) / (len(known) - 1)
    half = Z * math.sqrt(spread / len(known))
    return mean, mean - half, mean + half


def _stay(curves: Curves, t: T) -> Figure:
    exits = {name: [one for one in curve["values"]["exit_page"] if one is not None] for name, curve in curves.items()}
    most = int(max((max(one, default=1) for one in exits.values()), default=1))
    pages = list(range(1, most + 1))
    series = []
    for name, own in exits.items():
        shares: Numbers = [sum(one >= page for one in own) / len(own) if own else None for page in pages]
        series.append(Series(name, shares))
    return Figure("stay", t("simulate.stay"), Axis(t("simulate.page")), Axis(t("simulate.still")), pages, tuple(series))


def models(backend: Backend) -> list[str]:
    """Models that may play the users: those installed here, and addresses that the server allows."""
    here = installed()
    local = [f"gguf:{name}" for name, card in REGISTRY.items() if name in here and f"gguf:{name}" == "gguf:smollm2"]
    return [*local, *(one for one in backend.settings.endpoints if one.startswith("openai:"))]


def wanted(form: FormData) -> dict[str, Any]:
    """The arguments of a run from the form. Raises OptionError that names the field."""
    names = [str(one) for one in form.getlist("pipeline")]
    if not names:
        raise OptionError("pipeline: choose at least one")
    args: dict[str, Any] = {"pipelines": ",".join(names)}
    for name in ("users", "pages", "seed"):
        given = str(form.get(name, "")).strip()
        if given:
            if not given.isdecimal():
                raise OptionError(f"{name}: {given[:40]!r} is no whole number")
            args[name] = int(given[:12])
    model = str(form.get("model", "")).strip()
    return {**args, "model": model} if model else args
