"""A figure as numbers: one value that makes the plot in the page, the SVG, the CSV and the table beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi.responses import JSONResponse, Response

from hexarec.serve.page.numbers import iso, number

Numbers = Sequence[float | None]
Kind = Literal["line", "points", "bars"]
FORMS = ("json", "svg", "csv")
COLOURS = ("#1f6fd0", "#c2410c", "#0f8a5f", "#8b3fc7", "#b8860b", "#0e7490", "#be185d", "#57606a")
"""Of the SVG; the page takes its own from page.css, in the same order."""


@dataclass(frozen=True)
class Axis:
    """One axis: what it shows, its unit, and whether it is logarithmic, or holds moments in unix seconds."""

    label: str
    unit: str = ""
    log: bool = False
    time: bool = False

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class Series:
    """One line, cloud of points or row of bars: a value per place of the figure; low and high are its interval."""

    name: str
    values: Numbers
    low: Numbers = ()
    high: Numbers = ()
    kind: Kind = "line"


@dataclass(frozen=True)
class Figure:
    """A figure: places on the x axis (in rising order), and series over them.

    name: a word of a-z, 0-9 and hyphens, for ids and file names. places: numbers; names: what to write at the places
    where they are no amounts but things (0, 1, 2, ... then).
    """

    name: str
    title: str
    x: Axis
    y: Axis
    places: Sequence[float]
    series: tuple[Series, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for one in self.series:
            for part in (one.values, one.low, one.high):
                assert len(part) in (0, len(self.places)), f"{self.name}: {one.name} has another length than the places"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value is not None for one in self.series for value in one.values)

    @property
    def heads(self) -> list[str]:
        """The heads of the numbers as a file."""
        return self.heads_said("low", "high")

    def heads_said(self, low: str, high: str) -> list[str]:
        """The heads of the table, with the words for the ends of an interval."""
        made = [self.x.title]
        for one in self.series:
            made.append(f"{one.name} ({self.y.unit})" if self.y.unit else one.name)
            made += [f"{one.name} {low}", f"{one.name} {high}"] if one.low else []
        return made

    @property
    def rows(self) -> list[list[Any]]:
        """The numbers as they are: place, and of every series value, low, high."""
        made = []
        for i, place in enumerate(self.places):
            row: list[Any] = [self.names[i] if self.names else place]
            for one in self.series:
                row.append(one.values[i])
                row += [one.low[i], one.high[i]] if one.low else []
            made.append(row)
        return made

    @property
    def written(self) -> list[list[str]]:
        """The rows as a person reads them."""
        first = str if self.names else iso if self.x.time else number
        return [[first(row[0]), *(number(value) for value in row[1:])] for row in self.rows]

    def json(self) -> dict[str, Any]:
        """What page.js draws."""
        series = [
            {"name": one.name, "kind": one.kind, "values": list(one.values), "low": list(one.low),
             "high": list(one.high)}
            for one in self.series
        ]  # fmt: skip
        axes = {
            name: {"title": axis.title, "log": axis.log, "time": axis.time}
            for name, axis in (("x", self.x), ("y", self.y))
        }
        return {"title": self.title, **axes, "places": list(self.places), "names": list(self.names), "series": series}

    def csv(self) -> str:
        """The numbers as comma-separated values; a word that a spreadsheet would take for a formula is quoted."""
        rows = [[iso(one) if self.x.time and i == 0 else one for i, one in enumerate(row)] for row in self.rows]
        return comma_separated(self.heads, rows)

    def svg(self) -> str:
        """The drawing."""
        from hexarec.eval.drawing import drawn

        return drawn(self._draw, text="none", size=(7.0, 3.6))

    def _draw(self, ax: Any) -> None:
        bars = [one for one in self.series if one.kind == "bars"]
        for i, one in enumerate(self.series):
            colour = COLOURS[i % len(COLOURS)]
            known = [k for k, value in enumerate(one.values) if value is not None]
            x, y = [self._place(k) for k in known], [one.values[k] for k in known]
            if one.kind == "bars":
                width = 0.8 / len(bars)
                x = [place + width * (bars.index(one) - (len(bars) - 1) / 2) for place in x]
                ax.bar(x, y, width, color=colour, label=one.name)
            else:
                ax.plot(x, y, "o" if one.kind == "points" else "-", color=colour, label=one.name)
            ranged = [i for i, k in enumerate(known) if one.low and one.low[k] is not None and one.high[k] is not None]
            if ranged:
                x = [x[i] for i in ranged]
                low, high = ([part[known[i]] for i in ranged] for part in (one.low, one.high))
                if one.kind == "line":
                    ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
                else:
                    ax.vlines(x, low, high, color=colour)
        ax.set(xlabel=self.x.title, ylabel=self.y.title, title=self.title)
        if self.x.log:
            ax.set_xscale("log")
        if self.y.log:
            ax.set_yscale("log")
        if self.names:
            ax.set_xticks(list(self.places), list(self.names))
        if len(self.series) > 1:
            ax.legend()

    def _place(self, k: int) -> Any:
        if not self.x.time:
            return self.places[k]
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.places[k], UTC)

    def answer(self, form: str) -> Response:
        """The figure as json, svg or csv."""
        if form == "json":
            return JSONResponse(self.json())
        inside = self.svg() if form == "svg" else self.csv()
        kind = "image/svg+xml" if form == "svg" else "text/csv; charset=utf-8"
        return Response(inside, media_type=kind, headers={
            "content-disposition": f'inline; filename="{self.name}.{form}"' if form == "svg"
            else f'attachment; filename="{self.name}.{form}"',
        })  # fmt: skip


def comma_separated(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as CSV; a word that a spreadsheet would take for a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([_cell(one) for one in row] for row in (heads, *rows))
    return out.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") else line
