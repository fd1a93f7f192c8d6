"""A new experiment from the page: the same as from the API, wrong fields named, only for who may."""

import html
import re

import pytest
from fastapi.testclient import TestClient

from hexarec.serve import trials
from hexarec.serve.http.app import make_app
from hexarec.serve.page.said import said
from serve.conftest import URL, backend_over, key_for

POPULAR = {"retrieve": [{"use": "popular"}]}
GOOD = {
    "name": "home", "kind": "ab", "control": "default", "variant": "popular", "share": "20", "event": ["click", "like"],
    "window": "48", "guard_seconds": "0.2", "guard_hides": "", "stop": "always", "tau": "0.05", "looks": "7",
    "stop_if": "p95_ms > 800\n\nhides>=2",
}  # fmt: skip


@pytest.fixture(scope="module")
def backend(tmp_path_factory, data):
    made = backend_over(tmp_path_factory.mktemp("ab") / "home", data)
    made.service.tenant("default").fit("popular", POPULAR)
    return made


@pytest.fixture(scope="module")
def app(backend):
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as made:
        yield made


@pytest.fixture
def tenant(backend):
    return backend.service.tenant("default")


def wrong(text):
    """Message by field of a form that came back."""
    return {name: html.unescape(re.sub("<[^>]+>", "", said)) for name, said in re.findall(r'<p class="wrong" id="(\w+)-wrong">(.*?)</p>', text)}  # fmt: skip


def test_it_is_the_experiment_that_the_api_makes(app, tenant):
    answer = app.post("/ab", data=GOOD)
    assert answer.status_code == 303 and answer.headers["location"] == "/ab/home"
    body = {
        "name": "other", "kind": "ab", "arms": {"control": "default", "variant": "popular"},
        "shares": {"control": 0.8, "variant": 0.2}, "kinds": ["click", "like"], "window": 172_800, "tau": 0.05,
        "guardrails": {"seconds": 0.2}, "stop_if": ["p95_ms>800", "hides>=2"],
    }  # fmt: skip
    assert app.post("/v1/experiments", json=body).status_code == 201
    ours, theirs = (dict(trials.of(tenant, name).body) for name in ("home", "other"))
    assert ours.pop("salt") != theirs.pop("salt") and ours == theirs and ours["state"] == "draft"
    rows = [(row.what, row.target, row.who) for row in tenant.shelf.audit_rows()][-2:]
    assert [row[:2] for row in rows] == [("create experiment", "home"), ("create experiment", "other")]
    assert rows[0][2] == rows[1][2]
    text = app.get("/ab/home").text
    assert "Start" in text
    assert app.post("/ab/home/move", data={"state": "running"}).status_code == 303
    text = app.get("/ab/home").text
    assert ">Stop<" in text and "Ship variant" in text and "Ship control" in text
    app.post("/ab/home/move", data={"state": "stopped"})


@pytest.mark.parametrize(
    ("fields", "where", "what"),
    [
        ({"name": ""}, "name", "empty"), ({"name": "Home Page"}, "name", "a-z"), ({"name": "taken"}, "name", "already"),
        ({"control": ""}, "control", "no pipeline"), ({"variant": "nobody"}, "variant", "is served"),
        ({"variant": "default"}, "variant", "same pipeline"), ({"share": "60"}, "share", "between 0 and 50"),
        ({"share": "half"}, "share", "is no number"), ({"event": []}, "event", "no event"),
        ({"event": ["<b>"]}, "event", "no event"), ({"window": "0"}, "window", "between"),
        ({"guard_seconds": "nan"}, "guard_seconds", "is no number"), ({"guard_hides": "-1"}, "guard_hides", "between"),
        ({"tau": ""}, "tau", "missing"), ({"stop": "looks", "looks": "2.5", "users": "10"}, "looks", "whole number"),
        ({"stop": "looks", "looks": "5", "users": ""}, "users", "missing"),
        ({"stop": "looks", "looks": "50", "users": "10"}, "looks", "50 looks at 10 users"),
        ({"stop": "looks", "looks": "2", "users": "10", "kind": "interleave"}, "stop", "kind ab"),
        ({"stop_if": "p95>1"}, "stop_if", "no metric"), ({"stop_if": "often"}, "stop_if", "is no rule"),
        ({"stop_if": "p95_ms>1\n" * 21}, "stop_if", "at most 20"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(app, tenant, fields, where, what):
    if "taken" not in {one.name for one in tenant.shelf.names(trials.KIND)}:
        assert app.post("/ab", data={**GOOD, "name": "taken"}).status_code == 303
    before = len(tenant.shelf.names(trials.KIND)), len(tenant.shelf.audit_rows())
    sent = {"name": "fresh", **{name: value for name, value in GOOD.items() if name != "name"}, **fields}
    answer = app.post("/ab", data=sent)
    assert answer.status_code == 422
    told = wrong(answer.text)
    assert set(told) == {where} and what in told[where]
    assert f'aria-describedby="{where}-wrong"' in answer.text
    assert 'value="0.2"' in answer.text if where != "guard_seconds" else True  # what was typed stays
    assert (len(tenant.shelf.names(trials.KIND)), len(tenant.shelf.audit_rows())) == before
    zh = wrong(app.post("/ab", data=sent, headers={"accept-language": "zh"}).text)[where]
    assert re.search("[\u4e00-\u9fff]", zh) and 'lang="en"' not in zh


def test_all_that_is_wrong_is_said_at_once_and_as_text(app):
    sent = {"name": "<script>x</script>", "control": "<b>", "share": "<i>", "stop_if": "<u>", "stop": "<s>"}
    answer = app.post("/ab", data=sent)
    assert set(wrong(answer.text)) == {"name", "control", "variant", "share", "event", "stop_if"}
    assert not re.search("<script>x|<b>|<i>|<u>", answer.text)
    assert said("en", "anything") == "anything"


def test_only_who_may_sees_and_sends_the_form(tmp_path, data):
    backend = backend_over(tmp_path / "home", data)
    reader, worker = (key_for(backend, *scopes)["authorization"].removeprefix("Bearer ")
                      for scopes in (("read",), ("read", "experiments")))  # fmt: skip
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as api:
        assert api.post("/ab", data=GOOD).headers["location"].startswith("/login")
        api.post("/login", data={"key": reader})
        assert 'action="/ab"' not in api.get("/ab").text
        assert api.post("/ab", data=GOOD).status_code == 403
        api.cookies.clear()
        api.post("/login", data={"key": worker})
        assert "There is one pipeline alone" in api.get("/ab").text
        backend.service.tenant("default").fit("popular", POPULAR)
        assert 'action="/ab"' in api.get("/ab").text
        assert api.post("/ab", data=GOOD, headers={"origin": "https://evil.example"}).status_code == 403
        assert api.post("/ab", data=GOOD).status_code == 303
