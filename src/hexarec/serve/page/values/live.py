"""What happens now: the last hour of this process, what keys spent today, and how popular shown items are."""

from __future__ import annotations

from collections.abc import Callable

from hexarec.serve.exposure import Drift
from hexarec.serve.page.figures import Axis, Figure, Series
from hexarec.serve.page.values.settings import KeyLine, key_lines
from hexarec.serve.recent import Window
from hexarec.serve.store.shelf import Shelf

T = Callable[..., str]
DAYS = 7.0


def spending(shelf: Shelf) -> list[KeyLine]:
    """Keys that have a budget, with what they spent today."""
    return [one for one in key_lines(shelf) if one.budgets and one.state == "valid"]


def traffic_figure(window: Window, t: T) -> Figure:
    """Requests, lists and degraded lists by minute."""
    times = [one[0] for one in window.minutes]
    columns = [[float(one[place]) for one in window.minutes] for place in (1, 2, 3)]
    names = [t("live.requests"), t("live.lists"), t("live.degraded")]
    series = tuple(Series(name, column) for name, column in zip(names, columns, strict=True))
    return Figure(
        "traffic", t("live.by_minute"), Axis(t("live.time"), time=True), Axis(t("live.a_minute")), times, series
    )


def drift_figure(made: Drift | None, t: T) -> Figure:
    """How popular the shown items are, over time."""
    times = [] if made is None else made.times
    values = [] if made is None else made.percentile
    return Figure(
        "drift", t("live.drift"), Axis(t("live.time"), time=True), Axis(t("live.percentile")), times,
        (Series(t("live.shown_items"), values),),
    )  # fmt: skip
