"""Hostile inputs from our lists: none has an effect, each gets a typed answer at once."""

import io
import json
import logging
import socket
import time
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine, inspect, text

from hexarec.core import OptionError, Reply, Words
from hexarec.core.run import current
from hexarec.data.worlds import world
from hexarec.serve.http.app import make_app
from hexarec.serve.jobs.allowed import check_endpoints
from hexarec.serve.observe import JsonLines

from .conftest import URL, TestClient, backend_over, key_for
from .corpora import body, lines

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    backend = backend_over(folder / "home", world("checkerboard").data)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    with TestClient(make_app(backend), base_url=URL) as client:
        client.headers.update(key_for(backend, "admin"))
        yield client, backend, folder, stream
    logging.getLogger().removeHandler(handler)


def sent(client, method, path, **more):
    """The answer, which took little of the processor, is no fault of ours, and has the one shape if it is an error."""
    started = time.process_time()  # of the server too, which runs in this process; other work does not count
    answer = client.request(method, path, **more)
    assert time.process_time() - started < 20.0, path
    assert answer.status_code < 500, (path, answer.text)
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"type", "message", "hint", "field", "request_id"}
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["content-security-policy"]
    return answer


# ------------------------------------------------------------------------------------------------------- bodies
HARMLESS = {
    "brackets in a string are not deep", "twice the same key", "ten thousand equal keys", "a million spaces",
}  # fmt: skip


@pytest.mark.parametrize("one", lines("bodies"), ids=lambda one: one["name"].encode("ascii", "replace").decode())
def test_bodies(served, one):
    client, *_ = served
    raw = body(one["parts"])
    answer = sent(client, "POST", "/v1/recommend", content=raw, headers=JSON)
    assert answer.status_code == (200 if one["name"] in HARMLESS else 422), answer.text[:200]
    other = sent(client, "POST", "/v1/events", content=raw, headers=JSON)
    assert other.status_code == 422
    told = sent(client, "POST", "/v1/events:batch", content=raw).json()
    assert told["accepted"] == 0 and (told["rejected"] >= 1 or not raw)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip", "compress", "GZIP"])
def test_packed_bodies_are_not_unpacked(served, coding):
    client, *_ = served
    answer = sent(
        client, "POST", "/v1/recommend", content=b"\x1f\x8b" + b"\0" * 999, headers={"content-encoding": coding}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json",
                                  "application/xml", "application/json;charset=utf-16", "", "x"])  # fmt: skip
def test_kinds_of_bodies(served, kind):
    client, *_ = served
    answer = sent(client, "POST", "/v1/recommend", content=b'{"user_id":"u"}', headers={"content-type": kind})
    assert answer.status_code == (200 if kind.startswith("application/json") else 422)


# ---------------------------------------------------------------------------------------------------------- ids
def files_of(folder):
    """Every file but the database; an erasure writes the folder of a pipeline anew under another name."""
    found = (path.relative_to(folder).parts for path in folder.rglob("*") if "store.sqlite" not in path.name)
    return sorted((*parts[:3], *parts[4:]) if parts[:2] == ("home", "pipelines") else parts for parts in found)


def in_path(one):
    return quote(one.encode("utf-8", "surrogatepass"), safe="").replace(".", "%2E")


def test_ids(served):
    client, _, folder, _ = served
    before, kept = files_of(folder), 0
    for turn, one in enumerate(lines("ids")):
        many = sent(client, "POST", "/v1/items:batch", json={"items": [{"item_id": one, "title": "t"}]})
        single = sent(client, "PUT", f"/v1/items/{in_path(one)}", json={"title": "t2"})
        assert (single.status_code == 200) == (many.status_code == 200), one
        if single.status_code == 200:
            assert single.json()["item_id"] == one
            assert sent(client, "GET", f"/v1/items/{in_path(one)}").json()["title"] == "t2"
            assert sent(client, "DELETE", f"/v1/items/{in_path(one)}").json() == {"deleted": True}
            kept += 1
        said = sent(client, "PUT", f"/v1/users/{in_path(one)}", json={"attributes": {"a": "b"}})
        assert (
            said.json()["user_id"] == one if said.status_code == 200 else single.status_code != 200 or "session:" in one
        )
        for path in () if turn % 3 else ("users/{}", "users/{}/export", "users/{}/recommendations", "answers/{}", "jobs/{}", "pipelines/{}",
                     "prompts/{}", "experiments/{}"):  # fmt: skip
            answer = sent(client, "GET", "/v1/" + path.format(in_path(one)))
            assert answer.status_code in (200, 400, 404, 422)
            assert answer.status_code != 200 or path.startswith("users/"), path
        job = sent(client, "POST", "/v1/jobs", json={"kind": "fit", "args": {"pipeline": one}})
        assert job.status_code == (202 if one in ("null", "export", "batch", "0", "-1", "1e9", "undefined", "true", "nul",
                                                  "_", "__class__", "__init__", "__pycache__", "constructor",
                                                  "__proto__", "import-x-1", "import-x-0") else 422), one  # fmt: skip
        sent(client, "DELETE", f"/v1/keys/{in_path(one)}")
        if turn % 20 == 0:  # each writes every saved pipeline anew
            sent(client, "DELETE", f"/v1/users/{in_path(one)}?scrub=false")
    assert files_of(folder) == before
    assert kept >= 120


def test_an_encoded_slash_is_a_letter(served):
    """GET /v1/users/y%2Fexport is the user "y/export", and no export of y."""
    client, *_ = served
    sent(client, "PUT", "/v1/users/y", json={"attributes": {"mark": "of y"}})
    for path in ("/v1/users/y%2Fexport", "/v1/users/y%2frecommendations"):
        assert sent(client, "GET", path).status_code == 404
    sent(client, "PUT", "/v1/users/y%2Fexport", json={"attributes": {"mark": "of the other"}})
    assert sent(client, "GET", "/v1/users/y%2Fexport").json()["attributes"] == {"mark": "of the other"}
    assert "of y" in sent(client, "GET", "/v1/users/y/export").text
    assert "of the other" in sent(client, "GET", "/v1/users/y%2Fexport/export").text


# ---------------------------------------------------------------------------------------------------- addresses
def configs(name):
    """A name of a model at every place of a configuration where one could stand."""
    plain = {"retrieve": [{"use": "popular"}]}
    yield {**plain, "use": {"m": {"model": name}}, "rank": {"use": "llmrank", "lm": "@m"}}
    yield {**plain, "use": {"m": name}, "rank": {"use": "llmrank", "lm": "@m"}}
    yield {**plain, "rank": {"use": "llmrank", "lm": name}}
    yield {"retrieve": [{"use": "frozen_encoder", "encoder": name}]}
    yield {**plain, "use": {"e": {"encoder": name}}}
    yield {**plain, "rank": {"use": "cascade", "rankers": [{"use": "llmrank", "lm": name}]}}


ALLOWED = ("openai:http://allowed.example/v1#m",)


@pytest.fixture
def dialled(monkeypatch):
    """Every address that is looked up or dialled."""
    tried = []
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *given, **more: tried.append(given) or (_ for _ in ()).throw(OSError())
    )
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: tried.append(address))
    return tried


def test_addresses(served, dialled):
    client, *_ = served
    refused = 0
    for name in lines("addresses"):
        for config in configs(name):
            with pytest.raises(OptionError):
                check_endpoints(config, ALLOWED)
        answer = sent(client, "POST", "/v1/jobs", json={"kind": "fit", "args": {"config": next(configs(name))}})
        assert answer.status_code == 422 and "not allowed" in answer.json()["error"]["message"], name
        refused += 1
    assert dialled == [] and refused >= 120


def test_what_the_operator_allows_is_allowed():
    for name in (*ALLOWED, "gguf:smollm2", "hf:smollm2", "fake:overlap"):
        check_endpoints({"use": {"m": {"model": name}}}, ALLOWED)
    for name in ("minilm", "tfidf", *ALLOWED):
        check_endpoints({"retrieve": [{"use": "frozen_encoder", "encoder": name}]}, ALLOWED)


def test_what_the_operator_allows_with_a_password_is_told_and_kept_without_it():
    private = "openai:http://user:pass5word@allowed.example/v1#m"
    for name in (private, "openai:http://***@allowed.example/v1#m"):
        check_endpoints({"use": {"m": {"model": name}}}, [private])
    with pytest.raises(OptionError) as caught:
        check_endpoints({"use": {"m": {"model": private.replace("#m", "#other")}}}, [private])
    assert "pass5word" not in str(caught.value)
    assert caught.value.hint.count("allowed.example") == 1, "told once, as it may be written"
    told = next(one for one in caught.value.hint.removeprefix("allowed: ").split(", ") if "allowed.example" in one)
    check_endpoints({"use": {"m": {"model": told.partition(";")[0]}}}, [private])


def test_a_job_keeps_no_password(tmp_path, data):
    private = "openai:http://user:pass5word@allowed.example/v1#m"
    backend = backend_over(tmp_path / "home", data, endpoints=(private,))
    config = {"retrieve": [{"use": "popular"}], "explain": {"use": "because", "lm": private}}
    with TestClient(make_app(backend), base_url=URL) as client:
        made = client.post("/v1/jobs", json={"kind": "fit", "args": {"config": config}})
    assert made.status_code < 300 and "pass5word" not in made.text
    kept = backend.service.tenant("default").shelf.job(made.json()["id"])
    assert kept.args["config"]["explain"]["lm"] == "openai:http://***@allowed.example/v1#m"


@pytest.mark.parametrize("place", ["path", "start", "adapter", "cache", "cassette", "base_url", "key_name", "url_name"])
def test_places_are_the_operators(place):
    with pytest.raises(OptionError, match="may not be set"):
        check_endpoints({"use": {"m": {"model": "gguf:smollm2", place: "x"}}}, ALLOWED)


# --------------------------------------------------------------------------------------------------- injections
def fields(s):
    """Every string of the API, with `s` in it: (method, path, what is sent)."""
    p = quote(s.encode("utf-8", "surrogatepass"), safe="")
    said = [{"role": "user", "content": s}]
    for path, given in (
        ("recommend", {"user_id": s}), ("recommend", {"session": {"id": s}}), ("recommend", {"history": [s]}),
        ("recommend", {"text": s}), ("recommend", {"user_id": "u", "exclude": [s]}),
        ("recommend", {"user_id": "u", "context": {s: s}}), ("recommend", {"user_id": "u", "lang": s}),
        ("recommend", {"user_id": "u", "pipeline": s}),
        ("recommend", {"user_id": "u", "filter": {"field": s, "op": "=", "value": "even"}}),
        ("recommend", {"user_id": "u", "filter": {"field": "genres", "op": s, "value": "even"}}),
        ("recommend", {"user_id": "u", "filter": {"field": "genres", "op": "=", "value": s}}),
        ("similar", {"item_id": s}), ("rerank", {"query": s, "documents": [s, "x"]}), ("rerank", {"item_ids": [s]}),
        ("embeddings", {"model": s, "input": s}), ("chat/completions", {"model": s, "messages": said}),
        ("chat/completions", {"model": "default", "messages": said, "user": s, "dialogue_id": s, "state": {s: s}}),
        ("explanations", {"item_id": "i001", "user_id": s}), ("explanations", {"item_id": s}),
        ("events", {"event_id": s, "item_id": s, "user_id": s, "text": s, "request_id": s}),
        ("events", {"event_id": "e" + s, "item_id": "i001", "session_id": s, "type": s}),
        ("items:batch", {"items": [{"item_id": s, "title": s, "text": s, "attributes": {s: s}, "titles": {"en": s}}]}),
        ("jobs", {"kind": s}), ("jobs", {"kind": "fit", "args": {"pipeline": s}}), ("jobs", {"kind": "fit", "args": {s: s}}),
        ("jobs", {"kind": "fit", "args": {"config": {"retrieve": [{"use": s}], "x": s}}}),
        ("experiments", {"name": s, "arms": {"a": "default", "b": "default"}}),
        ("experiments", {"name": "t", "arms": {s: "default", "b": s}, "salt": s, "layer": s}),
        ("pipelines/default/activate", {"version": s}), ("keys", {"name": s, "scopes": [s]}),
        ("keys", {"name": s, "scopes": ["read"]}),
    ):  # fmt: skip
        yield "POST", f"/v1/{path}", {"json": given}
    yield "PUT", f"/v1/items/{p}", {"json": {"title": s, "attributes": {"a": [s]}}}
    yield "PUT", f"/v1/users/{p}", {"json": {"attributes": {s: s}}}
    yield "PUT", "/v1/prompts/p", {"json": {"en": s, "note": s}}
    yield "PUT", f"/v1/prompts/{p}", {"json": {"en": "x"}}
    for path in ("items/{}", "users/{}", "users/{}/export", "answers/{}", "jobs/{}", "experiments/{}", "pipelines/{}"):
        yield "GET", "/v1/" + path.format(p), {}
    yield "GET", f"/v1/items?after={p}&limit={p}", {}
    yield "GET", f"/v1/users?after={p}", {}
    yield "GET", f"/v1/users/u/recommendations?pipeline={p}", {}
    plain = s.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")
    for header in ("x-request-id", "user-agent", "accept-language", "referer", "x-forwarded-for", "cookie"):
        yield "GET", "/v1/models", {"headers": {header: plain}}


def rows_of(backend):
    engine = create_engine(backend.settings.url)
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return {name: connection.execute(text(f'SELECT COUNT(*) FROM "{name}"')).scalar() for name in names}


def inject(served, strings, step):
    client, backend, folder, stream = served
    before, files = rows_of(backend), files_of(folder)
    stream.truncate(0), stream.seek(0)
    tried = made = 0
    for i, s in enumerate(strings):
        for place, (method, path, more) in enumerate(fields(s)):
            if (place + i) % step:
                continue
            answer = sent(client, method, path, **more)
            assert not {"set-cookie", "x-injected", "location"} & set(answer.headers), (s, path)
            tried += 1
            made += path == "/v1/keys" and answer.status_code == 201
    after = rows_of(backend)
    assert set(after) == set(before) and after["keys"] == before["keys"] + made
    assert all(after[name] >= count for name, count in before.items())
    assert files_of(folder) == files
    for line in stream.getvalue().splitlines():
        assert json.loads(line)["logger"] != "forged" and "forged" not in json.loads(line)
    return tried


def test_injections(served, capsys):
    tried = inject(served, lines("injections"), 9)
    with capsys.disabled():
        print(f"\ninjections: {tried} requests, effects 0")
    assert tried > 600


@pytest.mark.slow
def test_injections_everywhere(served):
    assert inject(served, lines("injections"), 1) > 6_000


def test_a_log_line_cannot_be_forged():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    log = logging.Logger("t")
    log.addHandler(handler)
    for s in lines("injections"):
        log.warning("said %s", s)
    told = stream.getvalue().splitlines()
    assert [json.loads(line)["message"] for line in told] == [f"said {s}" for s in lines("injections")]


# ------------------------------------------------------------------------------------------------------ scripts
class Talker:
    """A conversationalist whose words are somebody else's."""

    said = ""

    def converse(self, dialogues, desk):
        current().emit({"kind": "words", "text": self.said})
        return [Reply(Words(self.said, "en", status="model"), (), "recommend", {}) for _ in dialogues]


def test_scripts_in_titles_and_answers_stay_text(served):
    client, backend, *_ = served
    served_now = backend.service.tenant("default").recommender()
    talker = Talker()
    for s in lines("scripts"):
        item = sent(client, "PUT", "/v1/items/i001", json={"title": s, "text": s})
        assert item.json()["title"] == s and item.headers["content-type"] == "application/json"
        talker.said = s
        served_now.current.pipeline.converse_ = talker
        body = {"model": "default", "messages": [{"role": "user", "content": s}]}
        chat = sent(client, "POST", "/v1/chat/completions", json=body)
        assert chat.json()["choices"][0]["message"]["content"] == s
        assert chat.headers["content-type"] == "application/json"
        stream = sent(client, "POST", "/v1/chat/completions", json={**body, "stream": True})
        assert stream.headers["content-type"].startswith("text/event-stream")
        chunks = [json.loads(line[6:]) for line in stream.text.split("\n\n") if line.startswith("data: {")]
        assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == s
    served_now.current.pipeline.converse_ = None
    found = sent(client, "POST", "/v1/recommend", json={"user_id": "nobody", "n": 200}).json()["items"]
    assert lines("scripts")[-1] in [one["title"] for one in found]


def test_a_policy_lets_no_script_run(served):
    client, *_ = served
    policy = sent(client, "GET", "/v1/models").headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy and "object-src" not in policy and "http" not in policy


# ------------------------------------------------------------------------------------------------------ formulas
def test_formulas_come_back_as_they_were(served):
    """There is no export to CSV: answers are JSON and Parquet, whose cells are text and run nowhere."""
    client, *_ = served
    for s in lines("formulas"):
        assert sent(client, "PUT", "/v1/items/i002", json={"title": s}).json()["title"] == s


def test_only_figures_are_written_as_csv():
    """Theirs quote formulas: tests/page/test_figures.py."""
    from pathlib import Path

    import hexarec

    files = Path(hexarec.__file__).parent.rglob("*.py")
    writers = [path.name for path in files if "write_csv" in (code := path.read_text()) or "csv.writer" in code]
    assert writers == ["figures.py"], (
        "a table for spreadsheets needs its formulas quoted: see tests/serve/corpora/formulas.jsonl"
    )
