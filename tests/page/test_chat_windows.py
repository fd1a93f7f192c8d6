"""Two windows of one browser that write into the same talk: nothing that either said, noted or was told is lost."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from hexarec.data.worlds import world
from hexarec.parts.talk import Talk
from hexarec.serve.errors import ConflictError
from hexarec.serve.http.app import make_app
from hexarec.serve.page import talks
from hexarec.serve.page.routes.chat import turns
from hexarec.serve.page.talks import Line, onto
from hexarec.serve.store.errors import ChangedError
from serve.conftest import URL, backend_over

HTMX = {"hx-request": "true"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    return backend_over(tmp_path_factory.mktemp("windows") / "home", world("checkerboard").data)


@pytest.fixture(scope="module")
def app(backend):
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as made:
        yield made


@pytest.fixture
def client(app):
    app.cookies.clear()
    app.post("/chat/settings", data={"pipeline": "default"})
    yield app
    app.cookies.clear()


@pytest.fixture
def shelf(backend):
    return backend.service.tenant("default").shelf


def room_of(client, shelf):
    token = client.cookies.get(talks.COOKIE)
    return talks.room_of(shelf, token, shelf.dialogue(f"page-{token}")["who"])


def texts(room, role="user"):
    return [line.text for _, line in room.lines() if line.role == role]


def test_who_writes_later_writes_nothing_over(client, shelf):
    first, second = room_of(client, shelf), room_of(client, shelf)
    talks.keep(shelf, talks.said(first, "", "one"))
    with pytest.raises(ChangedError):
        talks.keep(shelf, talks.said(second, "", "two"))
    assert texts(room_of(client, shelf)) == ["one"]
    room, again = talks.changed(shelf, lambda: room_of(client, shelf), lambda room: talks.said(room, "", "two"))
    assert texts(room) == texts(room_of(client, shelf)) == ["one", "two"] and not again
    places = [line.at for _, line in room.lines()]
    assert len(set(places)) == 2


def test_a_turn_is_taken_up_anew_on_what_the_other_window_left(client, shelf):
    reads = []

    def read():
        room = room_of(client, shelf)
        if not reads:
            talks.keep(shelf, talks.said(room, "", "theirs"))
        reads.append(room)
        return room

    room, again = talks.changed(shelf, read, lambda room: talks.said(room, "", "ours"))
    assert again and len(reads) == 2 and texts(room_of(client, shelf)) == ["theirs", "ours"]

    def always():
        room = room_of(client, shelf)
        talks.keep(shelf, replace(room, pipeline="default"))
        return room

    with pytest.raises(ConflictError):
        talks.changed(shelf, always, lambda room: talks.said(room, "", "never"))
    assert "never" not in texts(room_of(client, shelf))


def test_many_at_once_lose_nothing(client, shelf, app):
    token = client.cookies.get(talks.COOKIE)
    words = [f"turn {n}" for n in range(16)]

    def say(text):
        answer = app.post("/chat/say", data={"text": text}, headers={**HTMX, "cookie": f"{talks.COOKIE}={token}"})
        assert answer.status_code == 200 and text in answer.text
        return "another window" in answer.text

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(say, words))
    room = room_of(client, shelf)
    assert sorted(texts(room)) == sorted(words) and room.next == 2 * len(words)
    assert len({line.at for _, line in room.lines()}) == len(words)
    assert len(told) == len(words)


def test_the_later_one_is_told(client, shelf, monkeypatch):
    usual, other = talks.keep, []

    def keep(shelf, room):
        if not other:
            other.append(True)
            usual(shelf, talks.said(room_of(client, shelf), "", "from the other window"))
        usual(shelf, room)

    monkeypatch.setattr(talks, "keep", keep)
    text = client.post("/chat/say", data={"text": "from this one"}, headers=HTMX).text
    assert "in another window at the same moment" in text and "from this one" in text
    assert texts(room_of(client, shelf)) == ["from the other window", "from this one"]


def test_what_is_noted_while_an_answer_is_made_stays(client, shelf, backend, monkeypatch):
    catalog = backend.service.tenant("default").catalog
    one, two = catalog.items.ids.tolist()[:2]
    usual = turns._for_one

    async def slow(asked, person, started, hear):
        line, state = await usual(asked, person, started, hear)
        room = talks.room_of(shelf, asked.room.token, asked.room.who)  # the other window: a like, and another turn
        talk = talks.noted(room.person("").talk, one, "like")
        liked = room.with_person(replace(room.person(""), state={**room.person("").state, **talk.as_json()}))
        talks.keep(shelf, talks.said(liked, "", "and this"))
        return line, {**state, **talks.noted(Talk.parse(state), two, "like").as_json()}

    monkeypatch.setattr(turns, "_for_one", slow)
    text = client.post("/chat/say", data={"text": "something"}, headers=HTMX).text
    at = re.search(r'id="turn-(\d+)"', text)[1]
    client.get("/chat/reply", params={"at": at})
    room = room_of(client, shelf)
    assert texts(room) == ["something", "and this"] and len(texts(room, "assistant")) == 1
    assert set(room.person("").talk.liked) == {one, two}
    assert [line.role for line in room.person("").lines] == ["user", "assistant", "user"]


def test_forgetting_takes_along_who_joined_in_the_same_moment(client, shelf, monkeypatch):
    client.post("/chat/say", data={"text": "a secret"}, headers=HTMX)
    token, joined = client.cookies.get(talks.COOKIE), []
    usual = type(shelf).forget_dialogues

    def late(self, ids, after=None):
        if not joined:
            room = room_of(client, shelf)
            joined.append(talks.new_person("Late", None))
            talks.keep(shelf, room.with_person(joined[0]))
        return usual(self, ids, after)

    monkeypatch.setattr(type(shelf), "forget_dialogues", late)
    client.post("/chat/forget")
    assert shelf.dialogue(f"page-{token}") is None
    assert shelf.dialogue(f"page-{token}-{joined[0].key}") is None


@pytest.mark.parametrize(
    ("now", "before", "after", "made"),
    [
        ({"a": [1]}, {"a": [1]}, {"a": [2, 1]}, {"a": [2, 1]}),
        ({"a": [1, 3]}, {"a": [1]}, {"a": [2]}, {"a": [3, 2]}),
        ({"a": []}, {"a": [1]}, {"a": [1, 2]}, {"a": [2]}),
        ({"a": [["g", "x"]]}, {}, {"a": [["g", "y"]]}, {"a": [["g", "x"], ["g", "y"]]}),
        ({"t": {"a": [1], "n": 4}}, {"t": {"a": [], "n": 1}}, {"t": {"a": [2], "n": 3}}, {"t": {"a": [1, 2], "n": 3}}),
        ({"years": [1990, 1999]}, {"years": [0, 0]}, {"years": [2000, 0]}, {"years": [2000, 0]}),
        ({"s": "theirs"}, {"s": ""}, {"s": ""}, {"s": "theirs"}), ({"s": "theirs"}, {"s": ""}, {"s": "ours"}, {"s": "ours"}),
        ({}, {"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}), ({"a": [1], "b": 2}, {}, {}, {"a": [1], "b": 2}),
    ],
)  # fmt: skip
def test_a_change_onto_another_state(now, before, after, made):
    assert onto(now, before, after) == made


def test_an_answer_stands_behind_its_question():
    room = talks.said(talks.said(talks.new_room("x"), "", "one"), "", "two")
    room = talks.answered(room, "", Line(3, "assistant", "to two"), {}, {})
    room = talks.answered(room, "", Line(1, "assistant", "to one"), {}, {})
    assert [line.text for line in room.person("").lines] == ["one", "to one", "two", "to two"]
