"""Splits: what may be learned from, questions, and what was right; each states its rule and what it left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Exposures, History, Interactions, Lists, Queries, ragged, rng, truth_of
from hexarec.core.errors import DataError, OptionError

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
TIES = "of events at the same time the later in the file is the later"


@dataclass(frozen=True, eq=False)
class Cases:
    """Questions and their answers: for each the distinct items liked later and not met before, gain 1."""

    queries: Queries
    truth: Lists

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True, eq=False)
class Split:
    """train: all a `fit` may see. rule: the protocol in a sentence. notes: what was left out, by part."""

    train: Dataset
    valid: Cases | None
    test: Cases
    rule: str
    notes: Mapping[str, int] = field(default_factory=dict)


def global_time(data: Dataset, valid: float = 0.1, test: float = 0.1) -> Split:
    """One moment for everybody: train strictly before the first cut, questions at a cut, truth from the cut on.

    The newest `test` of all events lie after the second cut and the `valid` before them between the cuts; events of
    one instant are never divided. Test histories hold the validation time. Raises OptionError for impossible shares,
    DataError without a clock or without events before the cut.
    """
    if not (0.0 < test < 1.0 and 0.0 <= valid < 1.0 and valid + test < 1.0):
        raise OptionError(f"valid={valid} and test={test} leave nothing to train on", hint="e.g. valid=0.1, test=0.1")
    log = data.interactions
    if not log.clock:
        raise DataError("this log has an order but no clock, so no moment can cut it", hint="use leave_last")
    if not len(log):
        raise DataError("the log is empty: there is nothing to split")
    times = np.sort(log.time)
    second = _cut(times, test)
    first = _cut(times, valid + test) if valid else second
    train = _train(data, log.time < first, _shown_before(data, np.full(data.n_users, first)))
    if not len(train.interactions):
        raise DataError("no event lies before the cut: most share one instant", field="time", hint="use leave_last")
    notes: dict[str, int] = {"train events": len(train.interactions)}
    tuned = _asked_at(data, first, second, "valid", notes) if valid else None
    tested = _asked_at(data, second, np.inf, "test", notes)
    middle = f"validation until {_moment(second)}, test after that" if valid else "test from then on"
    rule = f"global time: train before {_moment(first)}, {middle} (UTC)"
    return Split(train, tuned, tested, rule, notes)


def _moment(seconds: float) -> str:
    """Date and time of day; the seconds themselves where there is no such date."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.6g} s"


def _cut(times: NDArray[np.float64], share: float) -> float:
    return float(times[min(round(len(times) * (1.0 - share)), len(times) - 1)])


def _asked_at(data: Dataset, start: float, stop: float, part: str, notes: dict[str, int]) -> Cases:
    log = data.interactions
    later = log.where((log.time >= start) & (log.time < stop))
    users = np.flatnonzero(np.diff(later.offsets) > 0)
    liked = later.where(later.liked)
    queries = data.queries(users, now=start)
    return _answerable(queries, truth_of(queries, liked.offsets, liked.item, users), part, notes)


def _answerable(queries: Queries, truth: Lists, part: str, notes: dict[str, int]) -> Cases:
    """The cases that have a truth; the others are counted."""
    keep = truth.lengths > 0
    notes[f"{part} users"] = int(keep.sum())
    notes[f"{part} users without truth"] = int((~keep).sum())
    return Cases(queries.take(keep), truth.take(keep))


def _shown_before(data: Dataset, until: NDArray[np.float64]) -> Bools | None:
    """Which exposures were asked before the moment `until` of their user; None where there are none."""
    if data.exposures is None:
        return None
    asked = data.exposures.queries
    row = asked.user_rows(data.users.ids)
    # an exposure of nobody in particular is held to the earliest cut
    limit = np.append(until, until.min(initial=np.inf))[row]
    return np.asarray(asked.now < limit, bool)


def _train(data: Dataset, keep: Bools, shown: Bools | None) -> Dataset:
    """The data set with only the kept events and exposures: exposures carry labels, so they are cut as well."""
    made = data.with_log(data.interactions.where(keep))
    if data.exposures is None:
        return made
    if shown is None or not shown.any():
        return replace(made, exposures=None)
    old = data.exposures
    return replace(made, exposures=Exposures(old.queries.take(shown), old.shown.take(shown), old.policy, old.source))


def _prefix(data: Dataset, users: Ints, lengths: Ints, now: NDArray[np.float64]) -> Queries:
    """Questions of these users whose history is the first `lengths` events of each, in the order of the log."""
    log = data.interactions
    starts = log.offsets[:-1][users]
    offsets, flat = ragged.spans(starts, starts + lengths)
    history = History(offsets, log.item[flat], log.time[flat], log.kind[flat], log.value[flat], log.liked[flat])
    return Queries.of(data.catalog, data.users.ids, users.astype(np.int32), history, now=now, lang=data.catalog.lang)


def _nth(data: Dataset, users: Ints, back: int, part: str, notes: dict[str, int]) -> Cases:
    """Cases about the event `back` places from the end of each user: everything before it is history."""
    log = data.interactions
    place = log.offsets[1:][users] - back
    queries = _prefix(data, users, place - log.offsets[:-1][users], log.time[place])
    offsets = ragged.offsets_of(log.liked[place].astype(np.int64))
    truth = truth_of(queries, offsets, log.item[place[log.liked[place]]], np.arange(len(users)))
    return _answerable(queries, truth, part, notes)


def leave_last(data: Dataset, valid: bool = True) -> Split:
    """Each user's last event is the test, the one before it the validation; train has neither.

    Users with fewer than 3 events (2 without validation) stay in train whole. Of events at the same time the later in
    the file is the later. A case whose event was not liked, or whose item was met before, has no truth and is counted.
    With a clock, note that train then holds events of other users that are newer than a test event.
    """
    log = data.interactions
    if not len(log):
        raise DataError("the log is empty: there is nothing to split")
    users = np.flatnonzero(np.diff(log.offsets) >= 2 + valid)
    keep = np.ones(len(log), bool)
    first = np.full(data.n_users, np.inf)
    for back in (1, 2) if valid else (1,):
        keep[log.offsets[1:][users] - back] = False
        first[users] = log.time[log.offsets[1:][users] - back]
    notes: dict[str, int] = {"users too short to cut": int(data.n_users - len(users))}
    train = _train(data, keep, _shown_before(data, first) if log.clock else None)
    notes["train events"] = len(train.interactions)
    tuned = _nth(data, users, 2, "valid", notes) if valid else None
    tested = _nth(data, users, 1, "test", notes)
    rule = (
        f"leave last: each user's last event is the test{', the one before it the validation' if valid else ''}; {TIES}"
    )
    return Split(train, tuned, tested, rule, notes)


def cold_items(data: Dataset, share: float = 0.2, seed: int = 0) -> Split:
    """A share of the items with events vanishes from train: half of them are the validation, half the test.

    The items stay in the catalog, so their words can be used. Questions are asked after the end of the log with the
    warm history of their user; this measures content, not foresight. Raises OptionError unless 0 < share < 1.
    """
    _share(share)
    log = data.interactions
    known = np.flatnonzero(log.counts(data.n_items) > 0)
    if len(known) < 3:
        raise DataError(f"{len(known)} items have events, too few to hide some", hint="use leave_last")
    halves = _halves(known, share, seed, "cold_items")
    part = np.zeros(data.n_items, np.int8)
    part[halves[0]], part[halves[1]] = 1, 2
    warm = part[log.item] == 0
    shown = _shown_warm(data, part > 0)
    train = _train(data, warm, shown)
    notes: dict[str, int] = {"cold items": int((part > 0).sum()), "train events": int(warm.sum())}
    cases = []
    for code, name in ((1, "valid"), (2, "test")):
        hidden = log.where((part[log.item] == code) & log.liked)
        users = np.flatnonzero(np.diff(hidden.offsets) > 0)
        queries = train.queries(users)
        cases.append(_answerable(queries, truth_of(queries, hidden.offsets, hidden.item, users), name, notes))
    rule = (
        f"cold items: {share:.0%} of the items with events vanish from train (seed {seed}), half validation, half test"
    )
    return Split(train, cases[0], cases[1], rule, notes)


def _shown_warm(data: Dataset, cold: Bools) -> Bools | None:
    """Exposures in which no cold item was shown."""
    if data.exposures is None:
        return None
    lists = data.exposures.shown
    met = np.bincount(ragged.segments(lists.offsets), weights=cold[lists.items], minlength=len(lists))
    past = data.exposures.queries.history
    met += np.bincount(ragged.segments(past.offsets), weights=cold[past.item], minlength=len(lists))
    return np.asarray(met == 0, bool)


def _share(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise OptionError(f"share is {share}, not between 0 and 1")


def _halves(rows: Ints, share: float, seed: int, word: str) -> tuple[Ints, Ints]:
    drawn = rng(seed, word).permutation(rows)[: min(max(2, round(share * len(rows))), len(rows) - 1)]
    return drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]


def cold_users(data: Dataset, max_events: int = 5, *, share: float = 0.2, seed: int = 0) -> Split:
    """A share of the users vanishes from train whole: half validation, half test.

    Each is asked about after their first `max_events` events, which are the history; truth is what they liked later.
    Drawn among users with more events than that. Raises OptionError for a negative `max_events` or impossible share.
    """
    _share(share)
    if max_events < 0:
        raise OptionError(f"max_events is {max_events}, which is negative")
    log = data.interactions
    able = np.flatnonzero(np.diff(log.offsets) > max_events)
    if len(able) < 3:
        raise DataError(f"only {len(able)} users have more than {max_events} events", hint="lower max_events")
    halves = _halves(able, share, seed, "cold_users")
    hidden = np.zeros(data.n_users, bool)
    hidden[np.concatenate(halves)] = True
    until = np.where(hidden, -np.inf, np.inf)
    train = _train(data, ~hidden[log.user], _shown_before(data, until))
    notes: dict[str, int] = {"cold users": int(hidden.sum()), "train events": len(train.interactions)}
    cases = [
        _after_first(data, np.sort(rows), max_events, n, notes)
        for rows, n in zip(halves, ("valid", "test"), strict=True)
    ]
    rule = f"cold users: {share:.0%} of the users vanish from train (seed {seed}); {max_events} events known"
    return Split(train, cases[0], cases[1], rule, notes)


def _after_first(data: Dataset, users: Ints, n: int, part: str, notes: dict[str, int]) -> Cases:
    log = data.interactions
    starts, stops = log.offsets[:-1][users] + n, log.offsets[1:][users]
    queries = _prefix(data, users, np.full(len(users), n, np.int64), log.time[starts])
    keep = np.zeros(len(log), bool)
    keep[ragged.spans(starts, stops)[1]] = True
    later = log.where(keep & log.liked)
    return _answerable(queries, truth_of(queries, later.offsets, later.item, users), part, notes)


def system_cold(data: Dataset) -> Split:
    """A system on its first day: train has catalog and users but no event; questions are those of `leave_last`.

    What a user did stands in the history of the question, where a method that reads it may use it.
    """
    warm = leave_last(data, valid=False)
    nothing = np.zeros(len(data.interactions), bool)
    train = _train(data, nothing, None)
    notes = {**warm.notes, "train events": 0}
    return Split(train, None, warm.test, f"cold system: train has no events; questions of {warm.rule}", notes)


def k_core(data: Dataset, k: int) -> Dataset:
    """The data set cut down until every user and item that still has events has at least `k`; catalog and users stay.

    Raises OptionError for k < 1, DataError when nothing is left.
    """
    if k < 1:
        raise OptionError(f"k is {k}, less than 1")
    keep = core_mask(data.interactions, data.n_items, k)
    if not keep.any():
        raise DataError(f"no event is left in the {k}-core", hint="use a smaller k")
    return data.with_log(data.interactions.where(keep))


def core_mask(log: Interactions, n_items: int, k: int) -> Bools:
    """The events of the k-core, (n,) bool."""
    keep = np.ones(len(log), bool)
    while True:
        users = np.bincount(log.user[keep], minlength=log.n_users)
        items = np.bincount(log.item[keep], minlength=n_items)
        good = keep & (users[log.user] >= k) & (items[log.item] >= k)
        if good.sum() == keep.sum():
            return good
        keep = good


def rules() -> dict[str, Any]:
    """Splits by the name a command line or a TOML file uses."""
    return {
        "time": global_time, "last": leave_last, "cold_items": cold_items, "cold_users": cold_users,
        "system_cold": system_cold,
    }  # fmt: skip
