"""Templates to answers: whole pages and pieces of them, everything escaped, in the language of who looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from hexarec.serve.page import static
from hexarec.serve.page.docs import translations
from hexarec.serve.page.numbers import FILTERS
from hexarec.serve.page.said import phase, said
from hexarec.serve.page.session import viewer_of
from hexarec.serve.page.words import LANGUAGES, language_of, word, words_of

THEME = "hexarec_theme"
THEMES = ("auto", "light", "dark")
PRIVATE = {"cache-control": "no-store", "vary": "cookie, accept-language"}


@pass_context
def _t(context: Context, key: str, /, **values: object) -> str:
    """The word of a key in the language of the page."""
    return word(context["lang"], key, **values)


@pass_context
def _said(context: Context, text: str) -> str | None:
    """A sentence of the package in the language of the page; None where it is English alone."""
    return said(context["lang"], text)


@pass_context
def _phase(context: Context, label: str) -> str:
    """What a job is at, in the language of the page."""
    return phase(context["lang"], label)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters.update(FILTERS)
    made.globals.update(t=_t, said_in=_said, phase_in=_phase, asset=static.address, languages=LANGUAGES, themes=THEMES)
    return made


ENVIRONMENT = _environment()


def warm() -> None:
    """Compile every template and read the words, so that nobody waits for it at the first page."""
    for name in ENVIRONMENT.list_templates():
        ENVIRONMENT.get_template(name)
    for lang in LANGUAGES:
        said(lang, "")
        words_of(lang)
        translations(lang)


def theme_of(request: Request) -> str:
    """The theme somebody chose; auto follows the system."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else "auto"


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page."""
    from hexarec.serve.page.routes import pages_for

    caller = viewer_of(request)
    path = request.url.path
    told = {
        "theme": theme_of(request), "viewer": caller, "pages": pages_for(caller), "path": path,
        "back": path + (f"?{request.url.query}" if request.url.query else ""),
    }  # fmt: skip
    return _rendered(request, template, status, {**told, **values})


def piece(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A piece of a page, for htmx to put in its place."""
    return _rendered(request, template, status, values)


def _rendered(request: Request, template: str, status: int, values: dict[str, Any]) -> HTMLResponse:
    made = ENVIRONMENT.get_template(template).render({**values, "lang": language_of(request)})
    return HTMLResponse(made, status, PRIVATE)
