"""Connections: what is decided before a request becomes one, where the guards of the application come too late.

A client that sends the head of a request too slowly is cut off. Whoever comes while too many requests are being
answered is refused by a few bytes: a refusal must cost far less than an answer, or the crowd wins.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hexarec.serve.http.faults import Refused, told

OVERLOAD = Refused(503, "overloaded", "too many requests are being answered", "ask again in a second")


@dataclass(frozen=True)
class Door:
    """The rules of a server's connections; the application's life hands it out as the state `door`.

    seconds: how long the head of a request may take. most: requests at a time. refused: called for each one too many.
    """

    seconds: float
    most: int
    refused: Callable[[], None]


class Connection(HttpToolsProtocol):
    """uvicorn's connection behind a `Door`."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._door: Door = self.app_state["door"]
        self._wait()

    def on_message_begin(self) -> None:
        """The first byte of a head: the others have to follow in time."""
        super().on_message_begin()
        if self._closing is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Answer the request, or refuse it at once.

        A page of another site would not learn of a refusal without headers for its origin: the guards refuse it.
        """
        self._stop_waiting()
        free = len(self.tasks) < self._door.most
        if free or not self._rests() or any(name == b"origin" for name, _ in self.headers):
            super().on_headers_complete()
            return
        self._door.refused()
        self.cycle = _Refusal()  # type: ignore[assignment]
        self.transport.write(refusal(head_only=self.parser.get_method() == b"HEAD"))
        if self.parser.should_keep_alive():
            self.on_response_complete()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _rests(self) -> bool:
        """Whether nothing is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._closing = self.loop.call_later(self._door.seconds, self._close)

    def _close(self) -> None:
        self._closing = None
        if not self._rests():
            self._wait()  # an answer goes first
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None


class _Refusal:
    """Stands where uvicorn keeps the request that is being answered: answered already, so its body is thrown away."""

    response_complete = True

    def __init__(self) -> None:
        self.message_event = asyncio.Event()


def refusal(*, head_only: bool) -> bytes:
    """The bytes that refuse one request too many."""
    request_id = secrets.token_hex(8)
    refused = told(OVERLOAD.type, str(OVERLOAD.detail), hint=OVERLOAD.hint, request_id=request_id)
    body = json.dumps(refused).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nretry-after: 1\r\nx-request-id: {request_id}\r\n"
        "x-content-type-options: nosniff\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
