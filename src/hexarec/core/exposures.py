"""What was shown to whom and what came of it; and the one way to cut validation data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hexarec.core import ragged
from hexarec.core.errors import DataError, OptionError
from hexarec.core.ids import same_lineage
from hexarec.core.lists import Lists
from hexarec.core.queries import Queries

if TYPE_CHECKING:
    from hexarec.core.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Exposures:
    """Impressions, labelled pairs, preference pairs, bandit logs, simulator output: one shape.

    shown carries the field `gain` (float32; 1 = liked, 0 = not, NaN = unknown) and, where known, `slot` and
    `propensity`. source: "log" is what really happened; "sim:..." and "synthetic:..." stay invisible to `fit`
    unless a stage names them.
    """

    queries: Queries
    shown: Lists
    policy: str = ""
    source: str = "log"

    def __post_init__(self) -> None:
        same_lineage(self.queries.catalog.key, self.shown.key)
        if len(self.queries) != len(self.shown):
            raise DataError(f"{len(self.shown)} lists for {len(self.queries)} queries")
        if "gain" not in self.shown.fields:
            raise DataError("exposures need the field 'gain'", field="gain")

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True, eq=False)
class Holdout:
    """A cut in time: what may be learned from, questions asked at the cut, and what was liked after it."""

    train: Dataset
    queries: Queries
    truth: Lists


def holdout(data: Dataset, share: float = 0.1) -> Holdout:
    """Cut the newest `share` of the log as validation, by time, from the end.

    With a clock the cut is one moment for everybody: train is strictly before it, questions are asked at it, truth
    is the items liked from then on and not met before. Without a clock only the order inside a sequence is known,
    so the last event of each user with at least three events is cut and asked for, whatever the share.
    Raises OptionError unless 0 < share < 1, DataError for an empty log.
    """
    if not 0.0 < share < 1.0:
        raise OptionError(f"share is {share}, not between 0 and 1")
    if not len(data.interactions):
        raise DataError("the log is empty: there is nothing to hold out")
    return _cut_clock(data, share) if data.interactions.clock else _cut_last(data)


def after(data: Dataset, cut: float) -> Holdout:
    """The cut at one moment: train before `cut`, questions at `cut`, truth from `cut` on."""
    log = data.interactions
    train = _without_exposures_after(data.with_log(log.before(cut)), cut)
    later = log.where((log.time >= cut) & log.liked)
    users = np.flatnonzero(np.diff(later.offsets) > 0)
    queries = train.queries(users, now=cut)
    return Holdout(train, queries, truth_of(queries, later.offsets, later.item, users))


def _without_exposures_after(data: Dataset, cut: float) -> Dataset:
    """Exposures carry labels: those asked at the cut or later leave with the log."""
    if data.exposures is None:
        return data
    before = data.exposures.queries.now < cut
    kept = replace(data.exposures, queries=data.exposures.queries.take(before), shown=data.exposures.shown.take(before))
    return replace(data, exposures=kept)


def truth_of(queries: Queries, offsets: ragged.Ints, items: np.ndarray, rows: np.ndarray) -> Lists:
    """The distinct items of the segments `rows` that the questions do not exclude, as lists with gain 1."""
    cut, flat = ragged.gather(offsets, np.asarray(rows, np.int64))
    row, item = ragged.segments(cut), items[flat]
    wide = len(queries.catalog) + 1
    first = np.zeros(len(item), bool)
    first[np.unique(row * wide + item, return_index=True)[1]] = True
    banned = ragged.segments(queries.exclude_offsets) * wide + queries.exclude
    keep = first & ~ragged.member(row * wide + item, banned)
    ones = np.ones(int(keep.sum()), np.float32)
    return Lists(queries.catalog.key, ragged.kept(cut, keep), item[keep].astype(np.int32), ones, {"gain": ones.copy()})


def _cut_clock(data: Dataset, share: float) -> Holdout:
    times = np.sort(data.interactions.time)
    return after(data, float(times[min(int(len(times) * (1.0 - share)), len(times) - 1)]))


def _cut_last(data: Dataset) -> Holdout:
    log = data.interactions
    users = np.flatnonzero(np.diff(log.offsets) >= 3)
    last = log.offsets[1:][users] - 1
    keep = np.ones(len(log), bool)
    keep[last] = False
    # without a clock nothing says which exposures came before a cut: they carry labels, so none stays
    train = replace(data.with_log(log.where(keep)), exposures=None)
    queries = train.queries(users)
    queries = replace(queries, now=log.time[last])
    only_last = np.stack([last, last + 1], 1)
    offsets, flat = ragged.spans(only_last[:, 0], only_last[:, 1])
    truth = truth_of(queries, offsets, log.item[flat], np.arange(len(users)))
    return Holdout(train, queries, truth)
