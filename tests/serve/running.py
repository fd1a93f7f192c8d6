"""A real server in a thread of this process, on a free port of loopback."""

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from hexarec.serve.http.app import make_app


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def listening(backend, port=0, more=()):
    """The URL of a server over a backend, which ends with it; more: further routers."""
    port = port or free_port()
    app = make_app(backend)
    for router in more:
        app.router.routes.extend(router.routes)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
