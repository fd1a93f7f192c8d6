"""The chat by the test client: turns, cards, chips, several people, forgetting, and what the store keeps."""

import html
import json
import re

import pytest
from fastapi.testclient import TestClient

from hexarec.core import OptionError
from hexarec.data.store import open_data
from hexarec.parts.talk import Talk
from hexarec.serve.http.app import make_app
from hexarec.serve.page import talks
from serve.conftest import URL, backend_over, key_for

HTMX = {"hx-request": "true"}
FILMS = {"retrieve": [{"use": "itemknn"}, {"use": "popular"}], "explain": {"use": "because"}}
TALKS = {**FILMS, "converse": {"use": "chatrec", "lm": "fake:overlap", "backend": "none", "domain": "film"}}


@pytest.fixture(scope="module")
def films():
    return open_data("films")


@pytest.fixture(scope="module")
def backend(tmp_path_factory, films):
    made = backend_over(tmp_path_factory.mktemp("chat") / "home", films, FILMS)
    made.service.tenant().fit("talks", TALKS)
    return made


@pytest.fixture(scope="module")
def app(backend):
    with TestClient(make_app(backend), base_url=URL) as made:
        yield made


@pytest.fixture
def client(app):
    app.cookies.clear()
    yield app
    app.cookies.clear()


def say(client, text, speaker=""):
    """What somebody says, its stream, and the answer as a piece."""
    first = client.post("/chat/say", data={"text": text, "speaker": speaker}, headers=HTMX)
    assert first.status_code == 200, first.text
    at = re.search(r'id="turn-(\d+)"', first.text)[1]
    stream = client.get("/chat/reply", params={"at": at})
    assert stream.headers["content-type"].startswith("text/event-stream")
    whole = client.get("/chat/turn", params={"at": at}, headers=HTMX)
    assert whole.status_code == 200, whole.text
    return stream.text, html.unescape(whole.text)


def keys(client):
    """The keys of who takes part."""
    return re.findall(r'name="key" value="(\w+)"', client.get("/chat").text)


def first_key(client):
    """The key of the first one, of a talk that has begun."""
    client.post("/chat/settings", data={"pipeline": ""})
    return keys(client)[0]


def cards(text):
    return re.findall(r'name="item" value="([^"]*)"', text)


def streamed(text):
    return "".join(json.loads(data) for data in re.findall(r"event: text\ndata: (.*)", text))


def genres(films, item):
    return films.catalog[item].attributes["genres"]


# ---------------------------------------------------------------------------------------------------------- turns
def test_five_turns_with_cards_and_a_stream_without_titles(client, films):
    heard, first = say(client, "Something with comedy from the 90s, but no horror or war.")
    assert heard.endswith('event: end\ndata: ""\n\n') and streamed(heard).strip()
    shown = cards(first)
    assert shown and all("comedy" in genres(films, one) for one in shown)
    assert not any(films.catalog[one].title in streamed(heard) for one in shown)
    assert 'id="known"' in first and "comedy" in first and "horror" in first
    _, second = say(client, "Why the second one?")
    assert films.catalog[shown[1]].title in second
    _, third = say(client, "A thriller instead. I loved Zodiac.")
    assert cards(third) and all("thriller" in genres(films, one) for one in cards(third))
    assert not set(cards(third)) & set(shown)
    hello, fourth = say(client, "Thanks!")
    assert streamed(hello) and not cards(fourth)
    _, fifth = say(client, "Something else, please.")
    assert not any({"horror", "war"} & set(genres(films, one)) for one in cards(fifth))
    whole = client.get("/chat").text
    assert whole.count('class="turn mine"') == 5 and "aria-busy" not in whole


def test_chinese(client, films):
    liked = films.catalog["f2060"]
    _, text = say(client, f"我喜欢《{liked.titles['zh']}》，再推荐几部")
    assert "我的推荐" in text and cards(text) and liked.id not in cards(text)
    page = html.unescape(client.get("/chat", headers={"accept-language": "zh"}).text)
    assert "喜欢" in page and f"去掉：{liked.titles['zh']}" in page


def test_genres_are_understood_and_shown_in_chinese(client, films):
    zh = {"accept-language": "zh"}
    first = client.post("/chat/say", data={"text": "想看西部片，不要恐怖"}, headers={**HTMX, **zh})
    at = re.search(r'id="turn-(\d+)"', first.text)[1]
    client.get("/chat/reply", params={"at": at}, headers=zh)
    text = html.unescape(client.get("/chat/turn", params={"at": at}, headers={**HTMX, **zh}).text)
    assert cards(text) and all("western" in genres(films, one) for one in cards(text))
    assert "<span>西部</span>" in text and "<span>恐怖</span>" in text and "<span>western</span>" not in text
    assert re.search(r"类型: </span>[^<]*西部", text) and 'value="western"' in text
    assert "<span>western</span>" in html.unescape(client.get("/chat", headers={"accept-language": "en"}).text)


def test_a_chip_clicked_away_changes_the_next_answer(client, films):
    _, first = say(client, "A western, please.")
    assert all("western" in genres(films, one) for one in cards(first))
    away = {"speaker": "", "slot": "wanted", "value": ["genres", "western"]}
    known = client.post("/chat/drop", data=away, headers=HTMX)
    assert 'id="known"' in known.text and "western" not in known.text
    _, second = say(client, "Something else.")
    assert not all("western" in genres(films, one) for one in cards(second))


def test_actions_on_cards(client, films):
    _, first = say(client, "Something with comedy.")
    one, two, three = cards(first)[:3]
    note = lambda item, act: client.post("/chat/note", data={"item": item, "act": act, "speaker": ""}, headers=HTMX)  # noqa: E731
    liked = html.unescape(note(one, "like").text)
    assert "knows that you like this" in liked and films.catalog[one].title in liked and "hx-swap-oob" in liked
    assert films.catalog[two].title in html.unescape(note(two, "hide").text)
    _, second = say(client, "Something with comedy.")
    assert not {one, two} & set(cards(second))
    for item in (one, three):
        assert films.catalog[item].title not in html.unescape(note(item, "forget").text)
    only = {"item": cards(second)[0], "act": "forget", "speaker": ""}
    client.post("/chat/note", data=only, headers=HTMX)
    assert only["item"] in cards(say(client, "Something with comedy.")[1])  # it may be shown anew
    why = client.get("/chat/why", params={"item": cards(second)[0]}, headers=HTMX)
    assert why.status_code == 200 and "<p>" in why.text
    assert note("none", "like").status_code == 404 and note(one, "eat").status_code == 422


# --------------------------------------------------------------------------------------------------------- several
def test_several_people_get_a_list_for_all_of_them(client, films):
    client.post("/chat/people", data={"key": first_key(client), "name": "Ana", "user": "u0001"})
    client.post("/chat/people", data={"name": "Ben"})
    page = client.get("/chat").text
    assert page.count('type="radio"') == 2 and 'value="u0001"' in page
    _, ben = say(client, "I loved Alien. No romance for me.", keys(client)[1])
    _, ana = say(client, "Something with drama.")
    assert "For Ana, Ben" in ana and cards(ana)
    assert re.search(r"Ana: (place|not)", ana) and re.search(r"Ben: (place|not)", ana)
    for one in cards(ana):
        assert "romance" not in genres(films, one) and "drama" in genres(films, one)
    assert not set(cards(ana)) & set(cards(ben))
    for how in ("least_misery", "most_pleasure"):
        client.post("/chat/settings", data={"how": how, "pipeline": ""})
        assert cards(say(client, "Something with drama.")[1])
    assert client.post("/chat/settings", data={"how": "loudest"}).status_code == 422
    client.post("/chat/leave", data={"key": keys(client)[1]})
    assert "Ben" not in client.get("/chat").text
    assert client.post("/chat/leave", data={"key": first_key(client)}).status_code == 422
    for i in range(talks.MOST_PEOPLE - 1):
        client.post("/chat/people", data={"name": f"P{i}"})
    assert client.post("/chat/people", data={"name": "one more"}).status_code == 422


# ---------------------------------------------------------------------------------------------------- kept, forgotten
def rows(backend, client):
    token = client.cookies.get(talks.COOKIE)
    shelf = backend.service.tenant().shelf
    room = shelf.dialogue(f"page-{token}")
    return token, [room, *(shelf.dialogue(f"page-{token}-{key}") for key in (room or {}).get("people", ()))]


def test_the_store_keeps_it_and_forget_erases_it(client, backend):
    say(client, "Something with comedy.")
    token, kept = rows(backend, client)
    assert all(kept) and kept[1]["turns"][1]["items"]
    assert "Something with comedy." not in json.dumps(kept[0])
    client.post("/chat/forget")
    assert rows(backend, client)[0] is None
    shelf = backend.service.tenant().shelf
    assert shelf.dialogue(f"page-{token}") is None
    assert shelf.dialogue(f"page-{token}-{kept[0]['people'][0]}") is None
    room = talks.Room(token, "x", people=(talks.Person("1", "", None, {}),))
    with pytest.raises(Exception, match="erased"):
        talks.keep(shelf, room)  # what was under way cannot bring it back
    assert "Something with comedy." not in client.get("/chat").text


def test_erasing_a_user_takes_out_what_they_said(client, backend):
    client.post("/chat/people", data={"key": first_key(client), "name": "Gone", "user": "u-gone"})
    say(client, "Something secret with comedy.")
    backend.service.tenant().shelf.erase_user("u-gone")
    page = client.get("/chat").text
    assert "secret" not in page and "Gone" not in page
    key = re.search(r'name="speaker" value="(\w+)"', page)[1]
    assert cards(say(client, "Something with comedy.", key)[1])


def test_a_talk_belongs_to_its_caller_and_wrong_cookies_open_nothing(client, backend):
    say(client, "Something with comedy.")
    token = client.cookies.get(talks.COOKIE)
    shelf = backend.service.tenant().shelf
    assert talks.room_of(shelf, token, "somebody else") is None
    for wrong in ("", "x" * 32, "../" + token, token + "-1"):
        client.cookies.clear()
        client.cookies.set(talks.COOKIE, wrong)
        assert "Something with comedy." not in client.get("/chat").text


def test_without_scripts(client):
    assert 'name="speaker" value="first"' in client.get("/chat").text
    answer = client.post("/chat/say", data={"text": "Something with comedy."})
    assert answer.url.path == "/chat" and cards(answer.text) and "aria-busy" not in answer.text


def test_what_is_no_turn_is_refused(client):
    assert client.post("/chat/say", data={"text": " "}, headers=HTMX).status_code == 422
    assert client.post("/chat/say", data={"text": "x" * 2_001}, headers=HTMX).status_code == 422
    assert client.post("/chat/say", data={"text": "x", "speaker": "9"}, headers=HTMX).status_code == 422
    assert client.get("/chat/reply", params={"at": 77}).status_code == 404
    assert client.get("/chat/turn", params={"at": 1}, headers=HTMX).status_code == 404
    assert client.post("/chat/settings", data={"pipeline": "none"}).status_code == 404
    assert client.post("/chat/people", data={"name": "x" * 41}).status_code == 422


def test_a_pipeline_that_cannot_talk_says_how_it_would_and_lists(client, films):
    page = client.get("/chat").text
    assert "cannot hold a conversation" not in page  # the one that can was picked
    client.post("/chat/settings", data={"pipeline": "default", "how": "average"})
    assert "default cannot hold a conversation" in client.get("/chat").text
    _, text = say(client, "Something popular.")
    assert cards(text) and "what the pipeline finds" in text


def test_a_stranger_gets_nothing(tmp_path, films):
    made = backend_over(tmp_path / "home", films, FILMS)
    key_for(made, "read")
    with TestClient(make_app(made), base_url=URL) as client:
        assert client.get("/chat", follow_redirects=False).status_code == 303
        assert client.post("/chat/say", data={"text": "x"}, follow_redirects=False).status_code == 303


# ----------------------------------------------------------------------------------------------------------- values
def test_slots_without_an_entry():
    talk = Talk(liked=("a", "b"), wanted=(("genres", "war"),), years=(1990, 1999), shown=("a",))
    assert talks.dropped(talk, "liked", ["a"]).liked == ("b",)
    assert talks.dropped(talk, "wanted", ["genres", "war"]).wanted == ()
    assert talks.dropped(talk, "years", []).years == (0, 0)
    assert talks.noted(talk, "a", "hide").disliked == ("a",) and talks.noted(talk, "a", "hide").liked == ("b",)
    assert talks.noted(talk, "a", "forget").shown == ()
    with pytest.raises(OptionError):
        talks.dropped(talk, "read", ["1"])
