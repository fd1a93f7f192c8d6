"""The application: routes behind guards, counted and logged."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import hexarec
from hexarec.serve.backend import Backend
from hexarec.serve.http import faults
from hexarec.serve.http.connections import Door
from hexarec.serve.http.described import describe
from hexarec.serve.http.guards import Guards
from hexarec.serve.http.routes import ROUTERS, gorse
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.observe import access
from hexarec.serve.page import install as page
from hexarec.serve.tools import ToolsOverHttp

ABOUT = """Lists, rankings, conversations and vectors from pipelines of hexarec; events in, experiments on top.
Errors have one shape; `x-scope` says what a key needs."""
ANSWERS = ("/v1/", "/mcp", "/api/")
"""Where the addresses of the API begin; the others are the page and what operators ask."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def make_app(backend: Backend) -> FastAPI:
    """The API over a backend; the backend starts and ends with the application."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[dict[str, Door]]:
        backend.start()
        runner = Runner(backend.service) if backend.settings.background else None
        if runner is not None:
            runner.start()
        async with contextlib.AsyncExitStack() as stack:
            for enter in app.state.entered:
                await stack.enter_async_context(enter())
            settings = backend.settings
            most = settings.calls + settings.waiting
            yield {"door": Door(settings.read_seconds, most, backend.metrics.overload.inc)}
        if runner is not None:
            runner.close(backend.settings.stop_seconds)
        backend.close()

    app = FastAPI(
        title="hexarec", version=hexarec.__version__, description=ABOUT, lifespan=life, docs_url=None, redoc_url=None,
        separate_input_output_schemas=False, redirect_slashes=False,
    )  # fmt: skip
    app.state.backend = backend
    tools = ToolsOverHttp(backend)
    app.state.entered = [tools.life]
    for router in (*ROUTERS, *((gorse.router,) if backend.settings.gorse else ())):
        app.router.routes.extend(router.routes)  # whole as they are; included, each is made anew at the first request
    page.install(app)
    app.router.routes.append(Route("/mcp", tools))
    app.mount("/mcp", tools)
    faults.install(app)
    describe(app)
    app.add_middleware(_Counted, backend=backend)
    app.add_middleware(Guards, settings=backend.settings)
    return app


class _Counted:
    """Counts, times and logs every request by the pattern of its route; never by what stands in it."""

    def __init__(self, app: ASGIApp, backend: Backend) -> None:
        self.app, self.metrics, self.recent = app, backend.metrics, backend.recent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), [500]

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(route, method, str(status[0])).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            caller = scope.get("state", {}).get("caller")
            if caller is not None and route.startswith(ANSWERS):  # a page that looks is no traffic
                self.recent.request(caller.tenant, route, status[0], seconds)
            access.info("request", extra={"fields": {
                "route": route, "method": method, "status": status[0], "ms": round(1000 * seconds, 2),
                "request_id": scope.get("state", {}).get("request_id"),
                "tenant": getattr(caller, "tenant", None), "caller": getattr(caller, "name", None),
            }})  # fmt: skip
