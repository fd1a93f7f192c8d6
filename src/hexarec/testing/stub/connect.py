"""Faults of the connection: nobody there, nobody answers, the wrong name, the wrong certificate, a broken line."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from hexarec.testing.stub.registry import fault
from hexarec.testing.stub.server import Exchange, Stub

SILENT = 600.0
"""Seconds that a name server takes which does not answer."""


@fault("connect.refused", "nobody listens on the port", "address")
@contextlib.contextmanager
def refused(stub: Stub) -> Iterator[str]:
    """A port that is ours, so that nobody else takes it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@fault("connect.unroutable", "connection requests are dropped without a word", "address")
@contextlib.contextmanager
def unroutable(stub: Stub) -> Iterator[str]:
    """A listener whose queue is full: the system drops what comes, as a router without a route does."""
    with contextlib.ExitStack() as open_:
        full = open_.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = open_.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        time.sleep(0.02)
        yield f"http://127.0.0.1:{full.getsockname()[1]}/v1"


@contextlib.contextmanager
def _resolver(answer: Any, end: Callable[[], None] = lambda: None) -> Iterator[str]:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return answer() if host == "model.invalid" else real(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
    try:
        yield "http://model.invalid:8000/v1"
    finally:
        socket.getaddrinfo = real
        end()


def _unknown() -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@fault("connect.dns_fails", "the name of the server is not known", "machine", gives="url")
def dns_fails(folder: Path) -> Any:
    """The resolver of this process denies the name."""
    return _resolver(_unknown)


@fault("connect.dns_slow", "the name server does not answer", "machine", gives="url")
def dns_slow(folder: Path) -> Any:
    """The resolver of this process takes ten minutes, then denies the name; the end of the context ends it too."""
    over = threading.Event()

    def slowly() -> Any:
        over.wait(SILENT)
        return _unknown()

    return _resolver(slowly, over.set)


@fault("connect.bad_certificate", "the certificate is signed by nobody the client knows", "address")
@contextlib.contextmanager
def bad_certificate(stub: Stub) -> Iterator[str]:
    """The stub behind TLS with a certificate of its own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with resources.as_file(resources.files("hexarec.testing.stub") / "selfsigned.pem") as pem:
        context.load_cert_chain(pem)
    with stub.serving(context) as url:
        yield url


@fault("connect.reset_at_accept", "the connection is reset before anything is read", "accept")
def reset_at_accept(exchange: Exchange) -> None:
    """Accept, then reset."""
    exchange.reset()


@fault("connect.reset_after_headers", "the connection is reset after the headers of the answer")
def reset_after_headers(exchange: Exchange) -> None:
    """Status and headers, then a reset."""
    exchange.head(200, {"content-type": "application/json", "content-length": "1000"})
    exchange.reset()


@fault("connect.closed_half_way", "the connection closes in the middle of the body")
def closed_half_way(exchange: Exchange) -> None:
    """Half of the right body, then the end."""
    body = json.dumps(exchange.reply()).encode()
    exchange.head(200, {"content-type": "application/json", "content-length": str(len(body))})
    exchange.write(body[: len(body) // 2])
    exchange.hang_up()
