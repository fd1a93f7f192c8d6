"""Chat completions: with and without a conversationalist, streamed, with state kept here or by the client."""

import asyncio
import json
import time

import pytest
from tests.serve.conftest import URL, TestClient, backend_over, make_app

from hexarec.core import Lists
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
    """A conversationalist that hears no deadline."""

    def converse(self, dialogues, desk):
        time.sleep(1.5)
        return []


class Late:
    """A retriever that hears no deadline."""

    def retrieve(self, queries, k):
        time.sleep(1.0)
        return Lists.of(queries.catalog.key, [[0]] * len(queries))


def test_a_talk_that_hangs_and_the_list_in_its_place_come_before_one_deadline(tmp_path):
    backend = backend_over(tmp_path, world("checkerboard").data, POPULAR)
    served = backend.service.tenant().recommender()
    served.current.pipeline.converse_ = Hangs()
    served.current.pipeline.retrieve_ = [Late()]
    with TestClient(make_app(backend), base_url=URL) as client:
        started = time.monotonic()
        told = message(say(client, "hello", deadline_ms=400))
        assert time.monotonic() - started < 0.7 and len(told["items"]) == 5
    assert len(told["degraded"]) == 2


def test_long_talks_keep_no_list_beyond_its_deadline(tmp_path):
    backend = backend_over(tmp_path, world("checkerboard").data, POPULAR)
    served = backend.service.tenant().recommender()
    served.current.pipeline.retrieve_ = [Late()]
    with TestClient(make_app(backend), base_url=URL) as client:

        async def crowded():
            loop = asyncio.get_running_loop()
            for _ in range(64):
                loop.run_in_executor(None, time.sleep, 0.5)

        client.portal.call(crowded)
        started = time.monotonic()
        told = client.post("/v1/recommend", json={"user_id": "u1", "n": 5, "deadline_ms": 200}).json()
        assert time.monotonic() - started < 0.4 and len(told["items"]) == 5
