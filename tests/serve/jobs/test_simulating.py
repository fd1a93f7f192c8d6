"""The job `simulate`: its curves, going on after a stop, and what it refuses."""

import json

import numpy as np
import pytest
from tests.serve.jobs.conftest import done

from hexarec.classic import Popular, Random
from hexarec.data.worlds import world
from hexarec.eval.simulation import MEASURES, Simulation, percentiles
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.serve.jobs import simulating
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.kinds import KINDS


@pytest.fixture(scope="module")
def data():
    return world("checkerboard").data


def test_the_curves_of_two_pipelines(runner, tenant):
    tenant.fit("popular", {"retrieve": [{"use": "popular"}]})
    made = done(runner, tenant, "simulate", pipelines="default,popular", users=24, pages=3)
    curves = made.result["curves"]
    assert set(curves) == {"default", "popular"}
    for curve in curves.values():
        assert curve["visits"][-1] == 24 and len(curve["visits"]) == simulating.BATCHES
        assert {len(curve["values"][name]) for name in MEASURES} == {24}
        assert all(1 <= one <= 3 for one in curve["values"]["exit_page"] if one is not None)
        assert curve["said"] and any(one["why"] for one in curve["said"])
    shown = json.dumps(curves)
    assert not any(f'"{user}"' in shown for user in tenant.data().users.ids.ids.tolist())  # nobody is named
    popular, mixed = (
        np.nanmean(np.array(curves[one]["values"]["popularity"], float)) for one in ("popular", "default")
    )
    assert popular > mixed


def test_a_run_goes_on_where_it_stopped(runner, tenant, monkeypatch):
    whole = done(runner, tenant, "simulate", pipelines="default", users=24, pages=2).result["curves"]
    made, usual = [], simulating._add

    def counted(curve, work, system, number, tenant):
        made.append(number)
        if made == [0, 1, 2, 3]:
            raise OSError("the machine stopped here")
        usual(curve, work, system, number, tenant)

    monkeypatch.setattr(simulating, "_add", counted)
    job = tenant.shelf.add_job("simulate", {"pipelines": "default", "users": 24, "pages": 2})
    assert runner.one() and tenant.shelf.job(job.id).state == "failed"
    kept = simulating.read_curves(folder_of(tenant, job.id))
    assert len(kept["default"]["visits"]) == 3
    tenant.shelf.resume_job(job.id)
    assert runner.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "done" and made[4:] == list(range(3, simulating.BATCHES))
    assert ended.result["curves"] == whole


@pytest.mark.parametrize("args, said", [({}, "no pipeline"), ({"pipelines": "nothing"}, "no pipeline 'nothing'")])
def test_what_cannot_be_simulated_says_why(runner, tenant, args, said):
    job = tenant.shelf.add_job("simulate", args)
    assert runner.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "failed" and said in ended.error


def test_arguments_are_checked():
    from hexarec.core import OptionError

    for wrong in ({"users": 0}, {"users": "x"}, {"pages": 21}, {"seed": -1}, {"pipelines": ["a"]}, {"people": 1}):
        with pytest.raises(OptionError):
            KINDS["simulate"].check(wrong)


def test_percentiles_and_batches(data):
    assert percentiles(np.array([0, 5, 5, 9])).tolist() == [0.125, 0.5, 0.5, 0.875]
    people = Agent4Rec(mind="rules").fit(data)
    work = Simulation(data, people, 20, 4, 2, tag="")
    users = [name for i in range(4) for name in work.batch(i).user_ids()]
    assert len(users) == len(set(users)) == 20
    popular, drawn = (work.visited(one().fit(data), 0) for one in (Popular, Random))
    assert np.mean(popular.values["popularity"]) > np.mean(drawn.values["popularity"])
    assert popular.values["diversity"] == [None] * 5  # no tags were named
    assert work.visited(Popular().fit(data), 0) == popular
