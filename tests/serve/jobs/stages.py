"""Stages for tests of jobs; each is given to the table of kinds or to a pipeline by the test that needs it."""

from __future__ import annotations

import copy
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hexarec.core import Lists, OptionError, track
from hexarec.serve.jobs.shards import RecommendShard, Shards


@dataclass
class Bandit:
    """Retrieves by a value per item; learning adds the gains that lists brought."""

    def fit(self, data, *, seed=0):
        self.key_ = data.catalog.key
        self.value_ = np.zeros(data.n_items, np.float32)
        return self

    def learn(self, exposures):
        made = copy.copy(self)
        made.value_ = self.value_.copy()
        np.add.at(made.value_, exposures.shown.items, exposures.shown.fields["gain"])
        return made

    def retrieve(self, queries, k):
        free = ~queries.forbidden(len(self.value_))
        rows = [np.argsort(-np.where(one, self.value_, -np.inf), kind="stable")[:k].tolist() for one in free]
        return Lists.of(queries.catalog.key, [[row for row in one if free[i][row]] for i, one in enumerate(rows)])


def stepping(steps, seconds=0.02, label="step"):
    """The work of a job that takes its time."""

    def work(tenant, args, scratch):
        done = 0
        for number in track(range(steps), label):
            (scratch / "last").write_text(str(number))
            time.sleep(seconds)
            done += 1
        return {"steps": done}

    return work


def kind_that(kind, work):
    return replace(kind, work=work)


@dataclass(frozen=True)
class DyingShard(RecommendShard):
    """Kills the worker it is made in, the first time that shard 1 is asked for; keeps a note of every try."""

    notes: str = ""

    def __call__(self, number):
        note = Path(self.notes) / f"{number}-{time.time_ns()}"
        first = not any(Path(self.notes).glob(f"{number}-*"))
        note.touch()
        if number == 1 and first:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(number)


@dataclass(frozen=True)
class RefusingShard(Shards):
    """Refuses on purpose."""

    def __call__(self, number):
        raise OptionError("this shard refuses", hint="take another")
