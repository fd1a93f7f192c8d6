"""What comes after the cut changes nothing before it: every split, every row of the tables, through an experiment."""

from dataclasses import replace

import numpy as np
import pytest
from tests.testing.test_contracts import STAGES

from hexarec.core import Exposures, Lists
from hexarec.core.options import clear_memo
from hexarec.data.split import global_time, leave_last
from hexarec.data.worlds import world
from hexarec.eval.experiment import Experiment
from hexarec.eval.labels import Labels
from hexarec.eval.tasks import Given, Ranking
from hexarec.testing._asking import rewritten

DATA = world("drift").data
CUT = float(np.sort(DATA.interactions.time)[int(0.9 * len(DATA.interactions))])
CHANGED = rewritten(DATA, CUT)
ROWS = {name: stage for name, stage in STAGES.items() if callable(getattr(stage, "retrieve", None))}


def test_the_training_part_of_a_cut_in_time_does_not_depend_on_the_future():
    assert DATA.key != CHANGED.key
    one, other = (Ranking(data).round() for data in (DATA, CHANGED))
    assert one.train.key == other.train.key and len(one.train.interactions)
    tuned, else_ = (global_time(data, 0.1, 0.1) for data in (DATA, CHANGED))
    assert tuned.train.key == else_.train.key
    assert np.array_equal(tuned.valid.truth.items, else_.valid.truth.items)


def test_leaving_out_the_last_event_does_not_depend_on_it():
    log = DATA.interactions
    last = log.offsets[1:] - 1
    turned = log.item.copy()
    turned[last] = (turned[last] + 1) % DATA.n_items
    other = leave_last(DATA.with_log(replace(log, item=turned)), False)
    assert leave_last(DATA, False).train.key == other.train.key


def test_newest_exposures_are_cut_off_with_what_came_of_them():
    users = np.arange(20)
    now = np.quantile(DATA.interactions.time, np.linspace(0.1, 0.99, 20))
    shown = Lists.of(DATA.catalog.key, [[u % 5, u % 5 + 1] for u in range(20)]).with_field(
        "gain", np.ones(40, np.float32)
    )
    data = replace(DATA, exposures=Exposures(DATA.queries(users, now=now), shown))
    made = Labels(data, share=0.25).round()
    moment = float(made.queries.now.min())
    other = Labels(rewritten(data, moment), share=0.25).round()
    assert made.train.key == other.train.key and len(made.train.exposures)
    assert not np.array_equal(made.truth.fields["gain"], other.truth.fields["gain"])


@pytest.mark.parametrize("name", ROWS)
def test_an_experiment_answers_alike_whatever_the_future_holds(name):
    """Asked the same questions, a system fitted after the future was changed gives identical lists and scores."""
    asked = Ranking(DATA, max_users=20).round()
    made = []
    for data in (DATA, CHANGED):
        clear_memo()
        train = Ranking(data).round().train
        # the whole log is fitted in between: what a class keeps of it would show in the next fit
        Experiment(Given(data, asked.queries, asked.truth, None, "whole"), {name: ROWS[name]}, floors=False).run()
        clear_memo()
        report = Experiment(
            Given(train, asked.queries, asked.truth, None, "cut"), {name: ROWS[name]}, floors=False
        ).run()
        made.append(report.lists[name])
    one, other = made
    assert np.array_equal(one.items, other.items) and np.array_equal(one.scores, other.scores, equal_nan=True)


def test_pairs_of_the_truth_in_the_training_log_are_told():
    asked = Ranking(DATA, max_users=20).round()
    clean = Experiment(
        Given(asked.train, asked.queries, asked.truth, None, "cut"), {"p": ROWS["popular"]}, floors=False
    )
    assert "truth in training" not in clean.run().manifest
    leaky = Experiment(Given(DATA, asked.queries, asked.truth, None, "whole"), {"p": ROWS["popular"]}, floors=False)
    total = len(asked.truth.items)
    assert leaky.run().manifest["truth in training"] == f"{total} of {total} pairs stand in the training log"
