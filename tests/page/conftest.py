"""The page over a tiny world: by the test client, and in the distribution's Chromium.

Write fast tests with `page_client`. Browser tests take `browser_page` (a Playwright page at the live server of the
module) and end with `axe_clean(browser_page)`; they fail on a console error and on a request that leaves the host. A
module that needs another server defines its own `backend` or `site`.
"""

import os
import shutil
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient
from tests.hanging import LONG

from hexarec.core.options import clear_memo
from hexarec.data.worlds import world
from hexarec.serve.http.app import make_app
from serve.conftest import URL, backend_over
from serve.running import listening

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("HEXAREC_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

LOOKS = (
    ("en", "light"), ("zh", "dark"), pytest.param("en", "dark", marks=pytest.mark.slow),
    pytest.param("zh", "light", marks=pytest.mark.slow),
)  # fmt: skip
"""Every word and every colour once; the other two pairs are slow."""


@pytest.fixture(scope="module")
def data():
    return world("checkerboard").data


@pytest.fixture(scope="module")
def backend(tmp_path_factory, data):
    """A backend whose pipeline asks no model; without keys, so that everybody is the owner."""
    return backend_over(tmp_path_factory.mktemp("page") / "home", data)


@pytest.fixture(scope="module")
def page_client(backend):
    """The application by httpx, started."""
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client


# ------------------------------------------------------------------------------------------------------ browser
@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    """The address of a live server of this module."""
    with listening(backend_over(tmp_path_factory.mktemp("site") / "home", data)) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    """The distribution's Chromium, closed at the end of the module: its loop must not outlive it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if not os.access(CHROMIUM, os.X_OK):
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium, or name one in HEXAREC_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield started
        started.close()


@dataclass
class Watched:
    """What a browser complained of. expected: parts of complaints that a test brings about on purpose."""

    complaints: list = field(default_factory=list)
    expected: list = field(default_factory=list)

    def check(self):
        wrong = [one for one in self.complaints if not any(part in one for part in self.expected)]
        assert wrong == [], "the browser complained"


@pytest.fixture
def watched():
    return Watched()


def watch(page, url, watched):
    """Note console errors, faults of scripts, dialogs, and requests to anywhere but the server."""

    def asked(request):
        if not request.url.startswith((url, "data:", "blob:", "about:")):
            watched.complaints.append(f"request to {request.url}")

    def said(message):
        if message.type in ("error", "warning"):
            watched.complaints.append(f"console {message.type}: {message.text}")

    def asked_person(dialog):
        watched.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: watched.complaints.append(f"script: {error}"))
    page.on("dialog", asked_person)
    return page


@pytest.fixture
def open_page(chromium, site, watched):
    """Opens pages: open_page("/", lang="zh", theme="dark", viewport=PHONE). Those of a test that look alike share one
    browser's cookies and what it keeps; fresh=True opens another."""
    contexts = {}

    def opened(path="/", *, lang="en", theme="light", viewport=DESKTOP, touch=False, url=None, fresh=False):
        look = (lang, theme, *viewport.values(), touch, url or site, len(contexts) if fresh else None)
        if look not in contexts:
            contexts[look] = chromium.new_context(
                base_url=url or site, locale={"en": "en-US", "zh": "zh-CN"}[lang], color_scheme=theme,
                viewport=viewport, has_touch=touch, reduced_motion="reduce",
            )  # fmt: skip
            contexts[look].set_default_timeout(1_000 * LONG)
        page = watch(contexts[look].new_page(), url or site, watched)
        page.goto(path)
        return page

    yield opened
    for context in contexts.values():
        context.close()
    watched.check()


@pytest.fixture
def browser_page(open_page):
    """The first page, in English, in the light theme, on a desktop."""
    return open_page("/")


def axe_clean(page):
    """Fail on what axe finds serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    grave = [
        (
            one["id"],
            one["help"],
            [node["html"][:200] + " | " + node["failureSummary"][:300] for node in one["nodes"][:3]],
        )
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


def wide_enough(page):
    """Fail when a page scrolls sideways: only boxes inside it may."""
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1], f"the page is {sizes[0]} px wide on a screen of {sizes[1]} px"


@pytest.fixture(autouse=True, scope="module")
def forgotten_fits():
    yield
    clear_memo()
