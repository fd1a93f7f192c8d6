"""Listening: one process, or several that share the port and the store."""

from __future__ import annotations

import sys
from dataclasses import replace

from fastapi import FastAPI

from hexarec.serve.backend import Backend
from hexarec.serve.http.app import make_app
from hexarec.serve.http.connections import patient
from hexarec.serve.observe import log_to
from hexarec.serve.service import Service
from hexarec.serve.settings import Settings
from hexarec.serve.store.open import open_store

SETTINGS = "HEXAREC_SERVE_SETTINGS"


def app_of(settings: Settings) -> FastAPI:
    """The application over the store that the settings name."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return make_app(Backend(Service(open_store(settings.url), settings)))


def listen(settings: Settings) -> None:
    """Serve until stopped: SIGTERM answers what is on its way and ends."""
    import uvicorn

    log_to(sys.stderr)
    common = {
        "host": settings.host, "port": settings.port, "log_config": None, "access_log": False, "server_header": False,
        "h11_max_incomplete_event_size": 65_536, "timeout_keep_alive": 15, "ws": "none",
        "http": patient(settings.read_seconds),
        "timeout_graceful_shutdown": max(int(settings.stop_seconds), 1), "backlog": 2_048,
    }  # fmt: skip
    if settings.workers == 1:
        uvicorn.run(app_of(settings), **common)  # type: ignore[arg-type]
        return
    import json
    import os
    from dataclasses import asdict

    os.environ[SETTINGS] = json.dumps(asdict(settings), default=str)
    uvicorn.run("hexarec.serve.run:from_environment", factory=True, workers=settings.workers, **common)  # type: ignore[arg-type]


def from_environment() -> FastAPI:
    """The application of one process among several, each with its own connection and its own pipelines."""
    import json
    import os

    from hexarec.serve.settings import settings_of

    log_to(sys.stderr)
    told = settings_of(json.loads(os.environ[SETTINGS]))
    return app_of(replace(told, workers=1))
