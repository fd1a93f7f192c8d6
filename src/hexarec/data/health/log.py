"""Findings about the log: size, repeats, times, popularity, and what the import refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Interactions
from hexarec.data.health.findings import Finding, finding
from hexarec.data.report import ImportReport
from hexarec.data.split import core_mask
from hexarec.data.times import DAY, EARLY

CORES = (2, 3, 5, 10)
KEEP = 0.8  # a k-core is suggested when it keeps this share of the events


def imported(report: ImportReport | None) -> list[Finding]:
    """What the import refused or had to guess."""
    if report is None:
        return []
    lost = sum(report.rejected.values())
    share = lost / max(report.rows, 1)
    reasons = ", ".join(f"{n:,} {why}" for why, n in report.rejected.items()) or "none"
    return [
        finding("refused rows", share, f"{lost:,} rows were refused at import ({reasons}).",
                "See rejects.jsonl for file and line of each.", warn=1e-9, bad=0.2),
        finding("orphans", report.orphans, f"{report.orphans:,} items occur only in events and have no words.",
                "Complete the item table, or import with strict to refuse such events.", warn=1),
    ]  # fmt: skip


def findings(data: Dataset) -> list[Finding]:
    """All findings about the log."""
    log = data.interactions
    if not len(log):
        return [Finding("events", "bad", 0, "There are no events.", "Import a log of what users did.")]
    return [*_sizes(data), *_repeats(data), *(_times(log) if log.clock else _order(log)), *_popularity(data)]


def _sizes(data: Dataset) -> list[Finding]:
    log = data.interactions
    per_user = np.diff(log.offsets)
    active, sold = int((per_user > 0).sum()), int((log.counts(data.n_items) > 0).sum())
    density = len(log) / max(active * sold, 1)
    short = float((per_user[per_user > 0] < 3).mean())
    liked = float(log.liked.mean())
    sentence = f"{active:,} users with events, {sold:,} items with events, {len(log):,} events."
    return [
        finding("events", len(log), sentence),
        finding("sparsity", 1 - density, f"{density:.3%} of all user-item pairs occur in the log."),
        finding("short histories", short, f"{short:.1%} of the users have fewer than 3 events and cannot be tested.",
                "Expect popularity to be hard to beat, or use a k-core.", warn=0.5),
        finding("unsold items", 1 - sold / max(data.n_items, 1), f"{data.n_items - sold:,} items have no event.",
                "They can only be found by their words: check that they have a title and a text.", warn=0.5),
        Finding("liked", "ok" if liked else "bad", liked, f"{liked:.1%} of events count as liked ({log.like_rule}).",
                "" if liked else "State another like rule at import: nothing says what somebody likes."),
    ]  # fmt: skip


def _repeats(data: Dataset) -> list[Finding]:
    log = data.interactions
    order = np.lexsort((log.kind, log.time, log.item, log.user))
    same_pair = (np.diff(log.user[order]) == 0) & (np.diff(log.item[order]) == 0)
    exact = same_pair & (np.diff(log.time[order]) == 0) & (np.diff(log.kind[order].astype(np.int16)) == 0)
    twice = int(exact.sum()) if log.clock else 0
    again = float(same_pair.sum()) / len(log)
    return [
        finding("duplicates", twice, f"{twice:,} events repeat another one with the same user, item, time and kind.",
                "Remove double deliveries before importing; real repeats have times of their own.", warn=1),
        finding("repeats", again, f"{again:.1%} of the events are about an item their user had met before.",
                "Repeated items never count as truth; if repeats matter here, measure them apart.", warn=0.2),
    ]  # fmt: skip


def _ties(log: Interactions) -> float:
    tied = (np.diff(log.time) == 0) & (np.diff(log.user) == 0)
    return float(tied.sum()) / len(log)


def _order(log: Interactions) -> list[Finding]:
    tied = _ties(log)
    return [
        Finding("clock", "warn", 0.0, "The log has an order but no clock.",
                "Use the leave-last split; a global time split is impossible."),
        finding("ties", tied, f"{tied:.1%} of the events share their place with the one before.",
                "Check the column that was taken for the order.", warn=0.01, bad=0.3),
    ]  # fmt: skip


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.3g} s"


def _times(log: Interactions) -> list[Finding]:
    middle = float(np.median(log.time))
    now = time.time()
    _, counts = np.unique(log.time, return_counts=True)
    instant, tied = float(counts.max()) / len(log), _ties(log)
    future = int((log.time > now + DAY).sum())
    days = (log.time.max() - log.time.min()) / DAY
    odd = float(middle < EARLY or middle > 10 * now)
    unit = "milliseconds read as seconds" if middle > now else "seconds divided once too often, or only an order"
    return [
        finding("time span", days, f"From {_day(log.time.min())} to {_day(log.time.max())}, {days:,.0f} days."),
        finding("time unit", odd, f"The middle time is {_day(middle)}." + (f" That looks like {unit}." if odd else ""),
                "Import again and check the time column.", bad=0.5),
        finding("ties", tied, f"{tied:.1%} of the events have exactly the time of the one before, same user.",
                "Their order is the order in the file, so results that hang on the last item are soft.",
                warn=0.05, bad=0.5),
        finding("one instant", instant, f"{instant:.2%} of all events happened at one and the same instant.",
                "A default date or a bulk load? Such times order nothing.", warn=0.05, bad=0.5),
        finding("future", future, f"{future:,} events lie in the future.", "Check unit and time zone.", bad=1),
    ]  # fmt: skip


def gini(counts: NDArray[np.int64]) -> float:
    """The Gini coefficient of event counts: 0 = all items equal, 1 = one item has everything; NaN for no events."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    return float(2 * (np.arange(1, n + 1) * ordered).sum() / (n * total) - (n + 1) / n) if total else float("nan")


def _popularity(data: Dataset) -> list[Finding]:
    log = data.interactions
    counts = log.counts(data.n_items)
    uneven = gini(counts)
    top = np.sort(counts)[::-1][: max(1, len(counts) // 100)].sum() / len(log)
    kept = {k: float(core_mask(log, data.n_items, k).mean()) for k in CORES}
    best = max((k for k in CORES if kept[k] >= KEEP), default=0)
    advice = f"The {best}-core keeps {kept[best]:.0%} of them." if best else "No k-core keeps most of them."
    return [
        finding("popularity", uneven, f"Gini of popularity {uneven:.2f}; the top 1% of items have {top:.0%} of events.",
                "Report popularity lift and coverage beside accuracy.", warn=0.8),
        finding("k-core", best, f"{kept[5]:.0%} of the events are in the 5-core. {advice}"),
    ]  # fmt: skip
