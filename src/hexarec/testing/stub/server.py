"""The stub server: OpenAI-compatible, of the standard library, with faults by name."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from hexarec.core import OptionError, rng
from hexarec.testing.stub.answers import MODEL, Answers, double
from hexarec.testing.stub.registry import Fault, named

MOST_BODY = 8_000_000
"""Longer requests are refused with status 413."""


@dataclass(frozen=True)
class Latency:
    """Seconds an answer takes: fixed, and for each token read and written."""

    fixed: float = 0.0
    per_token_in: float = 0.0
    per_token_out: float = 0.0


class Exchange(BaseHTTPRequestHandler):
    """One request: `path`, `body`, `number` (from 0), and the ways of answering it, rightly and wrongly."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    body: dict[str, Any]
    number = 0

    @property
    def stub(self) -> Stub:
        """The server this request came to."""
        return self.server.stub

    def log_message(self, *arguments: Any) -> None:
        """Nothing: the stub is asked thousands of times."""

    def handle(self) -> None:
        """Answer requests until the client or a fault ends the connection."""
        fault = self.stub.fault_of(self.stub.connections())
        with contextlib.suppress(OSError, ValueError):
            if fault is not None and fault.level == "accept":
                fault.act(self)
            else:
                super().handle()

    def do_GET(self) -> None:
        """/v1/models, and a word for who only looks."""
        known = [{"id": MODEL, "object": "model", "created": 0, "owned_by": "hexarec"}]
        listed = {"object": "list", "data": known}
        self.json(listed if self.path.endswith("/models") else {"status": "ok"})

    def do_POST(self) -> None:
        """A completion, chat or embedding, or the fault in its place."""
        length = int(self.headers.get("content-length") or 0)
        if length > MOST_BODY:
            return self.error(413, "the request is too long")
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            return self.error(400, "the request is not JSON")
        if not isinstance(body, dict):
            return self.error(400, "the request is not a JSON object")
        if not self.path.endswith(("/completions", "/embeddings")):
            return self.error(404, f"there is no {self.path}")
        self.body, self.number = body, self.stub.note(self.path, body)
        fault = self.stub.fault_of(self.number)
        if fault is not None and fault.level == "request":
            fault.act(self)
        else:
            self.good()

    # -------------------------------------------------------------- answering
    def reply(self) -> dict[str, Any]:
        """The right reply."""
        return self.stub.answers.reply(self.path, self.body)

    def good(self) -> None:
        """Answer rightly, after the time the latency model says."""
        if self.body.get("stream") and self.path.endswith("/chat/completions"):
            return self.stream(self.pieces())
        made = self.reply()
        self.wait_for(made["usage"].get("prompt_tokens", 0), made["usage"].get("completion_tokens", 0))
        self.json(made)

    def say(self, text: str) -> None:
        """Answer with this text, in the shape that was asked for."""
        if self.body.get("stream"):
            choices = [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]
            return self.stream([event({"choices": choices}), DONE])
        made = self.reply()
        made["choices"][0]["message"]["content"] = text
        self.json(made)

    def json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a JSON value."""
        self.raw(json.dumps(value).encode(), status, headers)

    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with an error in the protocol's shape."""
        self.json({"error": {"message": message, "type": "stub", "code": status}}, status, headers)

    def raw(self, data: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with these bytes, whatever they are."""
        self.head(status, {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})})
        self.write(data)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send bytes now."""
        self.wfile.write(data)
        self.wfile.flush()

    def stream(self, pieces: Iterable[bytes]) -> None:
        """Answer in pieces, each at its time; the connection closes at their end."""
        self.head(200, {"content-type": "text/event-stream", "connection": "close"})
        for piece in pieces:
            self.write(piece)
        self.close_connection = True

    def pieces(self) -> Iterator[bytes]:
        """The right reply as events, at the pace of the latency model."""
        asked = self.stub.answers.prompt(self.body)
        self.wait_for(int(self.stub.answers.double.count([asked.text])[0]), 0)
        for chunk in self.stub.answers.pieces(self.body):
            self.wait_for(0, 1, fixed=False)
            yield event(chunk)
        yield DONE

    # ----------------------------------------------------------------- failing
    def wait_for(self, tokens_in: int, tokens_out: int, *, fixed: bool = True) -> None:
        """Take the time the latency model says."""
        model = self.stub.latency
        self.pause(model.fixed * fixed + model.per_token_in * tokens_in + model.per_token_out * tokens_out)

    def pause(self, seconds: float) -> None:
        """Wait; ends early when the client hangs up or the stub stops, by an OSError."""
        self.stub.wait(self.connection, seconds)

    def reset(self) -> None:
        """End the connection with a reset instead of a farewell."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection in the middle of whatever it was."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.close()
        self.rfile.close()
        self.connection.close()


DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    """A JSON value as one server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    stub: Stub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what the stub is for."""

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, also one that a fault has closed already."""
        with contextlib.suppress(OSError):
            super().shutdown_request(request)


class Stub:
    """A running server, as a context manager; `url` is its address, `asked` holds (path, body) of every request.

    answer_as: the double that answers; "obedient" obeys every order in item text. faults: names, met in turn.
    rate: the share of requests that meet one. after: requests that are answered rightly first. pace: multiplies the
    times of the faults in `time` (0.01 for tests that cannot wait). Raises OptionError for an unknown fault, one of
    this machine, or a port that is taken.
    """

    def __init__(
        self,
        faults: Sequence[str] = (),
        *,
        answer_as: str = "overlap",
        rate: float = 1.0,
        after: int = 0,
        latency: Latency | None = None,
        pace: float = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.faults = [served(name) for name in faults]
        self.answers, self.latency = Answers(double(answer_as)), latency or Latency()
        self.rate, self.after, self.pace = rate, after, pace
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._host, self._port, self._connections = host, port, -1
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._left = contextlib.ExitStack()
        self.url = ""

    def __enter__(self) -> Self:
        address = next((fault for fault in self.faults if fault.level == "address"), None)
        self.url = self._left.enter_context(self.serving() if address is None else address.act(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._left.close()

    @contextlib.contextmanager
    def serving(self, context: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve on this stub's address, with TLS where a context is given; the url."""
        try:
            server = _Server((self._host, self._port), Exchange)
        except OSError as error:
            raise OptionError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}", hint="name another --port"
            ) from error
        server.stub = self
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True, name="stub")
        thread.start()
        try:
            yield f"http{'s' * (context is not None)}://{self._host}:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            server.server_close()

    def note(self, path: str, body: dict[str, Any]) -> int:
        """Remember a request; its number, from 0."""
        with self._lock:
            self.asked.append((path, body))
            return len(self.asked) - 1

    def connections(self) -> int:
        """Count one more connection; its number, from 0."""
        with self._lock:
            self._connections += 1
            return self._connections

    def fault_of(self, number: int) -> Fault | None:
        """The fault that the request or connection of this number meets, or None."""
        if not self.faults or number < self.after or rng(0, "stub", number).random() >= self.rate:
            return None
        return self.faults[(number - self.after) % len(self.faults)]

    def wait(self, connection: socket.socket, seconds: float) -> None:
        """Wait; raises ConnectionAbortedError early when the stub stops or the client has hung up."""
        left = seconds
        while left > 0:
            step = min(left, 0.1)
            left -= step
            if self._stopped.wait(step) or _gone(connection):
                raise ConnectionAbortedError("nobody waits any more")


def served(name: str) -> Fault:
    """A fault that a server can show. Raises OptionError for others."""
    found = named(name)
    if found.where == "machine":
        raise OptionError(
            f"{name} is a fault of the machine, which no server can show",
            hint=f"in a test: with hexarec.testing.stub.injected({name!r}, folder) as given: ...",
        )
    return found


def _gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):
        # a TLS socket cannot be peeked at; it is left to its time
        return not isinstance(connection, ssl.SSLSocket)
