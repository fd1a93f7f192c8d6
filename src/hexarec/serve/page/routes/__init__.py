"""The pages: one line for each, in the order of the navigation."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from hexarec.serve.keys import Caller
from hexarec.serve.page.routes import (
    ab,
    audit,
    chat,
    data,
    experiments,
    home,
    jobs,
    live,
    methods,
    playground,
    session,
    settings,
    simulate,
)


@dataclass(frozen=True)
class Page:
    """A page of the navigation. name: its word is nav.NAME; scope: what its address asks for; group: one of GROUPS."""

    name: str
    path: str
    scope: str
    group: str
    module: ModuleType


PAGES = (
    Page("home", "/", "read", "use", home),
    Page("playground", "/playground", "read", "use", playground),
    Page("chat", "/chat", "read", "use", chat),
    Page("methods", "/methods", "read", "compare", methods),
    Page("experiments", "/experiments", "read", "compare", experiments),
    Page("simulate", "/simulate", "read", "compare", simulate),
    Page("data", "/data", "read", "run", data),
    Page("live", "/live", "read", "run", live),
    Page("ab", "/ab", "read", "run", ab),
    Page("jobs", "/jobs", "read", "run", jobs),
    Page("audit", "/audit", "read", "run", audit),
    Page("settings", "/settings", "admin", "keep", settings),
)
GROUPS = ("use", "compare", "run", "keep")

ROUTERS = (*(one.module.router for one in PAGES), *(one.router for one in chat.PARTS), session.router)


def pages_for(caller: Caller | None) -> list[Page]:
    """The pages that somebody may open."""
    return [one for one in PAGES if caller is not None and one.scope in caller.scopes]
