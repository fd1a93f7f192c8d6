"""The job `simulate`: its curves, going on after a stop, and what it refuses."""

import json

import numpy as np
import pytest
from tests.serve.jobs.conftest import done

from hexarec.classic import Popular, Random
from hexarec.core import OptionError, run
from hexarec.data.worlds import world
from hexarec.eval.simulation import MEASURES, Simulation, percentiles
from hexarec.lm.base import failed
from hexarec.lm.fake import Overlap, Scripted
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.parts.labelmind import LabelMind
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


@pytest.fixture
def asked(monkeypatch):
    """Questions to the model that plays the users: one that answers by shared words."""
    texts = []

    class Heard(Overlap):
        def label(self, prompts, labels):
            texts.extend(prompts)
            return super().label(prompts, labels)

    monkeypatch.setattr(simulating, "open_lm", lambda spec: Heard())
    return texts


@pytest.mark.parametrize("users, pages, pipelines", [(5, 2, "default"), (9, 5, "default"), (4, 3, "default,popular")])
def test_what_a_model_is_asked_was_told_before(runner, tenant, asked, users, pages, pipelines):
    if "popular" in pipelines:
        tenant.fit("popular", {"retrieve": [{"use": "popular"}]})
    args = {"pipelines": pipelines, "users": users, "pages": pages, "model": "fake:overlap"}
    done(runner, tenant, "simulate", **args)
    told = simulating.cost_of(args, tenant.data().n_users, labels=True).calls
    assert told / 2 <= len(asked) <= told * 2, (len(asked), told)


def test_a_model_without_labels_was_told_to_be_asked_less(runner, tenant, monkeypatch):
    """Two answers a page and an interview, and no calibration."""
    pages = []
    judged = {"handle": "A", "suits": True, "take": False, "rating": 3}
    page = {"items": [judged], "content": True, "leave": False, "why": "nothing new", "score": 5}

    class Writes(Scripted):
        can = Scripted(str).can - {"label"}

    def answer(prompt):
        pages.append(prompt)
        return json.dumps(page)

    monkeypatch.setattr(simulating, "open_lm", lambda spec: Writes(answer))
    args = {"pipelines": "default", "users": 6, "pages": 3, "model": "openai:m"}
    done(runner, tenant, "simulate", **args)
    told = simulating.cost_of(args, tenant.data().n_users, simulating.labels_of("openai:m")).calls
    assert told / 2 <= len(pages) <= told * 2, (len(pages), told)
    assert told == 6 * (2 * 2 + 1)


def test_steps_that_a_model_loses_are_counted_with_the_curve(runner, tenant, monkeypatch):
    class Loses(Scripted):
        can, asked = Scripted(str).can - {"label"}, 0

        def generate(self, prompts, within=None):
            self.asked += 1
            made = super().generate(prompts, within)
            return made if self.asked % 2 else [failed("the server broke down") for _ in prompts]

    monkeypatch.setattr(simulating, "open_lm", lambda spec: Loses(lambda prompt: "{}"))
    monkeypatch.setattr(simulating, "guarded", lambda lm: lm)
    args = {"pipelines": "default", "users": 3, "pages": 2, "model": "openai:m"}
    assert done(runner, tenant, "simulate", **args).result["curves"]["default"]["failed"] > 0
    del args["model"]
    assert done(runner, tenant, "simulate", **args).result["curves"]["default"]["failed"] == 0


def test_no_more_users_are_told_than_the_data_have(data):
    args = {"pipelines": "default", "users": 10_000, "pages": 5, "model": "gguf:smollm2"}
    told = simulating.cost_of(args, data.n_users, labels=True)
    assert told == simulating.cost_of({**args, "users": data.n_users}, data.n_users, labels=True)
    assert told.calls < 10_000 and told.seconds == told.calls * simulating.SECONDS


def test_labels_by_name():
    assert simulating.labels_of("gguf:smollm2") and simulating.labels_of("fake:overlap")
    assert not simulating.labels_of("openai:http://nobody:1/v1#m")
    with pytest.raises(OptionError, match="no model called"):
        simulating.labels_of("smollm2")


def test_a_model_that_says_no_to_all_is_calibrated(runner, tenant, asked, monkeypatch):
    """By itself SmolLM2 finds that nothing suits anybody, and no list can be better than another."""
    monkeypatch.setattr(LabelMind, "_yes", lambda self, texts, langs: np.linspace(-9.0, -8.0, len(texts)))
    curves = done(runner, tenant, "simulate", pipelines="default", users=8, pages=2, model="fake:overlap").result[
        "curves"
    ]
    assert any("you liked" in one["why"] and "0 suit" not in one["why"] for one in curves["default"]["said"])


def test_few_users_are_few_steps_and_only_those_are_told(runner, tenant, asked, monkeypatch):
    told, usual = [], simulating.track

    def heard(items, label, total=None):
        def tell(event):
            if event["kind"] == "progress":
                told.append((event["label"], event["done"], event["total"]))

        with run(emit=tell):
            yield from usual(items, label, total)

    monkeypatch.setattr(simulating, "track", heard)
    done(runner, tenant, "simulate", pipelines="default", users=3, pages=2, model="fake:overlap")
    assert told == [("users", 0, 1), ("users", 1, 1), *(("visits", n, 3) for n in range(4))]


def test_the_last_page_ends_every_visit_however_many_there_are(runner, tenant, data):
    made = done(runner, tenant, "simulate", pipelines="default", users=12, pages=1).result["curves"]["default"]
    assert None not in made["values"]["satisfaction"] and set(made["values"]["exit_page"]) == {1.0}
    assert simulating._people(data, "", 8, 0).max_pages == 8


def test_arguments_are_checked():
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
