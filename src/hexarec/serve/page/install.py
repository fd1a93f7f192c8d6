"""Puts the page into an application: its routers and its static files."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route

from hexarec.serve.page.render import warm
from hexarec.serve.page.routes import ROUTERS
from hexarec.serve.page.static import assets, served


def install(app: FastAPI) -> None:
    """Add every page; the application has a backend in its state."""
    warm()
    assets()
    for router in ROUTERS:
        app.router.routes.extend(router.routes)  # not included: see make_app
    app.router.routes.append(Route("/static/{digest}/{name:path}", served, methods=["GET"]))
