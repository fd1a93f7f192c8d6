"""Findings about the default splits: who and what would be new in the test, and what would leak into it."""

from __future__ import annotations

import numpy as np

from hexarec.core import Dataset, ragged
from hexarec.core.errors import HexarecError
from hexarec.data.health.findings import Finding, finding
from hexarec.data.split import Split, global_time, leave_last


def findings(data: Dataset) -> list[Finding]:
    """All findings about splits and leaks."""
    if not len(data.interactions):
        return []
    made: list[Finding] = []
    if data.interactions.clock:
        made += _one(data, "time", global_time)
    made += _one(data, "last", leave_last)
    return [*made, *_early(data), *_overlap(data)]


def _one(data: Dataset, name: str, cut: object) -> list[Finding]:
    try:
        split: Split = cut(data)  # type: ignore[operator]
    except HexarecError as error:
        return [
            Finding(f"split by {name}", "warn", 0.0, f"The split by {name} is impossible: {error.message}.", error.hint)
        ]
    users, items = cold_shares(split)
    lost = split.notes["test users without truth"]
    asked = len(split.test)
    made = [
        Finding(f"split by {name}", "ok" if asked >= 100 else "warn", asked,
                f"The split by {name} tests {asked:,} users; {lost:,} more have nothing new that they liked.",
                "" if asked >= 100 else "So few cases need wide intervals.")
    ]  # fmt: skip
    if asked:
        made += [
            finding(f"cold users by {name}", users, f"{users:.1%} of users tested by {name} have no event in train.",
                    "Report cold users apart.", warn=0.3),
            finding(f"cold items by {name}", items, f"{items:.1%} of the right items by {name} have no event in train.",
                    "Only methods that read words can find them; report cold items apart.", warn=0.2),
        ]  # fmt: skip
    return made


def cold_shares(split: Split) -> tuple[float, float]:
    """Shares of test users and of right items without any event in train."""
    log = split.train.interactions
    seen_users = np.diff(log.offsets) > 0
    seen_items = log.counts(split.train.n_items) > 0
    if not len(split.test):
        return 0.0, 0.0
    return float((~seen_users[split.test.queries.user]).mean()), float((~seen_items[split.test.truth.items]).mean())


def _early(data: Dataset) -> list[Finding]:
    """Events on items before they could be had."""
    log, since = data.interactions, data.catalog.since
    if not log.clock or not np.isfinite(since).any():
        return []
    early = int((log.time < since[log.item]).sum())
    return [
        finding("too early", early, f"{early:,} events happened before their item was available.",
                "Check the column since: a wrong date hides items from their own truth.", warn=1),
    ]  # fmt: skip


def _overlap(data: Dataset) -> list[Finding]:
    """Under leave-last, how much of train is newer than the event to be predicted."""
    log = data.interactions
    users = np.flatnonzero(np.diff(log.offsets) >= 3)
    if not log.clock or not len(users):
        return []
    last = log.offsets[1:][users] - 1
    keep = np.ones(len(log), bool)
    keep[np.concatenate([last, last - 1])] = False
    times = np.sort(log.time[keep])
    newer = float((1.0 - np.searchsorted(times, log.time[last], "right") / len(times)).mean()) if len(times) else 0.0
    seen = _met(data, last)
    return [
        finding("future in train", newer,
                f"Split by last event, train would hold {newer:.0%} events newer than the one to be predicted.",
                "Prefer the global time split: leave-last lets a model see the future of the others.", warn=0.1),
        finding("truth in history", seen, f"{seen:.1%} of the last events are about an item the user had met before.",
                "They have no truth and are left out of the test.", warn=0.2),
    ]  # fmt: skip


def _met(data: Dataset, last: ragged.Ints) -> float:
    log = data.interactions
    wide = data.n_items + 1
    pairs = log.user.astype(np.int64) * wide + log.item
    rest = np.ones(len(log), bool)
    rest[last] = False
    return float(ragged.member(pairs[last], pairs[rest]).mean())
