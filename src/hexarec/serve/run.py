"""Listening: one process, or several that share the port and the store; and stopping when told to."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from typing import Any

from fastapi import FastAPI

from hexarec.serve.backend import Backend
from hexarec.serve.http.app import make_app
from hexarec.serve.http.connections import Connection
from hexarec.serve.observe import log_to
from hexarec.serve.ports import BALANCED, check_free, reserved
from hexarec.serve.service import Service
from hexarec.serve.settings import Settings, settings_of
from hexarec.serve.store.open import open_store

SETTINGS = "HEXAREC_SERVE_SETTINGS"
ARENAS = -8
"""M_ARENA_MAX of glibc's mallopt."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def app_of(settings: Settings) -> FastAPI:
    """The application over the store that the settings name."""
    settings.home.mkdir(parents=True, exist_ok=True)
    service = Service(open_store(settings.url), settings)
    app = make_app(Backend(service))
    app.state.entered.append(lambda: _told_early(service))
    return app


@contextlib.asynccontextmanager
async def _told_early(service: Service) -> AsyncIterator[None]:
    """Let the service know of a signal at once, before the open connections have ended: streams end, none is ready."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {one: signal.getsignal(one) for one in SIGNALS}

    def told(number: int, frame: Any) -> None:
        service.leave()
        handler = usual[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for one in SIGNALS:
        signal.signal(one, told)
    try:
        yield
    finally:
        for one, handler in usual.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def stopped() -> Iterator[threading.Event]:
    """An event that is set when this process is told to stop (SIGTERM, or Ctrl-C)."""
    event = threading.Event()
    usual = {one: signal.signal(one, lambda *_: event.set()) for one in SIGNALS}
    try:
        yield event
    finally:
        for one, handler in usual.items():
            signal.signal(one, handler)


def one_heap() -> None:
    """Let glibc keep one heap for all threads, where it is the C library.

    With a heap for each, what one thread makes and another frees is never given back: memory grows with every answer.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(ARENAS, 1)


def one_thread_a_product() -> None:
    """Let numpy multiply matrices in the thread that asks.

    Those of a batch of questions are small; a second thread for them would wait for the next one at full speed, and
    take the core that reads and writes requests.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")


def listen(settings: Settings) -> None:
    """Serve until stopped: SIGTERM answers what is on its way and ends."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    check_free(settings.host, settings.port)
    one_thread_a_product()
    log_to(sys.stderr)
    common = {
        "host": settings.host, "port": settings.port, "log_config": None, "access_log": False, "server_header": False,
        "h11_max_incomplete_event_size": 65_536, "timeout_keep_alive": 15, "ws": "none",
        "http": Connection,
        "timeout_graceful_shutdown": max(int(settings.stop_seconds), 1), "backlog": 2_048,
    }  # fmt: skip
    if settings.workers == 1:
        uvicorn.run(app_of(settings), **common)  # type: ignore[arg-type]
        return
    os.environ[SETTINGS] = json.dumps(asdict(settings), default=str)
    config = uvicorn.Config("hexarec.serve.run:from_environment", factory=True, workers=settings.workers, **common)  # type: ignore[arg-type]
    shared = reserved(settings.host, settings.port) if BALANCED else config.bind_socket()
    Multiprocess(config, [shared]).run()


def from_environment() -> FastAPI:
    """The application of one process among several, each with its own connection and its own pipelines."""
    one_heap()
    one_thread_a_product()
    log_to(sys.stderr)
    told = json.loads(os.environ[SETTINGS])
    origin = told.pop("origin")
    return app_of(replace(settings_of(told), workers=1, origin=origin))
