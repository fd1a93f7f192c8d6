"""Chat completions: with and without a conversationalist, streamed, with state kept here or by the client."""

import asyncio
import json

import pytest
from tests.hanging import LONG, Hang
from tests.serve.conftest import URL, TestClient, backend_over, make_app

from hexarec.core import Lists, current
from hexarec.data.store import open_data
from hexarec.data.worlds import world

POPULAR = {"retrieve": [{"use": "popular"}]}
TALKS = {**POPULAR, "converse": {"use": "chatrec", "lm": "fake:overlap", "gate": "rules"}}


@pytest.fixture(scope="module")
def films():
    return open_data("films")


@pytest.fixture(scope="module")
def api(tmp_path_factory, films):
    backend = backend_over(tmp_path_factory.mktemp("chat"), films, POPULAR)
    backend.service.tenant().fit("talks", TALKS)
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client


def say(api, *texts, model="default", **more):
    turns = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]
    answer = api.post("/v1/chat/completions", json={"model": model, "messages": turns, **more})
    assert answer.status_code == 200, answer.text
    return answer


def message(answer):
    return answer.json()["choices"][0]["message"]


def test_a_pipeline_that_cannot_talk_names_its_list_in_the_language_of_the_question(api, films):
    english, chinese = message(say(api, "something popular please")), message(say(api, "推荐几部电影"))
    assert english["content"].startswith("You may like: ") and chinese["content"].startswith("为您推荐：")
    assert english["items"] == chinese["items"] and len(english["items"]) == 5
    catalog = films.catalog
    for one in english["items"]:
        assert catalog[one["item_id"]].title in english["content"]
        assert catalog[one["item_id"]].titles["zh"] in chinese["content"]


def test_items_are_references_and_the_state_goes_round(api, films):
    first = message(say(api, "I like horror. Recommend something.", model="talks"))
    assert first["act"] == "recommend" and first["items"] and first["state"]
    assert all("horror" in films.catalog[one["item_id"]].attributes["genres"] for one in first["items"])
    asked = ("I like horror. Recommend something.", first["content"], "Something from after 1990, please.")
    second = message(say(api, *asked, model="talks", state=first["state"]))
    assert all("horror" in films.catalog[one["item_id"]].attributes["genres"] for one in second["items"])


def test_the_server_keeps_the_state_under_a_dialogue_id(api, films):
    more = {"model": "talks", "dialogue_id": "d1", "user": "u0001"}
    say(api, "No horror for me, never.", **more)
    second = message(say(api, "Recommend something.", **more))
    assert second["items"]
    assert not any("horror" in films.catalog[one["item_id"]].attributes["genres"] for one in second["items"])
    other = api.post("/v1/chat/completions", json={"model": "talks", "dialogue_id": "d1", "user": "u0002",
                                                   "messages": [{"role": "user", "content": "hi"}]})  # fmt: skip
    assert other.status_code == 403
    thief = {"model": "talks", "dialogue_id": "d1", "user": "u0002", "state": {"mine": True},
             "messages": [{"role": "user", "content": "hi"}]}  # fmt: skip
    assert api.post("/v1/chat/completions", json=thief).status_code == 403
    assert message(say(api, "Recommend something.", **more))["items"]


def test_a_stream_says_the_same_as_the_whole(api):
    whole = message(say(api, "I like horror. Recommend something.", model="talks"))
    answer = say(api, "I like horror. Recommend something.", model="talks", stream=True,
                 stream_options={"include_usage": True})  # fmt: skip
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]" and answer.headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(line) for line in lines[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == whole["content"] and chunks[-1]["choices"][0]["finish_reason"] == "stop"
    items = [chunk["choices"][0]["delta"]["items"] for chunk in chunks if "items" in chunk["choices"][0]["delta"]]
    assert items == [whole["items"]] and "usage" in chunks[-1]


def test_what_is_no_conversation_is_refused(api):
    for messages in ([], [{"role": "assistant", "content": "hi"}], [{"role": "user", "content": {"a": 1}}]):
        answer = api.post("/v1/chat/completions", json={"model": "default", "messages": messages})
        assert answer.status_code == 422, messages
    missing = api.post("/v1/chat/completions", json={"model": "none", "messages": [{"role": "user", "content": "x"}]})
    assert missing.status_code == 404


class Hangs:
    """A conversationalist and a retriever that hear no deadline. until: that of the first reply, monotonic seconds."""

    def __init__(self, slow):
        self.slow, self.until = slow, None

    def converse(self, dialogues, desk):
        self.until = current().deadline
        self.slow()
        return []

    def retrieve(self, queries, k):
        self.slow()
        return Lists.of(queries.catalog.key, [[0]] * len(queries))


@pytest.fixture
def patient(tmp_path):
    """A backend that ends nothing within LONG unless the request says so."""
    allowed = int(10_000 * LONG)
    return backend_over(tmp_path, world("checkerboard").data, POPULAR, deadline_ms=allowed, longest_ms=allowed)


def test_a_talk_that_hangs_and_the_list_in_its_place_come_before_one_deadline(patient, monkeypatch):
    served, asked = patient.service.tenant().recommender(), []
    usual = served.submit
    monkeypatch.setattr(served, "submit", lambda ask: asked.append(ask) or usual(ask))
    with TestClient(make_app(patient), base_url=URL) as client, Hang() as slow:
        served.current.pipeline.converse_ = stage = Hangs(slow)
        served.current.pipeline.retrieve_ = [stage]
        told = message(say(client, "hello", deadline_ms=1_200))
        assert not slow.came_back and len(told["items"]) == 5
    assert len(told["degraded"]) == 2
    # the talk is left after three quarters, 0.05 s early; a list with a deadline of its own would have 1.25 s more
    assert asked[0].deadline - stage.until < 0.8, "the list has what the talk left"


def test_long_talks_keep_no_list_beyond_its_deadline(patient):
    served = patient.service.tenant().recommender()
    with TestClient(make_app(patient), base_url=URL) as client, Hang() as slow:
        served.current.pipeline.retrieve_ = [Hangs(slow)]

        async def crowded():
            loop = asyncio.get_running_loop()
            for _ in range(64):
                loop.run_in_executor(None, slow)

        client.portal.call(crowded)
        told = client.post("/v1/recommend", json={"user_id": "u1", "n": 5, "deadline_ms": 200}).json()
        assert not slow.came_back and len(told["items"]) == 5
