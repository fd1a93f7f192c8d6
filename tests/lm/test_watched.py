import contextlib
import socket
import threading
import time

import httpcore
import pytest
from tests.hanging import LONG, Hang, cancelled_when

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
    """Reads a request, answers none, and notes when the client has hung up; after LONG it hangs up itself."""

    def __init__(self):
        self.asked, self.left = threading.Event(), threading.Event()

    def __call__(self, connection):
        connection.recv(1 << 16)
        self.asked.set()
        connection.settimeout(LONG)
        try:
            while connection.recv(1 << 16):
                pass
        except TimeoutError:
            connection.close()
            return
        except ConnectionError:
            pass  # a reset, which is also a farewell
        self.left.set()


def test_a_cancel_closes_the_connection():
    server = Hanging()
    with listener(server) as port, cancelled_when(server.asked):
        wire = Wire(f"http://127.0.0.1:{port}/v1", timeout=10 * LONG)
        with pytest.raises(CancelledError):
            wire.post("/chat/completions", BODY)
        assert server.left.wait(LONG)


def test_the_deadline_closes_the_connection():
    server = Hanging()
    with listener(server) as port, run(seconds=0.5):
        wire = Wire(f"http://127.0.0.1:{port}/v1", timeout=10 * LONG)
        with pytest.raises(DeadlineError, match="had not answered"):
            wire.post("/chat/completions", BODY)
        assert server.left.wait(LONG)


def test_an_abandoned_request_counts_as_all_its_tokens():
    with listener(Hanging()) as port, run() as work:
        with pytest.raises(Busy):
            Wire(f"http://127.0.0.1:{port}/v1", timeout=0.5).post("/chat/completions", BODY, (7, 5))
        assert (work.ledger.calls, work.ledger.tokens_in, work.ledger.tokens_out) == (1, 7, 5)


def test_headers_that_drip_do_not_outlast_the_timeout():
    ended = []

    def drip(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for n in range(int(LONG / 0.02)):
                connection.sendall(b"x-%d: y\r\n" % n)
                time.sleep(0.02)
            ended.append(connection)

    with listener(drip) as port, pytest.raises(Busy):
        Wire(f"http://127.0.0.1:{port}/v1", timeout=0.3).post("/chat/completions", BODY)
    assert ended == []


def test_a_resolver_that_hangs_is_left_at_the_end(monkeypatch):
    with Hang() as slow:
        monkeypatch.setattr(watched.socket, "getaddrinfo", slow)
        with pytest.raises(Busy):
            Wire("http://slow.invalid/v1", timeout=0.2).post("/chat/completions", BODY)
        assert not slow.came_back


def test_a_name_that_does_not_resolve_is_a_fault_of_the_connection(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(watched.socket, "getaddrinfo", fails)
    with pytest.raises(Busy, match="cannot reach.*not known"):
        Wire("http://none.invalid/v1", timeout=LONG).post("/chat/completions", BODY)


def test_a_stream_reads_no_more_than_allowed_and_notices_a_cancel():
    cancel = Cancel()
    with (
        listener(lambda connection: connection.sendall(b"x" * 1000)) as port,
        run(cancel=cancel),
        watching(time.monotonic() + LONG, 100),
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
        Backend().connect_tcp("127.0.0.1", 9, timeout=LONG)


def test_a_proxy_of_the_environment_is_still_used(monkeypatch):
    seen = []

    def proxy(connection):
        seen.append(connection.recv(1 << 16))
        connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{"choices": [{}]} ')
        connection.close()

    with listener(proxy) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert Wire("http://model.invalid/v1", timeout=LONG).post("/chat/completions", BODY) == {"choices": [{}]}
    assert seen[0].startswith(b"POST http://model.invalid/v1/chat/completions")
