"""What is checked before a request is read: size, time, host, origin, and how many are being answered."""

import asyncio
import itertools
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.hanging import LONG

from hexarec.serve.http import guards
from hexarec.serve.http.app import make_app
from hexarec.serve.http.connections import Connection, Door
from hexarec.serve.http.guards import SAFE_HEADERS, Guards
from hexarec.serve.settings import Settings

from .conftest import URL, TestClient, backend_over, key_for


def client_of(tmp_path, **more):
    return TestClient(make_app(backend_over(tmp_path / "home", **more)), base_url=URL)


@pytest.fixture
def bare(tmp_path):
    with client_of(tmp_path, body=1_000, batch_body=5_000, origins=("https://shop.example",)) as client:
        yield client


def asked(app, *, method="POST", path="/v1/events", headers=(), chunks=(b"{}",), wait=0.0):
    """Speak ASGI with an application: (status, headers, body). wait: seconds before each of the chunks."""
    waiting = list(chunks)

    async def receive():
        await asyncio.sleep(wait)
        if not waiting:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http",
        "root_path": "", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9), "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), *headers],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    body = b"".join(one.get("body", b"") for one in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


# --------------------------------------------------------------------------------------------------------- size
def test_large_bodies_are_refused_before_they_are_read(bare):
    read = []

    def body():
        for _ in range(100):
            read.append(1)
            yield b"x" * 100

    answer = bare.post("/v1/recommend", content=body(), headers={"content-length": "10000"})
    assert answer.status_code == 413 and answer.json()["error"]["type"] == "too_large"
    assert bare.post("/v1/recommend", content=b" " * 1_001).status_code == 413
    assert bare.post("/v1/events:batch", content=b" " * 5_001).status_code == 413
    assert bare.post("/v1/items:batch", content=b" " * 1_001).status_code == 413  # only what is read piece by piece
    assert bare.post("/v1/events:batch", content=b"\n" * 1_001).json()["rejected"] == 1_001


def test_a_body_that_lies_about_its_length_is_counted(bare):
    for path in ("/v1/recommend", "/v1/events:batch"):
        status, headers, body = asked(bare.app, path=path, chunks=[b"x" * 400] * 20)
        assert status == 413 and json.loads(body)["error"]["type"] == "too_large"
        assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "0x10", "1,1", " 5", "9" * 30])
def test_lengths_that_are_none(bare, length):
    status, *_ = asked(bare.app, headers=[(b"content-length", length.encode())])
    assert status in (400, 413)


def test_callers_are_known_before_the_body_is_read(tmp_path):
    backend = backend_over(tmp_path / "home")
    key_for(backend, "read")
    app = make_app(backend)

    async def never():
        raise AssertionError("the body was read")

    async def send(message):
        sent.append(message)

    with TestClient(app, base_url=URL):
        for path in ("/v1/recommend", "/v1/items:batch", "/v1/events:batch", "/v1/chat/completions"):
            sent = []
            scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
                     "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 9), "scheme": "http",
                     "root_path": "", "server": ("127.0.0.1", 80), "http_version": "1.1"}  # fmt: skip
            asyncio.run(app(scope, never, send))
            assert sent[0]["status"] == 401, path


def test_a_line_without_an_end_is_refused(bare):
    status, _, body = asked(bare.app, path="/v1/events:batch", chunks=[b"x" * 400] * 4)
    assert status == 413 and "line" in json.loads(body)["error"]["message"]


def test_many_bad_lines_cost_little(tmp_path):
    with client_of(tmp_path) as client:
        told = client.post("/v1/events:batch", content=b"x\n" * 50_000).json()
        assert told["rejected"] == 50_000 and len(told["errors"]) == 1_000
        assert [one["line"] for one in told["errors"]] == list(range(1, 1_001))


# --------------------------------------------------------------------------------------------------------- time
def test_slow_bodies_end(tmp_path):
    with client_of(tmp_path, read_seconds=0.4) as client:
        for path in ("/v1/recommend", "/v1/events:batch"):
            chunks = [b" "] * int(LONG / 0.1)
            status, headers, body = asked(client.app, path=path, chunks=chunks, wait=0.1)
            error = json.loads(body)["error"]
            assert status == 408 and error["type"] == "too_slow" and headers[b"content-security-policy"], path
            here = re.search(r"(\d+) bytes are here", error["message"])
            assert int(here[1]) < len(chunks) / 2, "it was not read to its end"


def test_a_large_body_may_take_its_time(monkeypatch, tmp_path):
    """By a clock on which every chunk takes 20 s: 60 s are allowed, and 20 more for each 100 bytes."""
    monkeypatch.setattr(guards, "SLOWEST", 5)
    monkeypatch.setattr(guards, "time", SimpleNamespace(monotonic=itertools.count(0.0, 20.0).__next__))
    with client_of(tmp_path, read_seconds=60.0) as client:
        status, _, body = asked(client.app, path="/v1/events:batch", chunks=[b"\n" * 100] * 6, wait=0.05)
        assert status == 200 and json.loads(body)["rejected"] == 600
        assert asked(client.app, path="/v1/events:batch", chunks=[b"\n" * 10] * 6, wait=0.05)[0] == 408


# ------------------------------------------------------------------------------------------------ host and origin
HOSTS = {
    "127.0.0.1": 200, "127.0.0.1:8090": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]": 200, "[::1]:8090": 200,
    "evil.example": 421, "127.0.0.1.evil.example": 421, "evil.example:127.0.0.1": 421, "localhost.evil.example": 421,
    "evil.example#127.0.0.1": 421, "127.0.0.1@evil.example": 421, "": 421, "0": 421, "127.1": 421, "0.0.0.0": 421,
    "localhost.": 421, "x,127.0.0.1": 421, "127.0.0.1 evil.example": 421, "[::ffff:127.0.0.1]": 421, "::1": 421,
}  # fmt: skip


@pytest.mark.parametrize("host, want", HOSTS.items())
def test_hosts(bare, host, want):
    assert bare.get("/health/live", headers={"host": host}).status_code == want


def test_more_hosts_are_listed(tmp_path):
    with client_of(tmp_path, hosts=("shop.example",)) as client:
        assert client.get("/health/live", headers={"host": "Shop.Example:443"}).status_code == 200
        assert client.get("/health/live", headers={"host": "a.shop.example"}).status_code == 421


ORIGINS = {
    "https://shop.example": 422, "http://127.0.0.1": 422, "http://shop.example": 403, "https://shop.example.evil": 403,
    "https://a.shop.example": 403, "https://shop.example:444": 403, "null": 403, "http://127.0.0.1:1": 403, "x": 403,
    "file://": 403, "https://SHOP.example": 403, "http://localhost": 403, "https://shop.example, https://evil": 403,
    "chrome-extension://x": 403, "http://127.0.0.1.evil.example": 403, " https://shop.example/": 403,
}  # fmt: skip


@pytest.mark.parametrize(
    "site, dest, want",
    [("cross-site", "image", 403), ("same-site", "iframe", 403), ("cross-site", "empty", 403),
     ("cross-site", "document", 200), ("same-origin", "image", 200), ("none", "document", 200)],
)  # fmt: skip
def test_pictures_and_frames_of_another_site(bare, site, dest, want):
    headers = {"sec-fetch-site": site, "sec-fetch-dest": dest}
    assert bare.get("/v1/items", headers=headers).status_code == want
    if dest == "empty":  # a listed origin names itself
        assert bare.get("/v1/items", headers={**headers, "origin": "https://shop.example"}).status_code == 200


@pytest.mark.parametrize("origin, want", ORIGINS.items())
def test_origins(bare, origin, want):
    answer = bare.post("/v1/recommend", json={}, headers={"origin": origin})
    assert answer.status_code == want
    told = answer.headers.get("access-control-allow-origin")
    assert told == (origin if origin == "https://shop.example" else None)
    assert "access-control-allow-credentials" not in answer.headers
    assert bare.get("/v1/items", headers={"origin": origin}).status_code == (200 if want == 422 else 403)


def test_preflights(bare):
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    fine = bare.options("/v1/recommend", headers={"origin": "https://shop.example", **asks})
    assert fine.status_code == 204 and fine.headers["access-control-allow-origin"] == "https://shop.example"
    assert "*" not in fine.headers["access-control-allow-headers"] + fine.headers["access-control-allow-methods"]
    wrong = bare.options("/v1/recommend", headers={"origin": "https://evil.example", **asks})
    assert wrong.status_code == 403 and "access-control-allow-origin" not in wrong.headers


# ---------------------------------------------------------------------------------------------------- every answer
def test_every_answer_has_the_headers(bare, monkeypatch):
    from hexarec.serve.http.routes import items

    def broken(*_):
        raise RuntimeError("secret words of a fault")

    answers = [
        bare.get("/health/live"), bare.get("/metrics"), bare.get("/openapi.json"), bare.get("/nothing"),
        bare.get("/v1/items/none"), bare.delete("/health/live"), bare.post("/v1/recommend", content=b"{"),
        bare.post("/v1/recommend", content=b" " * 2_000), bare.get("/x", headers={"host": "evil"}), bare.get("/mcp"),
        bare.get("/v1/users/u/export"), bare.options("/v1/items"), bare.head("/health/live"), bare.get("/v1/items/%00"),
        bare.get("/v1/items/%ff"), bare.get("/" + "x" * 5_000), bare.get("/health/ready"), bare.get("/v1/items/"),
    ]  # fmt: skip
    monkeypatch.setattr(items, "told", broken)
    bare.put("/v1/items/a", json={"title": "t"})
    answers.append(bare.get("/v1/items"))
    for answer in answers:
        for name, value in SAFE_HEADERS:
            assert answer.headers.get_list(name.decode()) == [value.decode()], answer.request.url
        assert len(answer.headers.get_list("x-request-id")) == 1
        assert "server" not in answer.headers
    fault = answers[-1]
    assert fault.status_code == 500 and "secret words" not in fault.text
    assert fault.json()["error"]["request_id"] == fault.headers["x-request-id"]


def test_request_ids(bare):
    def told(given):
        return bare.get("/health/live", headers={"x-request-id": given}).headers["x-request-id"]

    assert told("a-B_9.z") == "a-B_9.z"
    for hostile in ("a b", "a;b", "x" * 65, "<b>", "", "a\tb", "../x", "a%0d%0ab", "\xe9"):
        made = told(hostile.encode("latin-1"))
        assert made != hostile and len(made) == 16
    assert told("") != told("")


# ------------------------------------------------------------------------------------------------------- overload
def test_overload_is_told_at_once():
    held, made = asyncio.Event(), []

    async def slow(scope, receive, send):
        await held.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(app):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        await app(scope, None, send)
        made.append((sent[0]["status"], dict(sent[0]["headers"])))

    async def crowd():
        app = Guards(slow, Settings(calls=5, waiting=5))
        waiting = [asyncio.create_task(ask(app)) for _ in range(100)]
        async with asyncio.timeout(LONG):
            while len(made) < 90:
                await asyncio.sleep(0)
        refused = list(made)  # while nobody who was let in has an answer
        held.set()
        await asyncio.gather(*waiting)
        await ask(app)
        return refused

    refused = asyncio.run(crowd())
    assert len(refused) == 90 and {status for status, _ in refused} == {503}
    assert all(headers[b"retry-after"] == b"1" for _, headers in refused)
    assert [status for status, _ in made[90:]] == [200] * 11  # nobody who was let in is lost, and it is over at once


def test_a_client_that_leaves_is_no_fault(bare, caplog):
    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/recommend", "raw_path": b"/v1/recommend", "query_string": b"",
             "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "client": ("127.0.0.1", 9),
             "scheme": "http", "root_path": "", "server": ("127.0.0.1", 80), "http_version": "1.1"}  # fmt: skip
    try:
        asyncio.run(bare.app(scope, gone, send))
    except ClientDisconnect:
        pass
    assert "fault" not in caplog.text


def test_metrics_have_no_words_of_callers(bare):
    bare.get("/v1/items/very-own-id")
    bare.request("VERYOWN", "/v1/items")
    bare.get("/very/own/path")
    told = bare.get("/metrics").text.lower()
    assert "very" not in told and '"/v1/items/{item_id}"' in told and 'method="other"' in told


@contextmanager
def behind_the_door(app):
    """The port of a real server whose connections are ours."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, http=Connection, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


def test_a_real_server_closes_slow_connections(tmp_path):
    """Half a request, sent and left: the connection is closed, and others are answered meanwhile."""
    app = make_app(backend_over(tmp_path / "home", read_seconds=1.0))
    with behind_the_door(app) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for i, one in enumerate(slow):
            one.sendall(
                b"" if i % 3 == 0 else b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n" if i % 3 == 1 else b"GET"
            )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(2):
                assert client.get("/health/live").status_code == 200
                time.sleep(1.2)  # between two requests a connection may rest as long as keep-alive says
        for one in slow:
            one.settimeout(LONG)
            with suppress(ConnectionError):
                assert one.recv(100) == b""
            one.close()
        with socket.create_connection(("127.0.0.1", port)) as drip:
            drip.settimeout(LONG)
            with pytest.raises(ConnectionError):
                drip.sendall(b"GET / HTTP/1.1\r\n")
                for _ in range(int(LONG / 0.1)):  # never as long without a byte as the whole may take
                    drip.sendall(b"x: y\r\n")
                    time.sleep(0.1)


def test_one_too_many_is_refused_by_the_connection_and_may_ask_again():
    held, refused = threading.Event(), []

    @asynccontextmanager
    async def life(app):
        yield {"door": Door(5.0, 2, lambda: refused.append(1))}

    async def slow(request):
        while request.url.path == "/held" and not held.is_set():
            await asyncio.sleep(0.01)
        return PlainTextResponse("answered")

    app = Starlette(routes=[Route("/{rest}", slow, methods=["GET", "POST"])], lifespan=life)
    with behind_the_door(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        with ThreadPoolExecutor(2) as pool:
            inside = [pool.submit(httpx.get, f"http://127.0.0.1:{port}/held", timeout=LONG) for _ in range(2)]
            while httpx.get(f"http://127.0.0.1:{port}/look").status_code == 200:
                time.sleep(0.01)  # until both are inside
            before = len(refused)
            told = client.post("/any", content=b"x" * 200_000)  # its body is thrown away
            assert told.status_code == 503 and told.json()["error"]["type"] == "overloaded"
            assert told.json()["error"]["request_id"] == told.headers["x-request-id"]
            assert told.headers["retry-after"] == "1" and told.headers.get("connection") != "close"
            again = client.head("/any")
            assert again.status_code == 503 and again.content == b""
            assert client.get("/any").status_code == 503  # nothing of the head's body stands in its way
            assert client.get("/any", headers={"connection": "close"}).status_code == 503
            assert len(refused) == before + 4
            asks = b"GET /any HTTP/1.1\r\nhost: x\r\n\r\n" * 3
            with socket.create_connection(("127.0.0.1", port), timeout=LONG) as piped:  # several without waiting
                piped.sendall(asks)
                got = b""
                while got.count(b"HTTP/1.1 503") < 3:
                    got += piped.recv(65_536)
            held.set()
            assert [one.result().text for one in inside] == ["answered"] * 2
        assert client.get("/any").text == "answered"


def test_connections_can_be_handed_to_the_other_processes_of_a_server():
    assert ForkingPickler.dumps(Connection)  # uvicorn starts them anew and sends them this
