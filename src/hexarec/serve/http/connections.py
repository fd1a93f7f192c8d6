"""Connections whose client sends the head of a request too slowly are closed: the guards only see whole heads."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


def patient(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which waits this long for the head of a request from when it could begin."""
    usual: Any = AutoHTTPProtocol

    class Patient(usual):  # type: ignore[misc]
        _closing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._closing = self.loop.call_later(seconds, self._close_if_waiting)

        def data_received(self, data: bytes) -> None:
            begun = self._head_is_awaited()
            super().data_received(data)
            if not self._head_is_awaited():
                self._stop_waiting()
            elif self._closing is None and begun:
                self._closing = self.loop.call_later(seconds, self._close_if_waiting)

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(error)

        def _head_is_awaited(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _close_if_waiting(self) -> None:
            self._closing = None
            if self._head_is_awaited() and not self.transport.is_closing():
                self.transport.close()

        def _stop_waiting(self) -> None:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None

    return Patient
