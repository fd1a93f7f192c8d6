"""Home: what is well and what mends the rest; lists to try leave no trace."""

import pytest
from fastapi.testclient import TestClient

from hexarec.core import StateError
from hexarec.pipeline.config import default_config
from hexarec.serve.http.app import make_app
from hexarec.serve.page.values import home
from hexarec.serve.page.values.home import health, specs_of
from serve.conftest import URL, backend_over


def by_name(checks):
    return {one.name: one for one in checks}


def test_an_empty_server_says_what_fills_it(tmp_path):
    backend = backend_over(tmp_path / "home")
    told = by_name(health(backend.service.tenant("default")))
    assert {name: one.level for name, one in told.items()} == {
        "data": "bad", "models": "idle", "pipeline": "bad", "run": "idle",
    }  # fmt: skip
    assert all(told[name].mend.startswith("hexarec ") for name in ("data", "pipeline", "run"))
    with TestClient(make_app(backend), base_url=URL) as client:
        for lang in ("en", "zh"):
            text = client.get("/", headers={"accept-language": lang}).text
            assert "hexarec serve --data PATH" in text
        answer = client.get("/home/list?user=u", headers={"hx-request": "true"})
        assert answer.status_code == 409 and "POST /v1/jobs" in answer.text  # the error says what to do


def test_models_that_pipelines_name(backend, monkeypatch):
    config = {**default_config(), "explain": {"use": "because", "lm": "openai:http://user:pass5word@x/v1#m"}}
    assert set(specs_of(default_config())) == {"gguf:smollm2", "minilm"}
    assert set(specs_of({"use": {"a": {"model": "openai:http://x#m"}}, "rank": {"lm": "@a"}})) == {"openai:http://x#m"}
    tenant = backend.service.tenant("default")
    bodies = [type("V", (), {"name": "p", "created": 0.0, "body": {"config": config}})]
    monkeypatch.setattr(type(tenant), "documents", lambda self, kind: bodies)
    monkeypatch.setattr(home, "installed", lambda: ["minilm"])
    told = {one.values["spec"]: one for one in home._models(tenant)}
    assert told["minilm"].level == "ok" and told["gguf:smollm2"].level == "bad"
    assert told["gguf:smollm2"].mend == "hexarec models install smollm2"
    assert told["openai:http://x/v1#m"].mend == "hexarec models test 'openai:http://***@x/v1#m'"
    bodies[0].body["config"] = {"use": {"a": {"model": "openai:http://x/v1#m"}}}
    assert home._models(tenant)[0].mend == "hexarec models test openai:http://x/v1#m"


@pytest.mark.parametrize(
    "state, level, said",
    [("done", "ok", "run_done"), ("failed", "bad", "run_failed"), ("cancelled", "warn", "run_cancelled"), (None, "idle", "run_busy")],
)  # fmt: skip
def test_the_last_run(tmp_path, data, state, level, said):
    backend = backend_over(tmp_path / "home", data)
    shelf = backend.service.tenant("default").shelf
    job = shelf.add_job("bench", {})
    if state is not None:
        shelf.claim_job("w")
        shelf.end_job(job.id, "w", state=state, error="the model is missing\nat line 3" if state == "failed" else None)
    found = by_name(health(backend.service.tenant("default")))["run"]
    assert (found.level, found.said) == (level, said)
    assert found.values["why"] == ("the model is missing" if state == "failed" else "")


def test_a_store_that_fails_does_not_take_the_page_away(backend, monkeypatch):
    def broken(*_):
        raise StateError("the disk is gone")

    shelf = backend.service.tenant("default").shelf
    monkeypatch.setattr(type(shelf), "jobs", broken)
    found = by_name(health(backend.service.tenant("default")))["run"]
    assert found.level == "bad" and found.values["why"] == "the disk is gone"


def test_trying_leaves_no_trace(page_client, backend):
    shelf = backend.service.tenant("default").shelf
    before = {what: shelf.count(what) for what in ("shown", "events", "users", "answers", "assignments")}
    for path in ("/home/list?user=u001", "/home/list?like=Title 3&like=Title 4&like=", "/?user=somebody+new"):
        assert 'class="item"' in page_client.get(path).text
    assert {what: shelf.count(what) for what in before} == before


def test_titles_are_read_and_what_is_near_is_told(page_client):
    text = page_client.get("/home/list?like=title 3&like=Tidle 4&like=nothing like it").text
    assert 'chip like">Title 3<' in text
    assert "nothing like it" in text and "Nothing in the catalog" in text
    alone = page_client.get("/home/list?like=nothing").text
    assert 'class="item"' not in alone and "Nothing in the catalog" in alone
    assert "Nobody was named" in page_client.get("/home/list?like=").text


def test_a_list_in_chinese(page_client):
    text = page_client.get("/home/list?user=u001", headers={"accept-language": "zh"}).text
    assert "为 u001 推荐" in text and "模型调用 0 次" in text


def test_what_degraded_is_told(page_client, backend, monkeypatch):
    class Broken:
        def explain(self, queries, shown, desk):
            raise StateError("no words today")

    served = backend.service.tenant("default").recommender()
    pipeline = served.current.pipeline
    monkeypatch.setattr(pipeline, "explain_", Broken())
    text = page_client.get("/home/list?user=u001").text
    assert "no words today" in text and 'class="item"' in text


def test_suggestions(page_client):
    assert page_client.get("/home/users?user=u00").text.count("<option") == 10
    assert page_client.get("/home/users?user=zzz").text.strip() == ""
    assert 'value="Title 7"' in page_client.get("/home/items?like=itle 7").text
    assert page_client.get("/home/items?like=").text.strip() == ""


def test_a_pipeline_that_cannot_be_loaded(backend, monkeypatch):
    tenant = backend.service.tenant("default")
    monkeypatch.setattr(tenant, "broken", {"other": "version 2: files are missing"})
    found = [one for one in health(tenant) if one.level == "bad"]
    assert found[0].values == {"name": "other", "why": "version 2: files are missing"}
