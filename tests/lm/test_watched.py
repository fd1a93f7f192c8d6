import contextlib
import socket
import threading
import time

import httpcore
import pytest

from hexarec.core.errors import CancelledError, DeadlineError
from hexarec.core.run import Cancel, run
from hexarec.lm import watched
from hexarec.lm.watched import Backend, Stopped, TooLong, watching
from hexarec.lm.wire import Busy, Wire

BODY = {"model": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}


@contextlib.contextmanager
def listener(behave):
    """A socket on which every connection meets `behave`; the port."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=behave, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


class Hanging:
    """Reads a request, never answers, and notes when the client has hung up."""

    def __init__(self):
        self.asked, self.left = threading.Event(), threading.Event()

    def __call__(self, connection):
        connection.recv(1 << 16)
        self.asked.set()
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                pass
        self.left.set()


def test_a_cancel_closes_the_connection_within_200_ms():
    server, cancel, times = Hanging(), Cancel(), []

    def stop():
        server.asked.wait(5)
        times.append(time.monotonic())
        cancel.set()

    threading.Thread(target=stop).start()
    with listener(server) as port, run(cancel=cancel):
        with pytest.raises(CancelledError):
            Wire(f"http://127.0.0.1:{port}/v1").post("/chat/completions", BODY)
        assert time.monotonic() - times[0] < 0.2
        assert server.left.wait(0.2)


def test_the_deadline_closes_the_connection():
    server = Hanging()
    with listener(server) as port, run(seconds=0.2):
        with pytest.raises(DeadlineError, match="had not answered"):
            Wire(f"http://127.0.0.1:{port}/v1").post("/chat/completions", BODY)
        assert server.left.wait(0.5)


def test_an_abandoned_request_counts_as_all_its_tokens():
    with listener(Hanging()) as port, run() as work:
        with pytest.raises(Busy):
            Wire(f"http://127.0.0.1:{port}/v1", timeout=0.1).post("/chat/completions", BODY, (7, 5))
        assert (work.ledger.calls, work.ledger.tokens_in, work.ledger.tokens_out) == (1, 7, 5)


def test_headers_that_drip_do_not_outlast_the_timeout():
    def drip(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for n in range(1000):
                connection.sendall(b"x-%d: y\r\n" % n)
                time.sleep(0.02)

    started = time.monotonic()
    with listener(drip) as port, pytest.raises(Busy):
        Wire(f"http://127.0.0.1:{port}/v1", timeout=0.3).post("/chat/completions", BODY)
    assert time.monotonic() - started < 1.0


def test_a_resolver_that_hangs_is_left_at_the_end(monkeypatch):
    monkeypatch.setattr(watched.socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(Busy):
        Wire("http://slow.invalid/v1", timeout=0.2).post("/chat/completions", BODY)
    assert time.monotonic() - started < 1.0


def test_a_name_that_does_not_resolve_is_a_fault_of_the_connection(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(watched.socket, "getaddrinfo", fails)
    with pytest.raises(Busy, match="cannot reach.*not known"):
        Wire("http://none.invalid/v1", timeout=1).post("/chat/completions", BODY)


def test_a_stream_reads_no_more_than_allowed_and_notices_a_cancel():
    cancel = Cancel()
    with (
        listener(lambda connection: connection.sendall(b"x" * 1000)) as port,
        run(cancel=cancel),
        watching(time.monotonic() + 5, 100),
    ):
        stream = Backend().connect_tcp("127.0.0.1", port)
        with pytest.raises(TooLong):
            stream.read(4096)
        cancel.set()
        with pytest.raises(Stopped):
            stream.read(4096)
            stream.read(4096)
        stream.close()


def test_a_closed_port_is_a_connect_error():
    with pytest.raises(httpcore.ConnectError):
        Backend().connect_tcp("127.0.0.1", 9, timeout=1)


def test_a_proxy_of_the_environment_is_still_used(monkeypatch):
    seen = []

    def proxy(connection):
        seen.append(connection.recv(1 << 16))
        connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{"choices": [{}]} ')
        connection.close()

    with listener(proxy) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert Wire("http://model.invalid/v1", timeout=2).post("/chat/completions", BODY) == {"choices": [{}]}
    assert seen[0].startswith(b"POST http://model.invalid/v1/chat/completions")
