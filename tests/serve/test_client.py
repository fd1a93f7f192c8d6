"""The Python client against a real server: retries, events that count once, errors, odd ids."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from tests.serve.conftest import backend_over, key_for
from tests.serve.running import free_port, listening

from hexarec.serve.client import ApiError, Client

ODD = ["a/b", "..", ".", "100 %", "?x=1#y", "ünï", "电影", "a b", "'\"<>", "%2F", "~", ";,+&="]


@pytest.fixture(scope="module")
def served(tmp_path_factory, data):
    backend = backend_over(tmp_path_factory.mktemp("home"), data, background=True)
    with listening(backend) as url:
        yield url, backend


@pytest.fixture
def client(served):
    with Client(served[0], retries=1) as made:
        yield made


def test_lists_similar_items_ranked_documents_and_reasons(client, data):
    user, item = data.users.ids.ids[0], data.catalog.items.ids[0]
    made = client.recommend(user, n=4, explain=True)
    assert len(made["items"]) == 4 and made["items"][0]["reason"]["text"]
    assert client.recommend(history=[item], n=2)["items"]
    assert item not in [one["item_id"] for one in client.similar(item, n=3)["items"]]
    ranked = client.rerank("title 3", ["nothing here", "title 3"])
    assert ranked["results"][0]["index"] == 1
    assert client.explain(made["items"][0]["item_id"], user)["evidence"]


@pytest.mark.parametrize("id", ODD)
def test_ids_may_hold_anything(client, id):
    client.put_item(id, f"Title of {id}", attributes={"year": 1999})
    assert client.get(client.path("items", id))["title"] == f"Title of {id}"
    assert client.event(id, "like", user=id)["accepted"] == 1
    held = list(client.export_user(id))
    assert any(row["table"] == "events" and row["item"] == id for row in held)
    assert client.erase_user(id)["erased"]["events"] == 1
    assert not list(client.export_user(id))
    client.delete_item(id)
    with pytest.raises(ApiError) as refused:
        client.get(client.path("items", id))
    assert refused.value.status == 404


def test_an_event_sent_twice_counts_once(client, data):
    item = data.catalog.items.ids[1]
    assert client.event(item, user="twice", event_id="e1")["accepted"] == 1
    assert client.event(item, user="twice", event_id="e1", time=None)["duplicates"] == 1
    with pytest.raises(ApiError) as other:
        client.event(item, "like", user="twice", event_id="e1")
    assert other.value.status == 409 and not other.value.retryable


def test_many_events_with_bad_ones_among_them(client, data):
    item = data.catalog.items.ids[1]
    good = [{"event_id": f"m{i}", "item_id": item, "user_id": "many"} for i in range(2_500)]
    made = client.events([*good, {"event_id": "bad"}, {"event_id": "m0", "item_id": item, "user_id": "many"}])
    assert (made["accepted"], made["duplicates"], made["rejected"]) == (2_500, 1, 1)
    assert made["errors"][0]["line"] == 2_501


def test_jobs_from_start_to_file(client, data, tmp_path):
    import polars as pl

    job = client.start_job("recommend", n=2)
    steps = list(client.follow(job["id"]))
    assert steps[-1]["state"] == "done" and client.wait(job["id"])["state"] == "done"
    client.save_file(job["id"], tmp_path / "lists.parquet")
    assert pl.read_parquet(tmp_path / "lists.parquet")["user_id"].n_unique() >= data.n_users
    with pytest.raises(ApiError, match="no kind 'nothing'"):
        client.start_job("nothing")
    with pytest.raises(ApiError, match="not allowed here"):
        client.start_job("embed", encoder="openai:http://169.254.169.254/v1#x")
    with pytest.raises(ApiError) as slow:
        client.wait(client.start_job("bench", max_users=10)["id"], seconds=0.0)
    assert slow.value.type == "deadline"


def test_a_waiting_job_is_cancelled(client):
    first, second = client.start_job("bench", max_users=20), client.start_job("fit")
    assert client.cancel_job(second["id"])["state"] == "cancelled"
    assert client.resume_job(second["id"])["state"] in ("waiting", "running")
    assert client.cancel_job(second["id"])["cancel"] is True
    assert client.wait(first["id"])["state"] == "done"


def test_an_error_says_status_type_mend_and_request(client):
    with pytest.raises(ApiError, match="nobody was named") as refused:
        client.recommend()
    error = refused.value
    assert (error.status, error.type, error.retryable) == (422, "invalid", False)
    assert "user_id" in error.hint and error.request_id


def test_a_key_is_sent_and_a_wrong_one_is_refused(tmp_path, data):
    backend = backend_over(tmp_path, data)
    key = key_for(backend, "recommend")["authorization"].removeprefix("Bearer ")
    with listening(backend) as url:
        with Client(url, key) as good:
            assert good.recommend(data.users.ids.ids[0])["items"]
            with pytest.raises(ApiError) as lacking:
                good.put_item("x", "X")
            assert lacking.value.status == 403
        for wrong in (None, key + "x", "hx_nothing"):
            with Client(url, wrong) as bad, pytest.raises(ApiError) as refused:
                bad.recommend("u")
            assert refused.value.status == 401


# ---------------------------------------------------------------- retries
@contextmanager
def answers(*statuses):
    """A server that answers with these, one after the other; then 200. Its url, and the bodies it got."""
    left, got = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["content-length"])))
            status = left.pop(0) if left else 200
            if status == 0:  # the answer is lost on the way
                self.close_connection = True
                return
            body = b'{"accepted": 1}' if status == 200 else b'{"error": {"type": "x", "message": "no"}}'
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if status == 429:
                self.send_header("retry-after", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits(monkeypatch):
    made = []
    monkeypatch.setattr("hexarec.serve.client.time.sleep", made.append)
    return made


def test_busy_servers_and_lost_answers_are_asked_again_with_the_same_event(waits):
    with answers(503, 0, 502) as (url, got), Client(url) as client:
        assert client.event("i", user="u")["accepted"] == 1
    assert len(got) == 4 and len(set(got)) == 1, "one event id in every try"
    assert waits == sorted(waits) and len(waits) == 3


def test_a_server_that_says_when_is_waited_for(waits):
    with answers(429) as (url, _), Client(url) as client:
        client.event("i", user="u")
    assert waits == [1.0]


def test_in_the_end_the_last_error_is_told(waits):
    with answers(503, 503, 503) as (url, got), Client(url, retries=2) as client:
        with pytest.raises(ApiError) as refused:
            client.event("i", user="u")
        assert refused.value.status == 503 and len(got) == 3
    with Client(f"http://127.0.0.1:{free_port()}", retries=1) as client, pytest.raises(httpx.ConnectError):
        client.event("i", user="u")


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_what_will_not_mend_is_not_asked_again(status, waits):
    with answers(status) as (url, got), Client(url) as client, pytest.raises(ApiError):
        client.recommend("u")
    assert len(got) == 1 and waits == []


def test_what_may_not_be_repeated_is_not(waits):
    for call in (lambda client: client.start_job("fit"), lambda client: client.post("/v1/keys", {"name": "x"})):
        with answers(0) as (url, got), Client(url) as client:
            with pytest.raises(httpx.TransportError):
                call(client)
            assert len(got) == 1
