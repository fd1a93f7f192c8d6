"""Tasks: what is asked, what is right, and what the title of a table must say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from hexarec.core import Dataset, Lists, OptionError, Queries, digest, ragged, rng, same_lineage
from hexarec.data.split import Cases, Split, cold_items, cold_users, global_time, leave_last, system_cold

METRICS = ("recall@10", "ndcg@10", "mrr@10", "hit@1", "coverage@10", "gini@10", "novelty@10", "popularity_lift@10")
SLICES = ("recall@10[cold]", "recall@10[warm]", "recall@10[head]", "recall@10[tail]", "ndcg@10[cold_users:5]")
SplitName = Literal["global", "last", "cold-items", "cold-users", "system-cold"]


@dataclass(frozen=True, eq=False)
class Round:
    """One evaluation: what may be learned from, the questions, what is right, and given candidates if any."""

    train: Dataset
    queries: Queries
    truth: Lists
    candidates: Lists | None
    title: str

    @property
    def key(self) -> str:
        """A hash of the title, the questions, their moments, the truth and the candidates."""
        given = [] if self.candidates is None else [self.candidates.offsets, self.candidates.items]
        asked = self.queries
        return digest(
            self.title, asked.user_ids(), asked.now, asked.seed, asked.history.offsets, asked.history.item,
            self.truth.offsets, self.truth.items, *given,
        )  # fmt: skip


class Task(Protocol):
    """Supplies cases; the experiment does the rest."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the table, unless the experiment names others."""

    def round(self) -> Round:
        """The evaluation, the same at every call."""


@dataclass(frozen=True)
class Ranking:
    """Rank the whole catalog (default) or given candidates.

    split: global (one moment for all, the default), last (each user's last event), cold-items, cold-users, system-cold.
    part: test trains on all that lies before the test, validation included; valid is for tuning. candidates: None =
    the full catalog; a number = that many sampled unseen items beside the truth, printed in the title. max_users: a
    seeded sample of the questions, printed as well.
    """

    data: Dataset
    split: SplitName = "global"
    part: Literal["valid", "test"] = "test"
    candidates: int | None = None
    max_users: int | None = None
    seed: int = 0
    metrics: tuple[str, ...] = METRICS + SLICES

    def round(self) -> Round:
        """Cut the data and draw what is to be drawn."""
        made = self._split()
        cases = made.test if self.part == "test" else made.valid
        if cases is None:
            raise OptionError(f"the split {self.split!r} has no validation part")
        total = len(cases)
        if self.max_users is not None and total > self.max_users:
            rows = np.sort(rng(self.seed, "max_users").permutation(total)[: self.max_users])
            cases = Cases(cases.queries.take(rows), cases.truth.take(rows))
        title = f"{self.data.name}{' (simulated)' if self.data.simulated else ''}, {self.split} split, {self.part}"
        drawn = None
        if self.candidates is not None:
            drawn = sampled(cases, self.candidates, self.seed)
            title += f", SAMPLED candidates: the truth and {self.candidates} random unseen items"
        else:
            title += ", full catalog"
        title += f", {len(cases)} users" + (f" sampled of {total}" if len(cases) < total else "")
        return Round(made.train, cases.queries, cases.truth, drawn, title)

    def _split(self) -> Split:
        tuning = self.part == "valid"
        splits: dict[str, Callable[[], Split]] = {
            "global": lambda: global_time(self.data, 0.1 if tuning else 0.0, 0.1),
            "last": lambda: leave_last(self.data, tuning),
            "cold-items": lambda: cold_items(self.data, seed=self.seed),
            "cold-users": lambda: cold_users(self.data, seed=self.seed),
            "system-cold": lambda: system_cold(self.data),
        }
        if self.split not in splits:
            raise OptionError(f"unknown split {self.split!r}", hint=f"use one of {', '.join(splits)}")
        return splits[self.split]()


@dataclass(frozen=True)
class Given:
    """Cases from elsewhere, for example a paper's own: queries, truth and candidates as they are."""

    train: Dataset
    queries: Queries
    truth: Lists
    candidates: Lists | None
    title: str
    metrics: tuple[str, ...] = METRICS

    def round(self) -> Round:
        """The cases. Raises LineageError when they are about different catalogs."""
        same_lineage(self.train.catalog.key, self.truth.key)
        return Round(self.train, self.queries, self.truth, self.candidates, self.title)


def sampled(cases: Cases, n: int, seed: int) -> Lists:
    """For each question its truth and n distinct random permitted items, shuffled: no place tells the answer."""
    parts = []
    asked: dict[str, int] = {}  # the draw depends on the user, not on the place in the batch
    for i, name in enumerate(cases.queries.user_ids()):
        asked[name] = asked.get(name, 0) + 1
        draw = rng(seed, "candidates", name, asked[name])
        true = cases.truth[i].items
        banned = cases.queries.take(np.array([i])).forbidden(len(cases.queries.catalog))[0]
        banned[true] = True
        open_ = np.flatnonzero(~banned)
        drawn = draw.permutation(open_)[:n]
        parts.append(draw.permutation(np.concatenate([true, drawn])).astype(np.int32))
    offsets = ragged.offsets_of(np.array([len(part) for part in parts]))
    items = np.concatenate(parts or [np.zeros(0, np.int32)]).astype(np.int32)
    return Lists(cases.truth.key, offsets, items, np.full(len(items), np.nan, np.float32))
