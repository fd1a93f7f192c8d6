"""Sockets that stop at the end of a call: every wait looks at the run, so a hung server is left within 50 ms.

The HTTP client waits for each read alone: a server that sends one byte a second is never late for it. Here the end, the
cancel flag and the most bytes are those of the whole call, and looking a name up counts as waiting too.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore

from hexarec.core.run import Run, current

STEP = 0.05
"""Seconds between two looks at the run while a socket has nothing to say."""


class TooLong(Exception):
    """The server sent more bytes than the call allows."""


class Stopped(Exception):
    """The run was cancelled while a socket was waiting."""


@dataclass
class Watch:
    """The limits of one call: `end` in monotonic seconds, `most` bytes. `sent` says whether the server heard of it."""

    run: Run
    end: float
    most: int
    read: int = 0
    sent: bool = False

    def step(self, late: type[Exception]) -> float:
        """Seconds to wait before the next look. Raises `late` at the end of the call, Stopped when it is cancelled."""
        if self.run.cancel:
            raise Stopped("the run was cancelled")
        left = min(self.end - time.monotonic(), self.run.remaining())
        if left <= 0:
            raise late("the call is over")
        return min(left, STEP)

    def took(self, data: bytes) -> bytes:
        """Count what was read. Raises TooLong beyond `most`."""
        self.read += len(data)
        if self.read > self.most:
            raise TooLong(f"more than {self.most:,} bytes")
        return data


_WATCH: ContextVar[Watch | None] = ContextVar("hexarec_watch", default=None)


@contextlib.contextmanager
def watching(end: float, most: int) -> Iterator[Watch]:
    """The watch of the enclosed call; sockets of this thread keep to it."""
    watch = Watch(current(), end, most)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def _watch(seconds: float | None) -> Watch:
    # a socket used outside a call: as long as the client allows
    return _WATCH.get() or Watch(Run(), time.monotonic() + (60.0 if seconds is None else seconds), 1 << 30)


def _ready(sock: socket.socket, event: int, watch: Watch, late: type[Exception]) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, event)
        while not selector.select(watch.step(late)):
            pass


class Stream(httpcore.NetworkStream):
    """A connected TCP socket that never blocks for longer than `STEP`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most `max_bytes`, b"" at the end. Raises httpcore's errors, TooLong or Stopped."""
        watch = _watch(timeout)
        while True:
            try:
                return watch.took(self._sock.recv(max_bytes))
            except BlockingIOError:
                _ready(self._sock, selectors.EVENT_READ, watch, httpcore.ReadTimeout)
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of `buffer`. Raises httpcore's errors or Stopped."""
        watch = _watch(timeout)
        watch.sent = True
        while buffer:
            try:
                buffer = buffer[self._sock.send(buffer) :]
            except BlockingIOError:
                _ready(self._sock, selectors.EVENT_WRITE, watch, httpcore.WriteTimeout)
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted. Raises httpcore.ConnectError for a certificate that is not trusted."""
        return _secured(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        """What the client asks of a socket: whether it is readable, the addresses, the socket itself."""
        if info == "is_readable":
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, selectors.EVENT_READ)
                return bool(selector.select(0))
        known = {"socket": lambda: self._sock, "client_addr": self._sock.getsockname}
        return known[info]() if info in known else None


class Secure(httpcore.NetworkStream):
    """TLS on any stream, by buffers in memory, so that its waits are those of the stream below."""

    def __init__(self, inner: httpcore.NetworkStream, context: ssl.SSLContext, name: str | None) -> None:
        self._inner, self._incoming, self._outgoing = inner, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def shake_hands(self, timeout: float | None) -> None:
        """Agree on keys with the server. Raises ssl.SSLError."""
        self._do(self._ssl.do_handshake, timeout)

    def _do(self, step: Callable[[], Any], timeout: float | None) -> Any:
        while True:
            made, wants = None, False
            try:
                made = step()
            except ssl.SSLWantReadError:
                wants = True
            finally:
                # also the alert that says why a certificate was not taken
                if waiting := self._outgoing.read():
                    self._inner.write(waiting, timeout)
            if not wants:
                return made
            if data := self._inner.read(1 << 16, timeout):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most `max_bytes`, b"" at the end. Raises as `Stream.read` does."""
        try:
            data: bytes = self._do(lambda: self._ssl.read(max_bytes), timeout)
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
                return b""
            raise httpcore.ReadError(str(error)) from error
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of `buffer`. Raises as `Stream.write` does."""
        while buffer:
            try:
                buffer = buffer[self._do(lambda: self._ssl.write(buffer), timeout) :]  # noqa: B023
            except ssl.SSLError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """TLS inside TLS, for a proxy that is itself behind TLS."""
        return _secured(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        """What the client asks of a socket."""
        return self._ssl if info == "ssl_object" else self._inner.get_extra_info(info)


def _secured(inner: httpcore.NetworkStream, context: ssl.SSLContext, name: str | None, timeout: float | None) -> Secure:
    try:
        made = Secure(inner, context, name)
        made.shake_hands(timeout)
    except (ssl.SSLError, httpcore.NetworkError) as error:
        inner.close()
        raise httpcore.ConnectError(str(error)) from error
    except BaseException:
        inner.close()
        raise
    return made


class Backend(httpcore.NetworkBackend):
    """Opens `Stream`s for the HTTP client."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connected stream: the addresses of `host` in turn. Raises httpcore.ConnectError or ConnectTimeout."""
        watch, failure = _watch(timeout), f"no address for {host}"
        for family, kind, protocol, _, address in _looked_up(host, port, watch):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in (*(socket_options or ()), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)):
                    sock.setsockopt(*option)
                if local_address is not None:
                    sock.bind((local_address, 0))
                _connected(sock, address, watch)
                return Stream(sock)
            except OSError as error:
                sock.close()
                failure = str(error)
            except BaseException:
                sock.close()
                raise
        raise httpcore.ConnectError(failure)


def _connected(sock: socket.socket, address: Any, watch: Watch) -> None:
    sock.setblocking(False)
    try:
        sock.connect(address)
    except BlockingIOError:
        _ready(sock, selectors.EVENT_WRITE, watch, httpcore.ConnectTimeout)
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


def _looked_up(host: str, port: int, watch: Watch) -> list[Any]:
    """The addresses of a host. The resolver cannot be interrupted, so a thread asks it that may be left alone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: queue.Queue[Any] = queue.Queue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            made = found.get(timeout=watch.step(httpcore.ConnectTimeout))
            if isinstance(made, OSError):
                raise httpcore.ConnectError(f"{host}: {made}") from made
            return list(made)
