"""Scripts in items, users, files, jobs, experiments and reasons: shown as text by the pages of data and traffic."""

import re
import time
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from hexarec.core import Catalog, Dataset, Interactions, Item, Users
from hexarec.core.ids import IdTable
from hexarec.serve import trials
from hexarec.serve.http.app import make_app
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.live.given import Given
from hexarec.serve.store.rows import ShownRow, UserRow
from serve.conftest import URL, backend_over
from serve.corpora import lines
from serve.running import listening

SCRIPTS = [one.replace("\0", "").replace("\r", "") for one in lines("scripts")]
CONFIG = {"retrieve": [{"use": "popular"}]}
ADDRESSES = (
    "/data", "/data/health", "/data/items", "/data/items?q=alert", "/data/items/i0", "/data/items/i7",
    "/data/users", "/data/users?q=u", "/data/users/u0", "/data/import", "/live", "/live/now", "/live/drift", "/ab",
    "/ab/home", "/ab/home/reading", "/jobs", "/jobs/list", "/jobs/bad", "/jobs/bad/state", "/audit", "/audit/numbers",
    "/simulate",
)  # fmt: skip
PIECES = ("/health", "/now", "/drift", "/reading", "/list", "/state", "/numbers")
"""Ends of addresses that are loaded into pages."""
FILE = "user,item,time,title\n" + "".join(
    f'u{n},"{one.replace(chr(34), chr(34) * 2)}",{1_600_000_000 + n if n % 2 else "never"},"{one.replace(chr(34), chr(34) * 2)}"\n'
    for n, one in enumerate(SCRIPTS)
    if "\n" not in one
)


def hostile(folder, **settings):
    items = [Item(f"i{n}", one, one, {"genres": (one[:60], "shared")}, {"zh": one}) for n, one in enumerate(SCRIPTS)]
    users = [f"u{n}" for n in range(40)]
    pairs = [(u, (u * 7 + step * 5) % len(items)) for u in range(40) for step in range(8)]
    log = Interactions.of(
        {"user": [u for u, _ in pairs], "item": [i for _, i in pairs], "time": [1e9 + n for n in range(len(pairs))]}, 40
    )
    backend = backend_over(folder, Dataset(Catalog.of(items), log, Users(IdTable.of(users)), name=SCRIPTS[0]), CONFIG,
                           **settings)  # fmt: skip
    tenant = backend.service.tenant("default")
    tenant.shelf.put_users(
        [UserRow(one, {"plan": SCRIPTS[n % 3], SCRIPTS[1][:80]: SCRIPTS[n]}) for n, one in enumerate(users)]
    )
    trials.created(tenant, "home", {"arms": {SCRIPTS[0][:60]: "default", SCRIPTS[1][:60]: "default"}}, 0.0)
    trials.moved(tenant, "home", "running", time.time() - 100)
    arms = list(trials.of(tenant, "home").body["arms"])
    tenant.shelf.log_shown_soon([
        ShownRow(f"r{n}", time.time() - 50 + n / 100, "default", "p", ("i1", f"i{n}"), (1.0, 1.0), (), f"u{n % 40}", None,
                 "home", arms[n % 2]) for n in range(200)
    ]).result()  # fmt: skip
    tenant.shelf.audit(SCRIPTS[0], SCRIPTS[1], SCRIPTS[2])
    shelf = tenant.shelf
    shelf.add_job("fit", {"pipeline": SCRIPTS[3][:100]}, id="bad")
    shelf.claim_job("w")
    shelf.beat("bad", "w", phase=SCRIPTS[4][:200], done=1, total=2, since=1.0)
    for one in SCRIPTS[:60]:
        shelf.job_log("bad", one[:500])
    shelf.end_job("bad", "w", state="failed", error=SCRIPTS[5], result={"a": SCRIPTS[6], "b": [SCRIPTS[7]]})
    for one in SCRIPTS[:20]:
        backend.recent.answered("default", Given((), (), degraded=({"stage": one, "method": one, "why": one},)))
    return backend


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    return hostile(tmp_path_factory.mktemp("xss") / "home")


@pytest.fixture(scope="module")
def client(backend):
    with TestClient(make_app(backend), base_url=URL) as made:
        yield made


class Read(HTMLParser):
    """What of a page a browser could run."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            address = re.sub(r"[\s\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.found.append(f"{tag} {name}")
            if name in ("href", "src", "action", "formaction", "data") and not address.startswith(("/", "#")):
                self.found.append(f"{tag} {name}={address[:60]}")
        if tag in ("iframe", "object", "embed", "math", "base", "style", "audio", "video", "frame", "applet"):
            self.found.append(tag)
        if tag == "script" and not dict(attrs).get("src", "").startswith("/static/"):
            self.found.append("script")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_of_hostile_data(client, address, lang):
    answer = client.get(address, headers={"accept-language": lang})
    assert answer.status_code == 200, answer.text[:500]
    assert Read(answer.text).found == []


def test_every_item_page(client):
    for n in range(0, len(SCRIPTS), 12):
        text = client.get(f"/data/items/i{n}").text
        assert (
            Read(text).found == [] and client.get(f"/data/found/items?q={quote(SCRIPTS[n][:190])}").status_code == 200
        )


def test_a_file_of_scripts(client, backend):
    where = client.post("/data/upload", files=[("file", ("<script>alert(1)</script>.csv", FILE))]).url.path
    begun = client.post(f"{where}/check", data={}, headers={"hx-request": "true"}).text
    job = re.search(r"checked\?job=([\w.-]+)", begun)[1]
    runner = Runner(backend.service, beat=0.02)
    while backend.service.tenant("default").shelf.job(job).state == "waiting":
        assert runner.one()
    for path in (where, f"{where}/preview", f"{where}/checked?job={job}"):
        text = client.get(path).text
        assert Read(text).found == [] and "alert(1)" in text
    for part in client.get(f"{where}/rejects.csv?job={job}").text.splitlines()[1:]:
        assert not part.startswith(("=", "+", "-", "@"))


def test_figures_of_hostile_names(client):
    for name in ("groups", "users-liked"):
        answer = client.get(f"/audit/figures/7/{name}.svg")
        assert answer.status_code == 200 and "<script" not in answer.text.lower()
    assert client.get("/ab/home/figures/course.svg").status_code == 200


def test_nothing_runs_in_a_browser(open_page, tmp_path_factory):
    with listening(hostile(tmp_path_factory.mktemp("run") / "home")) as url:
        page = open_page("/login", url=url)
        for address in ADDRESSES:
            if not address.endswith(PIECES):
                page.goto(address)
                page.wait_for_timeout(250)  # pages that follow a job never rest
