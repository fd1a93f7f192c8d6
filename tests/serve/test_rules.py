"""Rules that end an experiment: read from words, worked out over the newest lists, acted on by the server."""

import time
from dataclasses import replace

import pytest
from tests.serve.conftest import CLASSIC, URL, TestClient, backend_over, make_app
from tests.serve.jobs.conftest import eventually

from hexarec.core import OptionError
from hexarec.data.worlds import world
from hexarec.serve import trials
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.rules import LEAST, METRICS, NEWEST, Rule, Seen, broken
from hexarec.serve.store.rows import EventRow, ShownRow
from hexarec.serve.watch import EVERY, Watch

SLOW = "p95_ms>800"


def shown(n, **more):
    return ShownRow(f"r{n}-{more.get('arm')}-{more.get('time')}", **{
        "time": 10.0, "pipeline": "p", "policy": "p@1", "items": ("i001",), "propensities": (1.0,), "user": f"u{n}",
        "experiment": "home", "arm": "new", "seconds": 0.1, **more,
    })  # fmt: skip


def seen(lists, events=None):
    return Seen(lists, events or [[]] * len(lists), ["click"])


# ------------------------------------------------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("words", "rule"),
    [("p95_ms>800", Rule("p95_ms", ">", 800.0)), (" hides >= 0.5 ", Rule("hides", ">=", 0.5)),
     ("wanted<1e-2", Rule("wanted", "<", 0.01)), ("distinct <= -3", Rule("distinct", "<=", -3.0))],
)  # fmt: skip
def test_rules_are_read(words, rule):
    assert Rule.parse(words) == rule == Rule.parse(str(rule))


@pytest.mark.parametrize(
    ("words", "said"),
    [("", "no rule"), ("p95_ms", "no rule"), ("p95_ms=800", "no rule"), ("p95_ms>800>900", "no number"),
     ("p95>800", "no metric 'p95'"), ("p95_ms>fast", "no number"), ("p95_ms>nan", "no number"), ("p95_ms>inf", "no number"),
     ("__class__>1", "no metric"), ("p95_ms!=3", "no rule"), ("p95_ms > 1 or 1", "no rule")],
)  # fmt: skip
def test_what_is_no_rule_is_refused(words, said):
    with pytest.raises(OptionError, match=said) as caught:
        Rule.parse(words)
    assert caught.value.hint


def test_a_misspelt_metric_is_guessed():
    with pytest.raises(OptionError) as caught:
        Rule.parse("p95ms>1")
    assert "did you mean 'p95_ms'" in caught.value.hint


# ------------------------------------------------------------------------------------------------------ values
def test_every_metric_is_what_it_says():
    lists = [shown(n, seconds=n / 1000, degraded=n % 4 == 0, items=() if n % 10 == 0 else ("a", "b", "b"))
             for n in range(1, 201)]  # fmt: skip
    lists[0] = replace(lists[0], seconds=None)
    events = [[EventRow("e", "a", 1.0, kind)] for kind in ["click", "hide", "view", "skip"] * 50]
    now = seen(lists, events)
    made = {name: how(now) for name, (_, how) in METRICS.items()}
    assert made == pytest.approx({
        "p50_ms": 101.0, "p95_ms": 190.1, "p99_ms": 198.02, "degraded": 0.25, "empty": 0.1, "distinct": 1.8, "wanted": 0.25,
        "hides": 0.5,
    })  # fmt: skip


def test_a_rule_needs_enough_lists_and_names_what_met_it():
    slow = [shown(n, seconds=1.0) for n in range(LEAST)]
    assert broken([SLOW], {"new": seen(slow[1:])}) is None
    assert broken(["hides>1", SLOW], {"a": seen([shown(n) for n in range(LEAST)]), "b": seen(slow)}) == {
        "rule": SLOW, "arm": "b", "value": 1000.0, "lists": LEAST,
    }  # fmt: skip
    unknown = seen([replace(one, seconds=None) for one in slow])
    assert broken([SLOW, "p95_ms<1"], {"new": unknown}) is None, "what nobody measured meets no rule"


# ------------------------------------------------------------------------------------------------------ acting
@pytest.fixture
def served(tmp_path):
    backend = backend_over(tmp_path, world("checkerboard").data, CLASSIC)
    tenant = backend.service.tenant()
    tenant.fit("other", {"retrieve": [{"use": "popular"}]})
    yield tenant
    backend.service.close()


ARMS = {"arms": {"control": "default", "new": "other"}}


def begun(tenant, **more):
    trials.created(tenant, "home", {**ARMS, "stop_if": [SLOW], **more}, 1.0)
    trials.moved(tenant, "home", "running", 5.0)


def logged(tenant, rows):
    tenant.shelf.log_shown_soon(list(rows)).result(10)


def test_the_server_stops_an_experiment_whose_variant_is_slow(served):
    begun(served)
    watch = Watch()
    logged(served, [shown(n) for n in range(NEWEST)])
    assert watch.look(served, 20.0) == []
    logged(served, [shown(n, time=21.0, seconds=2.0) for n in range(60)])
    assert watch.look(served, 21.0 + EVERY) == ["home"]
    body = trials.of(served, "home").body
    assert body["state"] == "stopped" and body["ended"] == 26.0
    assert body["stopped_by"] == {"rule": SLOW, "arm": "new", "value": body["stopped_by"]["value"], "lists": NEWEST,
                                  "said": "p95_ms>800: 2000 in arm new, its newest 1000 lists"}  # fmt: skip
    assert trials.read(served, "home", 30.0)["stopped_by"]["rule"] == SLOW
    row = served.shelf.audit_rows()[-1]
    assert (row.who, row.what) == ("server", "experiment stopped") and row.target.startswith("home: p95_ms>800: 2000")
    assert watch.look(served, 40.0) == [] and served.shelf.audit_rows()[-1] == row


def test_control_named_pipelines_and_other_experiments_stop_nothing(served):
    begun(served)
    logged(served, [shown(n, arm="control", seconds=9.0) for n in range(300)])
    logged(served, [shown(n, arm=None, experiment=None, seconds=9.0) for n in range(300)])
    logged(served, [shown(n, experiment="another", seconds=9.0, time=11.0) for n in range(300)])
    logged(served, [shown(n) for n in range(LEAST)])
    assert Watch().look(served, 20.0) == [] and trials.of(served, "home").body["state"] == "running"


def test_events_within_the_window_count(served):
    begun(served, stop_if=["hides>0.5"], window=60.0)
    logged(served, [shown(n) for n in range(LEAST)])
    late = [EventRow(f"late{n}", "i001", 200.0, "hide", f"u{n}", request=f"r{n}-None-None") for n in range(LEAST)]
    served.shelf.add_events(late)
    watch = Watch()
    assert watch.look(served, 300.0) == []
    served.shelf.add_events([one._replace(id=f"in{n}", time=30.0) for n, one in enumerate(late)])
    assert watch.look(served, 310.0) == ["home"]


def test_both_lists_of_an_interleaving_are_one(served):
    begun(served, kind="interleave")
    logged(served, [shown(n, arm=None, teams=("control",), seconds=1.0) for n in range(LEAST)])
    assert Watch().look(served, 20.0) == ["home"]
    assert trials.of(served, "home").body["stopped_by"]["arm"] == "both"


def test_two_servers_stop_it_once(served):
    begun(served)
    logged(served, [shown(n, seconds=2.0) for n in range(LEAST)])
    other = Tenant(served.shelf, served.folder)
    other.refresh()
    assert trials.running(other), "both believe that it runs"
    assert [Watch().look(one, 20.0) for one in (served, other)] == [["home"], []]
    assert len([row for row in served.shelf.audit_rows() if row.what == "experiment stopped"]) == 1
    other.close()


def test_a_running_server_stops_it_by_itself(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, CLASSIC)
    tenant = backend.service.tenant()
    tenant.fit("other", {"retrieve": [{"use": "popular"}]})
    with TestClient(make_app(backend), base_url=URL) as api:
        assert (
            api.post("/v1/experiments", json={"name": "home", **ARMS, "stop_if": ["distinct < 6"]}).status_code == 201
        )
        api.patch("/v1/experiments/home", json={"state": "running"})
        for n in range(2 * LEAST + 40):
            api.post("/v1/recommend", json={"user_id": f"u{n}", "n": 5})
        told = eventually(lambda: (now := api.get("/v1/experiments/home").json())["state"] == "stopped" and now, 20.0)
        assert told["stopped_by"]["rule"] == "distinct<6" and told["stopped_by"]["value"] == 5.0
        assert told["ended"] <= time.time()
        after = api.post("/v1/recommend", json={"user_id": "u1"}).json()
        assert after["variant"] is None


def test_what_cannot_be_watched_is_refused_when_it_is_made(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, CLASSIC)
    with TestClient(make_app(backend), base_url=URL) as api:
        same = {"name": "home", "arms": {"a": "default", "b": "default"}}
        for more in ({"stop_if": ["p95>1"]}, {"looks": 3}, {"looks": 3, "users": 100, "tau": 0.1}, {"looks": 5, "users": 4},
                     {"looks": 3, "users": 90, "kind": "interleave"}):  # fmt: skip
            answer = api.post("/v1/experiments", json={**same, **more})
            assert answer.status_code == 422 and answer.json()["error"]["hint"], more


def test_planned_looks_are_read_by_bounds(served):
    begun(served, stop_if=[], looks=2, users=200)
    rows = [shown(n, arm=("control", "new")[n % 2], time=10.0 + n) for n in range(99)]
    logged(served, rows)
    early = trials.read(served, "home", 500.0)["effects"]["new"]
    assert early["effect"] is None and early["stopped"] == "99 users, the first look is after 100"
    logged(served, [shown(n, arm=("control", "new")[n % 2], time=10.0 + n) for n in range(99, 130)])
    served.shelf.add_events([EventRow(f"e{n}", "i001", 20.0 + n, "click", f"u{n}", request=f"r{n}-new-{10.0 + n}")
                             for n in range(1, 130, 2)])  # fmt: skip
    told = trials.read(served, "home", 500.0)
    assert told["effects"]["new"]["method"] == "obrien-fleming" and told["effects"]["new"]["stopped"] == ""
    assert told["units"] == {"control": 65, "new": 65}
