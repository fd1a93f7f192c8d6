"""Stages for tests of jobs; each is given to the table of kinds or to a pipeline by the test that needs it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import numpy as np

from hexarec.core import Lists, track


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
