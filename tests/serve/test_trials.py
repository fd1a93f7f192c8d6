"""Experiments on live traffic: assignment, outcomes, guardrails, interleaving, stop and ship."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tests.serve.conftest import CLASSIC, URL, TestClient, backend_over, make_app

from hexarec.core import rng
from hexarec.metrics.assignment import assign
from hexarec.serve import trials
from hexarec.serve.errors import MissingError
from hexarec.serve.policies import outcomes_of
from hexarec.serve.store.rows import EventRow, ShownRow
from hexarec.serve.trials import readings

POPULAR = {"retrieve": [{"use": "popular"}]}
ANALYSE = readings.analyse
RANDOM = {"retrieve": [{"use": "random"}]}


@pytest.fixture
def served(tmp_path, data):
    backend = backend_over(tmp_path, data, CLASSIC)
    tenant = backend.service.tenant()
    tenant.fit("popular", POPULAR)
    tenant.fit("random", RANDOM)
    with TestClient(make_app(backend), base_url=URL) as api:
        api.tenant = tenant
        yield api


def create(api, name="home", **more):
    body = {"name": name, "arms": {"control": "popular", "new": "random"}, **more}
    return api.post("/v1/experiments", json=body)


def move(api, state, name="home", **more):
    return api.patch(f"/v1/experiments/{name}", json={"state": state, **more})


def shown(api, user, n=5):
    return api.post("/v1/recommend", json={"user_id": user, "n": n}).json()


def click(api, user, answer, place, kind="click"):
    item = answer["items"][place]["item_id"]
    event = {"event_id": f"{answer['request_id']}-{place}", "user_id": user, "item_id": item, "type": kind,
             "request_id": answer["request_id"], "position": place + 1}  # fmt: skip
    assert api.post("/v1/events", json=event).status_code == 201


def reading(api, name="home"):
    api.tenant.shelf.shown_between(0, 1)  # what is logged soon is there once a later write has been answered
    api.put("/v1/users/flush", json={})
    return api.get(f"/v1/experiments/{name}").json()["reading"]


def test_users_get_their_arm_and_keep_it(served):
    create(served, salt="s")
    assert {shown(served, f"u{i}")["variant"] for i in range(5)} == {None}
    assert move(served, "running").status_code == 200
    answers = {f"u{i}": shown(served, f"u{i}") for i in range(40)}
    for user, answer in answers.items():
        arm = assign("s", user, ["control", "new"], [0.5, 0.5])
        assert answer["variant"] == arm and answer["pipeline"] == {"control": "popular", "new": "random"}[arm]
    again = {user: shown(served, user)["variant"] for user in answers}
    assert again == {user: answer["variant"] for user, answer in answers.items()}
    assert len({answer["variant"] for answer in answers.values()}) == 2


def test_a_named_pipeline_takes_no_part(served):
    create(served)
    move(served, "running")
    told = served.post("/v1/recommend", json={"user_id": "u1", "pipeline": "default"}).json()
    assert told["pipeline"] == "default" and told["variant"] is None
    assert reading(served)["units"] == {"control": 0, "new": 0}


def test_the_better_arm_is_found_and_shipped(served):
    create(served, salt="s", guardrails={"hides": 0.2, "seconds": 5.0})
    move(served, "running")
    arms = Counter()
    for i in range(120):
        answer = shown(served, f"u{i}")
        arms[answer["variant"]] += 1
        likely = 0.2 if answer["variant"] == "control" else 0.7
        if rng(0, "click", i).random() < likely:
            click(served, f"u{i}", answer, 1)
    told = reading(served)
    assert told["units"] == dict(arms)
    effect = told["effects"]["new"]
    assert effect["low"] < 0.5 < effect["high"] and effect["p"] < 0.01 and effect["stopped"] == ""
    rails = told["guardrails"]["new"]
    assert rails["hides"]["verdict"] == "held" and rails["seconds"]["verdict"] == "held"
    assert move(served, "shipped", ship="new").json()["shipped"] == "new"
    after = shown(served, "u0")
    assert after["pipeline"] == "random" and after["variant"] is None
    assert move(served, "running").status_code == 409


def test_a_guardrail_that_breaks_is_said(served):
    create(served, guardrails={"hides": 0.1})
    move(served, "running")
    for i in range(100):
        answer = shown(served, f"u{i}")
        if answer["variant"] == "new":
            click(served, f"u{i}", answer, 0, "hide")
    assert reading(served)["guardrails"]["new"]["hides"]["verdict"] == "broken"


def test_an_experiment_is_read_before_it_says_anything(served):
    create(served, guardrails={"hides": 0.1}, looks=2, users=100)
    move(served, "running")
    told = reading(served)
    assert told["guardrails"]["new"]["hides"] == {
        "harm": None, "low": None, "high": None, "verdict": "unread", "margin": 0.1,
    }  # fmt: skip
    assert told["effects"]["new"]["effect"] is None and told["effects"]["new"]["stopped"]


def test_an_assignment_that_leaks_stops_the_reading(served):
    create(served, shares={"control": 0.5, "new": 0.5})
    move(served, "running")
    body = dict(trials.of(served.tenant, "home").body)
    for i in range(300):
        arm = "control" if rng(1, "leak", i).random() < 0.7 else "new"
        row = ShownRow(f"r{i}", body["started"] + 1, "p", "p@1", ("i001",), (1.0,), user=f"u{i}",
                              experiment="home", arm=arm)  # fmt: skip
        served.tenant.shelf.log_shown_soon([row]).result(5)
    effect = trials.read(served.tenant, "home", body["started"] + 10)["effects"]["new"]
    assert effect["effect"] is None and "sample" in effect["stopped"] and effect["sample_ratio_p"] < 1e-3


def test_late_events_and_other_kinds_do_not_count(served, monkeypatch):
    create(served, kinds=["purchase"], window=60.0)
    move(served, "running")
    answer = shown(served, "u1")
    click(served, "u1", answer, 0, "click")
    reading(served)
    started = trials.of(served.tenant, "home").body["started"]
    late = {"event_id": "late", "user_id": "u1", "item_id": answer["items"][1]["item_id"], "type": "purchase",
            "request_id": answer["request_id"], "time": started + 100}  # fmt: skip
    assert served.post("/v1/events", json=late).status_code == 201
    shown_rows = served.tenant.shelf.shown_between(started, started + 50, experiment="home")
    outcomes = trials.outcomes(served.tenant, [row.request for row in shown_rows])
    body = trials.of(served.tenant, "home").body
    assert [event.kind for event in outcomes[answer["request_id"]]] == ["click", "purchase"]
    assert counted(served, monkeypatch, body, shown_rows, outcomes)["wanted"] == [0.0]
    body = {**body, "window": 200.0}
    assert counted(served, monkeypatch, body, shown_rows, outcomes)["wanted"] == [1.0]


def counted(served, monkeypatch, body, shown_rows, outcomes):
    """The values of the units, and what is known of them from before, as they reach the analysis."""
    seen = {}

    def analyse(values, group, *, over=None, before=None, **rest):
        seen.update(wanted=values.tolist(), before=before)
        return ANALYSE(values, group, over=over, before=before, **rest)

    monkeypatch.setattr(readings, "analyse", analyse)
    readings._effects(served.tenant, body, shown_rows, outcomes)
    return seen


def test_the_covariate_is_from_before_the_start_whatever_came_after(served, monkeypatch):
    create(served)
    move(served, "running")
    body = dict(trials.of(served.tenant, "home").body)
    rows = [EventRow(f"b{i}", "i001", body["started"] - 100 + i, "click", "busy") for i in range(3)]
    rows += [EventRow(f"a{i}", "i001", body["started"] + i, "click", "busy") for i in range(600)]
    served.tenant.shelf.add_events(rows)
    row = ShownRow("r", body["started"] + 1, "p", "p@1", ("i001",), (1.0,), user="busy", experiment="home",
                          arm="new")  # fmt: skip
    assert counted(served, monkeypatch, body, [row], {})["before"].tolist() == [3.0]


def test_who_was_assigned_and_got_nothing_counts(served):
    create(served)
    move(served, "running")
    nothing = {"field": "genres", "op": "=", "value": "none"}
    for i in range(8):
        assert served.post("/v1/recommend", json={"user_id": f"u{i}", "filter": nothing}).json()["items"] == []
    assert sum(reading(served)["units"].values()) == 8


def test_interleaving_prefers_what_is_clicked(served):
    create(served, kind="interleave", arms={"a": "popular", "b": "random"})
    move(served, "running")
    for i in range(60):
        answer = shown(served, f"u{i}", n=6)
        assert len({one["item_id"] for one in answer["items"]}) == 6
        reading(served) if i == 0 else None
        row = served.tenant.shelf.shown(answer["request_id"]) or _logged(served, answer["request_id"])
        mine = [place for place, team in enumerate(row.teams) if team == "b"]
        if mine:
            click(served, f"u{i}", answer, mine[0])
    told = reading(served)
    assert told["preferred"] == "a" and told["preference"]["high"] < 0
    assert told["preference"]["users"] == 60


def _logged(api, request):
    api.put("/v1/users/flush", json={})
    return api.tenant.shelf.shown(request)


def test_equal_arms_are_not_told_apart_and_swapping_flips_the_sign(served):
    found = []
    for name, arms in (("one", {"a": "popular", "b": "random"}), ("two", {"b": "random", "a": "popular"})):
        create(served, name, kind="interleave", arms=arms, layer=name)
        move(served, "running", name)
        shown_rows, outcomes = [], {}
        for i in range(40):
            teams = tuple("a" if (i + place) % 2 else "b" for place in range(4))
            row = ShownRow(f"q{i}", 1.0, "p", "p", ("w", "x", "y", "z"), (None,) * 4, user=f"u{i}", teams=teams)
            shown_rows.append(row)
            outcomes[row.request] = [EventRow(f"e{i}", "x", 2.0, "click", f"u{i}")] if i % 3 else []
        body = trials.of(served.tenant, name).body
        found.append(readings._preference(body, shown_rows, outcomes)["preference"]["value"])
        move(served, "stopped", name)
    assert found[0] == pytest.approx(-found[1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"arms": {"only": "popular", "x": "nowhere"}}, "no pipeline"),
        ({"guardrails": {"taste": 1.0}}, "no guardrail"),
        ({"shares": {"control": 0.9, "other": 0.1}}, "different arms"),
        ({"shares": {"control": 0.9, "new": 0.2}}, "do not sum to 1"),
        ({"kind": "interleave", "arms": {"a": "popular", "b": "random", "c": "default"}}, "exactly two"),
    ],
)
def test_what_cannot_run_is_refused(served, more, said):
    answer = create(served, **more)
    assert answer.status_code in (404, 422) and said in answer.text


def test_states_and_one_experiment_at_a_time(served):
    assert create(served).status_code == 201
    assert create(served).status_code == 409
    assert move(served, "stopped").status_code == 409
    assert move(served, "running").status_code == 200
    create(served, "second")
    assert "another experiment runs" in move(served, "running", "second").text
    create(served, "third", layer="other")
    assert move(served, "running", "third").status_code == 409  # it would run without any traffic
    assert move(served, "shipped", ship="none").status_code == 422
    assert move(served, "stopped").status_code == 200
    assert move(served, "running", "third").status_code == 200
    ended = trials.of(served.tenant, "home").body["ended"]
    assert move(served, "shipped", ship="new").json()["ended"] == ended
    assert move(served, "running", "nowhere").status_code == 404


def test_shown_lists_and_outcomes_become_exposures(served, data):
    user = data.users.ids.ids[0]
    answer = shown(served, user)
    click(served, user, answer, 2, "like")
    reading_flush = served.put("/v1/users/flush", json={})
    assert reading_flush.status_code == 200
    made = outcomes_of(served.tenant, "default", days=1.0)
    assert len(made) == 1 and made.policy == "default"
    assert made.shown.fields["gain"].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert made.shown.fields["propensity"].tolist() == [1.0] * 5
    before = int(np.diff(data.interactions.offsets)[0])
    assert made.queries.history.lengths.tolist() == [before]
    assert outcomes_of(served.tenant, "popular", days=1.0) is None


def test_an_exploring_pipeline_logs_what_it_needs_to_be_judged_by(tmp_path, data):
    config = {**CLASSIC, "control": [{"use": "plackettluce", "temperature": 2.0}]}
    backend = backend_over(tmp_path, data, config)
    with TestClient(make_app(backend), base_url=URL) as api:
        lists = [tuple(one["item_id"] for one in shown(api, "stranger")["items"]) for _ in range(12)]
        api.put("/v1/users/flush", json={})
        made = outcomes_of(backend.service.tenant(), "default", days=1.0)
    assert len(set(lists)) > 3 and len(made) == 12
    chance = made.shown.fields["propensity"]
    assert (chance > 0).all() and (chance < 1).all() and made.shown.fields["slot"].tolist() == [0, 1, 2, 3, 4] * 12


def test_a_drawn_list_that_was_moved_afterwards_has_no_known_propensity(tmp_path, data):
    control = [{"use": "plackettluce", "temperature": 2.0}, {"use": "mmr", "share": 0.9}]
    backend = backend_over(tmp_path, data, {**CLASSIC, "control": control})
    with TestClient(make_app(backend), base_url=URL) as api:
        shown(api, "stranger")
        api.put("/v1/users/flush", json={})
        made = outcomes_of(backend.service.tenant(), "default", days=1.0)
    assert np.isnan(made.shown.fields["propensity"]).all() and len(made.shown.items) == 5


def test_what_happened_in_a_visit_is_its_history(served, data):
    item = data.catalog.items.ids[3]
    event = {"event_id": "v", "session_id": "s1", "item_id": item, "type": "click"}
    assert served.post("/v1/events", json=event).status_code == 201
    served.post("/v1/recommend", json={"session": {"id": "s1"}, "n": 3})
    served.put("/v1/users/flush", json={})
    made = outcomes_of(served.tenant, "default", days=1.0)
    assert made.queries.history.item.tolist() == [3]


def test_a_history_is_what_it_was_when_the_list_was_shown(served, data, monkeypatch):
    """However much came after it."""
    from hexarec.serve import policies

    monkeypatch.setattr(policies, "HISTORY", 5)
    shelf, ids = served.tenant.shelf, data.catalog.items.ids
    row = ShownRow("r", 100.5, "default", "default@1", (ids[0],), (1.0,), user="many", session="v")
    shelf.log_shown_soon([row, replace(row, request="later", time=150.5)]).result(5)
    shelf.add_events([EventRow(f"m{n}", ids[n % 24], float(n), user="many") for n in range(60, 200)])
    shelf.add_events([EventRow(f"v{n}", ids[23], float(n), session="v") for n in range(99, 110)])
    made = outcomes_of(served.tenant, "default", days=1.0, now=1_000.0)
    first, later = (made.queries.history.item[slice(*made.queries.history.offsets[i : i + 2])] for i in range(2))
    assert first.tolist() == [n % 24 for n in (96, 97, 98, 99)] + [23, 100 % 24, 23]
    assert later.tolist()[-5:] == [n % 24 for n in range(146, 151)]


def test_experiments_are_known_while_the_store_cannot_be_read(served, monkeypatch):
    create(served, salt="s")
    move(served, "running")
    tenant = served.tenant
    tenant.documents("experiment")
    monkeypatch.setattr(tenant.shelf, "names", lambda kind: (_ for _ in ()).throw(MissingError("down")))
    tenant._documents["experiment"] = (-10.0, tenant._documents["experiment"][1])
    assert [one.name for one in trials.running(tenant)] == ["home"]
