"""The task `labels`: rankers score pairs that somebody labelled; AUC, uAUC, log loss and calibration of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    CapabilityError,
    DataError,
    Dataset,
    Exposures,
    Lists,
    OptionError,
    Queries,
    after,
    at_least,
    ragged,
    rng,
    same_lineage,
)  # fmt: skip
from hexarec.eval.floors import LABEL_FLOORS
from hexarec.eval.tasks import Round, askers, validity_of
from hexarec.metrics import Metric, Pairs, label_metrics, pair_mask
from hexarec.parts.ask import MISSING
from hexarec.pipeline.pipeline import Pipeline

METRICS = ("auc", "uauc", "uauc_users", "log_loss", "ece", "accuracy", "parse_failure_rate")


@dataclass(frozen=True, eq=False)
class LabelRound(Round):
    """A round of labelled pairs: `truth` holds every shown item with its gain, `candidates` the same without it."""

    def floors(self) -> dict[str, Any]:
        """random, popular, item mean gain, user mean gain."""
        return LABEL_FLOORS

    def answered(self, system: Any, queries: Queries, given: Lists | None, k: int) -> tuple[Lists, int]:
        """The shown items by the scores of the system's ranker, all of them whatever k; a failure is raised."""
        assert given is not None
        if isinstance(system, Pipeline):
            if system.rank_ is None:
                raise OptionError(
                    "the pipeline has no ranker, so nothing in it scores pairs", hint="fill the slot rank"
                )
        elif not callable(getattr(system, "rank", None)):
            raise OptionError(
                f"{type(system).__name__} cannot rank, so it scores no pairs", hint="labels need a ranker"
            )
        ranked: Lists = system.rank(queries, given)
        given.same(ranked)
        if not np.array_equal(np.sort(_places(given)), np.sort(_places(ranked))):
            raise DataError(f"{type(system).__name__} returned other items than it was given")
        return ranked, 0

    def measured(self, answers: Sequence[Lists], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
        """Label metrics of the scores; what got no score is a parse failure, counted and left out, never a guess."""
        if other := [m for m in metrics if m.family != "label"]:
            raise OptionError(f"{other[0]} does not measure labelled pairs", hint=f"take {', '.join(METRICS)}")
        parts = {name: self._part(name) for name in {m.slice for m in metrics}}
        out = []
        for lists in answers:
            scores = self.scores(lists)
            pairs = {name: Pairs.of_exposures(asked, scores) for name, asked in parts.items()}
            made = {str(m): label_metrics(pairs[m.slice], [m.name])[m.name] for m in metrics}
            out.append(made | validity_of(lists))
        return out

    def _part(self, name: str) -> Exposures:
        """The labelled pairs, those outside of a part with an unknown label."""
        if not name:
            return Exposures(self.queries, self.truth)
        log, row = self.train.interactions, ragged.segments(self.truth.offsets)
        events = np.append(np.diff(log.offsets), 0)  # row -1 is nobody
        users = events[self.queries.user_rows(self.train.users.ids)[row]]
        items = log.counts(len(self.queries.catalog))[self.truth.items]
        gain = np.where(pair_mask(name, users, items), self.truth.fields["gain"], np.float32(np.nan))
        return Exposures(self.queries, self.truth.with_field("gain", gain))

    def scores(self, answer: Lists) -> NDArray[np.float64]:
        """The scores of an answer in the order of `truth`, (pairs,); NaN where the system gave none."""
        made = np.where(unanswered(answer), np.nan, answer.scores.astype(np.float64))
        out = np.empty(len(made))
        out[np.argsort(_places(self.truth))] = made[np.argsort(_places(answer))]
        return out


def _places(lists: Lists) -> NDArray[np.int64]:
    """Every (list, item) as one number."""
    return (ragged.segments(lists.offsets) << 32) + lists.items


def unanswered(lists: Lists) -> NDArray[np.bool_]:
    """Which elements no round of a model's answer placed, by the notes `orders` and `rounds`, (len(items),) bool.

    A ranker puts such items last, which orders a list but says nothing of them. Without notes nothing is known.
    """
    lost = np.zeros(len(lists.items), bool)
    for i, note in enumerate(lists.notes):
        if "rounds" in note:
            said = _said(note)
            part = slice(*lists.offsets[i : i + 2])
            lost[part] = [item not in said for item in lists.items[part].tolist()]
    return lost


def _said(note: Mapping[str, Any]) -> set[int]:
    """The items some round gave a number for."""
    rounds = zip(note.get("orders", ()), note["rounds"], strict=False)
    return {
        item
        for order, scores in rounds
        for item, score in zip(order, scores, strict=False)
        if score is not None and score > MISSING
    }


@dataclass(frozen=True)
class Labels:
    """Score labelled pairs.

    exposures: the pairs to be scored, each shown item with its `gain` (above 0 = positive, NaN = unknown); `data` is
    then learned from as it is, and must not hold them. Without them the newest `share` of the data's own exposures is
    asked, and only what came before is learned from. max_users: a seeded sample of the users with all their pairs.
    A ranker sees the items of a list in an order that is drawn, so the place of an item does not tell its label.
    """

    data: Dataset
    exposures: Exposures | None = None
    share: float = 0.1
    max_users: int | None = None
    seed: int = 0
    metrics: tuple[str, ...] = METRICS

    def __post_init__(self) -> None:
        at_least(self, max_users=1)

    def round(self) -> LabelRound:
        """The cases. Raises CapabilityError where the data has no exposures, DataError where they cannot be cut."""
        train, asked, how = self.data, self.exposures, "given pairs"
        if asked is None and train.exposures is None:
            raise CapabilityError(
                f"{train.name} has no labelled pairs",
                hint="give Labels(data, exposures), for example exposures_from(file, data); or import impressions",
            )
        if asked is None:
            train, asked = self._cut()
            how = f"newest {self.share:.0%} of exposures"
        same_lineage(train.catalog.key, asked.shown.key)
        asked, total = self._sampled(asked)
        users = len(set(askers(asked.queries).tolist()))
        title = (
            f"{train.name}{' (simulated)' if train.simulated else ''}, labels: {how}, "
            f"{len(asked.shown.items):,} pairs of {users:,} users" + (f" sampled of {total:,}" if users < total else "")
        )
        return LabelRound(train, asked.queries, asked.shown, self._shuffled(asked.shown), title)

    def _cut(self) -> tuple[Dataset, Exposures]:
        """What came before the newest share of the exposures, and that share."""
        seen = self.data.exposures
        assert seen is not None
        if not 0.0 < self.share < 1.0:
            raise OptionError(f"share is {self.share}, not between 0 and 1")
        now = seen.queries.now
        if not len(now) or not np.isfinite(now).all() or not self.data.interactions.clock:
            raise DataError(
                f"the exposures of {self.data.name} have no moments, so they cannot be cut in time",
                field="now",
                hint="give the pairs to be scored: Labels(data, exposures)",
            )
        cut = float(np.sort(now)[min(int(len(now) * (1.0 - self.share)), len(now) - 1)])
        late = now >= cut
        return after(self.data, cut).train, replace(seen, queries=seen.queries.take(late), shown=seen.shown.take(late))

    def _sampled(self, asked: Exposures) -> tuple[Exposures, int]:
        """The pairs of at most `max_users` users, and how many users there were."""
        who = askers(asked.queries)
        users = np.unique(who)
        if self.max_users is None or len(users) <= self.max_users:
            return asked, len(users)
        kept = np.isin(who, rng(self.seed, "max_users").permutation(users)[: self.max_users])
        return replace(asked, queries=asked.queries.take(kept), shown=asked.shown.take(kept)), len(users)

    def _shuffled(self, shown: Lists) -> Lists:
        """The shown items without anything that came of them, in a drawn order inside each list."""
        drawn = rng(self.seed, "labels").random(len(shown.items))
        order = np.lexsort((drawn, ragged.segments(shown.offsets)))
        return Lists(shown.key, shown.offsets, shown.items[order], np.full(len(order), np.nan, np.float32))
