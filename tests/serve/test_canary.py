"""Words that must not leak are used everywhere, then every byte that the server let out is searched for them."""

import io
import json
import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hexarec.data.worlds import world
from hexarec.serve import observe
from hexarec.serve.http.app import make_app
from hexarec.serve.http.routes import users
from hexarec.serve.jobs import work
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.keys import made_key

from .conftest import URL, TestClient, backend_over
from .jobs.stages import kind_that, stepping
from .test_access import called

MAIL, SAID = "canary.person@canary.example", "canary-words-of-a-prompt-5c1e"


@pytest.fixture
def seen(monkeypatch):
    """Every log line of the server and every span."""
    lines, spans = io.StringIO(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(observe, "tracer", provider.get_tracer("hexarec"))
    loggers = [logging.getLogger(name) for name in observe.LOGGERS]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    observe.log_to(lines)
    yield lines, spans
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def errors_of(client, head, user):
    """Requests that fail, with the words in them: the answers."""
    yield client.get(f"/v1/users/{user}", headers=head)
    yield client.get("/v1/users/" + "x" * 600 + user, headers=head)
    yield client.post("/v1/recommend", json={"user_id": user, "n": -1}, headers=head)
    yield client.post("/v1/recommend", json={"user_id": user, "other": SAID}, headers=head)
    yield client.post("/v1/recommend", json={"user_id": user, "lang": SAID}, headers=head)
    yield client.post("/v1/recommend", content=f'{{"user_id":"{user}","text":"{SAID}"'.encode(), headers=head | JSON)
    yield client.post(
        "/v1/events",
        json={"event_id": "c", "user_id": user, "item_id": "i001", "text": SAID, "time": 9e9},
        headers=head,
    )
    yield client.post(
        "/v1/events", json={"event_id": "c", "user_id": user, "item_id": "i001", "type": SAID}, headers=head
    )
    yield client.post("/v1/events:batch", content=json.dumps({"user_id": user, "text": SAID}).encode(), headers=head)
    yield client.post("/v1/explanations", json={"item_id": "none", "user_id": user}, headers=head)
    yield client.post(
        "/v1/chat/completions",
        json={"model": "none", "user": user, "messages": [{"role": "user", "content": SAID}]},
        headers=head,
    )
    yield client.post(
        "/v1/chat/completions",
        json={"model": "default", "user": user, "messages": [{"role": "system", "content": SAID}]},
        headers=head,
    )
    yield client.put(f"/v1/users/{user}", json={"attributes": {"a": {"b": SAID}}}, headers=head)
    yield client.get(f"/v1/nothing/{user}", headers=head)
    yield client.get(f"/v1/items?a={SAID}", headers=head)


JSON = {"content-type": "application/json"}


def test_nothing_leaks(tmp_path, seen, monkeypatch, capsys):
    lines, spans = seen
    home = tmp_path / "home"
    backend = backend_over(home, world("checkerboard").data)
    row, secret = made_key("canary", ["admin"])
    backend.service.store.of("default").put_key(row)
    head, hidden = {"authorization": f"Bearer {secret}"}, secret.partition(".")[2]
    given, failed = [], []
    with TestClient(make_app(backend), base_url=URL) as client:

        def ask(method, path, **more):
            given.append(client.request(method, path, headers=head, **more))
            assert given[-1].is_success, given[-1].text

        ask("POST", "/v1/events", json={"event_id": "c1", "user_id": MAIL, "item_id": "i001", "text": SAID})
        ask("POST", "/v1/recommend", json={"user_id": MAIL, "text": SAID, "explain": True, "trace": True})
        ask("POST", "/v1/chat/completions", json={"model": "default", "user": MAIL, "dialogue_id": "canary-talk",
                                                  "messages": [{"role": "user", "content": f"{SAID} {MAIL}"}]})  # fmt: skip
        ask("POST", "/v1/chat/completions", json={"model": "default", "stream": True, "user": MAIL,
                                                  "messages": [{"role": "user", "content": SAID}]})  # fmt: skip
        ask("PUT", "/v1/prompts/canary", json={"en": SAID})
        ask("POST", "/v1/rerank", json={"query": SAID, "documents": [SAID, MAIL]})
        failed += errors_of(client, head, f"nobody.{MAIL}")
        failed += [client.get("/v1/items", headers={"authorization": f"Bearer {secret[:-1]}"}),
                   client.get("/v1/items", headers={"authorization": f"Basic {secret}"})]  # fmt: skip
        for tool, words in (("recommend", {"user_id": MAIL, "wish": SAID}), ("explain", {"item_id": SAID, "user_id": MAIL}),
                            ("record_feedback", {"item_id": "i001", "kind": "like", "user_id": MAIL}),
                            ("record_feedback", {"item_id": "i001", "kind": SAID, "user_id": MAIL})):  # fmt: skip
            assert called(client, head, "tools/call", name=tool, arguments=words).is_success
        ask("POST", "/v1/jobs", json={"kind": "recommend", "args": {}})
        Runner(backend.service).one()
        ask(
            "POST",
            "/v1/jobs",
            json={"kind": "fit", "args": {"config": {"retrieve": [{"use": "popular", "name": SAID}]}}},
        )
        Runner(backend.service).one()
        with monkeypatch.context() as often:
            often.setattr(work, "TOLD", 0.0)
            often.setitem(KINDS, "fit", kind_that(KINDS["fit"], stepping(50, 0.02, f"fit {SAID}")))
            ask("POST", "/v1/jobs", json={"kind": "fit", "args": {}})
            Runner(backend.service, beat=0.05).one()
        with monkeypatch.context() as broken:
            broken.setattr(users, "told", lambda row: (_ for _ in ()).throw(RuntimeError(f"{MAIL} {SAID} {secret}")))
            client.put(f"/v1/users/{MAIL}", json={"attributes": {"a": SAID}}, headers=head)
            failed.append(client.get(f"/v1/users/{MAIL}", headers=head))
            assert failed[-1].status_code == 500
        ask("GET", f"/v1/users/{MAIL}/export")
        ask("DELETE", f"/v1/users/{MAIL}")
        told = {
            "metrics": client.get("/metrics").text, "openapi": client.get("/openapi.json").text,
            "ready": client.get("/health/ready").text, "audit": client.get("/v1/audit", headers=head).text,
            "keys": client.get("/v1/keys", headers=head).text,
        }  # fmt: skip
    told |= {"log": lines.getvalue(), "errors": "\n".join(one.text for one in failed if one.status_code >= 400)}
    told |= {"headers": "\n".join(str(one.headers) for one in (*given, *failed))}
    told |= {"traces": "\n".join(one.to_json() for one in spans.get_finished_spans())}
    assert len([one for one in failed if one.status_code >= 400]) >= 15 and "hexarec.request_id" in told["traces"]
    hits = [(name, word) for name, text in told.items() for word in (MAIL, SAID, hidden) if word in text]
    assert hits == []
    assert [word for word in ("request", "job begins", "job progress", "job ended") if word not in told["log"]] == []
    files = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert all(word.encode() not in raw for raw in files for word in (hidden, MAIL))
    everything = sum(map(len, told.values())) + sum(map(len, files))
    with capsys.disabled():
        print(f"\ncanary: {everything:,} bytes searched, {len(hits)} hits")


def test_the_search_can_find_something(tmp_path, seen):
    """A log line that says a word is met."""
    lines, _ = seen
    logging.getLogger("hexarec.serve").warning("said %s", SAID)
    assert SAID in lines.getvalue()


def test_log_lines_of_a_fault_say_where_and_not_what(seen):
    lines, _ = seen
    try:
        raise ValueError(SAID)
    except ValueError:
        logging.getLogger("hexarec.serve").exception("it failed")
    told = json.loads(lines.getvalue())
    assert told["error"] == "ValueError" and told["at"] and SAID not in lines.getvalue()


def test_health_says_nothing_of_the_store(tmp_path, monkeypatch):
    from hexarec.core import StateError

    backend = backend_over(tmp_path / "home", world("checkerboard").data)
    with TestClient(make_app(backend), base_url=URL) as client:
        store = backend.service.store
        monkeypatch.setattr(
            store, "tenants", lambda: (_ for _ in ()).throw(StateError("connection to 10.1.2.3 as bob"))
        )
        answer = client.get("/health/ready")
    assert answer.status_code == 503 and answer.json()["reasons"] == ["the store does not answer"]
