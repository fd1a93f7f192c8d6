"""Scripts in items, histories, what people type and what models say: shown as text by every page, run by none."""

import html
import json
import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from hexarec.core import Catalog, Dataset, Interactions, Item, Reply, Users, Words, current
from hexarec.core.ids import IdTable
from hexarec.serve.http.app import make_app
from serve.conftest import URL, backend_over
from serve.corpora import lines
from serve.running import listening

SCRIPTS = [one.replace("\0", "") for one in lines("scripts")]
HTMX = {"hx-request": "true"}
TALKS = {
    "pipeline": {"depth": 60},
    "retrieve": [{"use": "itemknn"}, {"use": "popular"}],
    "rank": {"use": "llmrank", "lm": "fake:overlap", "backend": "list", "rounds": 1},
    "control": [{"use": "mmr"}],
    "explain": {"use": "because"},
    "converse": {"use": "chatrec", "lm": "fake:overlap", "backend": "none"},
}
ADDRESSES = (
    "/", "/?user=u0", "/playground", "/playground?user=u0", "/playground?user=u0&pipeline=default&other=other&novelty=1",
    "/playground?user=u0&novelty=1", "/chat",
)  # fmt: skip
"""Pages by their address; a page that is added belongs here."""


def hostile():
    """Items, users and attributes that are scripts."""
    items = [
        Item(f"i{n}", f"{n} {one}", one, {"genres": (one[:60], "shared"), "director": one})
        for n, one in enumerate(SCRIPTS)
    ]
    users = [f"u{n}" if n < 10 else SCRIPTS[n] for n in range(40)]
    table = IdTable.of(dict.fromkeys(users))
    pairs = [(u, (u * 7 + step * 5) % len(items)) for u in range(len(table)) for step in range(8)]
    log = Interactions.of(
        {"user": [u for u, _ in pairs], "item": [i for _, i in pairs], "time": list(range(len(pairs)))}, len(table)
    )
    return Dataset(Catalog.of(items), log, Users(table), name=SCRIPTS[0])


class Says:
    """A conversationalist whose model says scripts."""

    def converse(self, dialogues, desk):
        """One script for each turn, in its stream too."""
        made = []
        for one in dialogues:
            text = SCRIPTS[len(one.turns) % len(SCRIPTS)] + "\n" + "\n".join(SCRIPTS[:20])
            current().emit({"kind": "words", "dialogue": 0, "text": text})
            items = tuple(desk.catalog.items.ids[:5])
            made.append(Reply(Words(text, answers=(text,)), items, "chat", {"talk": {"unwanted": [["genres", text]]}}))
        return made


def serving(folder):
    """A backend over hostile data, not started."""
    made = backend_over(folder, hostile(), TALKS)
    made.service.tenant().fit("other", {"retrieve": [{"use": "popular"}], "explain": {"use": "because"}})
    made.service.tenant().recommender("default").current.pipeline.converse_ = Says()
    return made


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with TestClient(make_app(serving(tmp_path_factory.mktemp("xss") / "home")), base_url=URL) as made:
        yield made


class Read(HTMLParser):
    """Everything of a page that a browser could run."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "script":
            self.scripts.append(values.get("src") or "inline")
        if tag in ("iframe", "object", "embed", "math", "base", "style", "audio", "video", "frame", "applet"):
            self.found.append(tag)
        for name, value in attrs:
            address = re.sub(r"[\s\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or name in ("style", "srcdoc", "hx-on"):
                self.found.append(f"{tag} {name}")
            if name in ("href", "src", "action", "formaction", "xlink:href", "data") and not address.startswith(
                ("/", "#")
            ):
                self.found.append(f"{tag} {name}={address[:60]}")

    def handle_data(self, data):
        self.text.append(data)


def harmless(text):
    read = Read(text)
    assert read.found == []
    assert all(one.startswith("/static/") for one in read.scripts)
    return " ".join(read.text)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_of_hostile_data(client, address, lang):
    answer = client.get(address, headers={"accept-language": lang})
    assert answer.status_code == 200, answer.text[:500]
    said = harmless(answer.text)
    if "user=" in address:
        assert "alert(1)" in said  # it is there, as text


@pytest.mark.parametrize("payload", SCRIPTS)
def test_what_somebody_types(client, payload):
    client.cookies.clear()
    text = payload[:190]
    for path, asked in (
        ("/playground/list", {"past": text, "user": text}), ("/home/list", {"like": text}), ("/home/users", {"user": text}),
        ("/home/items", {"like": text}), ("/playground/list", {"user": text, "pipeline": text}),
    ):  # fmt: skip
        answer = client.get(path, params=asked, headers=HTMX)
        assert answer.status_code in (200, 404, 422)
        harmless(answer.text)
    shape = {"pipeline": "default", "item": [payload, "i1"], "base": [payload], "novelty": "1"}
    harmless(client.post("/playground/shape", data=shape, headers=HTMX).text)


def test_what_people_and_models_say_in_a_talk(client):
    client.cookies.clear()
    client.post("/chat/people", data={"key": "first", "name": SCRIPTS[0][:40], "user": SCRIPTS[1]})
    for payload in SCRIPTS[:12]:
        said = client.post("/chat/say", data={"text": payload[:1_900]}, headers=HTMX)
        at = re.search(r'id="turn-(\d+)"', said.text)[1]
        harmless(said.text)
        stream = client.get("/chat/reply", params={"at": at}).text
        told = [json.loads(data) for data in re.findall(r"event: text\ndata: (.*)", stream)]
        assert SCRIPTS[0] in "".join(told)  # one JSON text a line, put in as text by the page
        harmless(client.get("/chat/turn", params={"at": at}, headers=HTMX).text)
    whole = client.get("/chat").text
    assert SCRIPTS[0] in html.unescape(whole) and "alert(1)" in harmless(whole)
    client.post("/chat/people", data={"name": SCRIPTS[2][:40]})
    client.post("/chat/say", data={"text": "Something, please."})
    harmless(client.get("/chat").text)
    harmless(client.get("/chat/why", params={"item": "i3"}, headers=HTMX).text)


def test_in_a_browser_nothing_runs(tmp_path, chromium, watched):
    from .conftest import watch

    with listening(serving(tmp_path / "home")) as url:
        context = chromium.new_context(base_url=url, locale="en-US")
        page = watch(context.new_page(), url, watched)
        for address in ADDRESSES:
            page.goto(address)
        page.goto("/playground?user=u0")
        for one in page.locator("summary").all():
            one.click()
        with page.expect_response("**/playground/shape"):
            page.locator("#novelty").press("End")
        page.locator("#shaped .chip").first.wait_for()
        page.goto("/chat")
        for place, payload in enumerate(SCRIPTS[:5]):
            page.locator("#text").fill(payload.replace("\n", " "))
            page.locator("#say button").click()
            page.locator("#turns > .turn").nth(2 * place + 1).locator(".item").nth(4).wait_for()
        assert page.locator("#turns .item").count() == 25
        assert page.evaluate("document.querySelectorAll('main script, main iframe, main img').length") == 0
        context.close()
    watched.check()
