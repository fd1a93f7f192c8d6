"""The `openai` client against a real server: a pipeline is a model, with a conversationalist and without one."""

import openai
import pytest
from tests.serve.conftest import backend_over, key_for
from tests.serve.jobs.vectors import letters, vector_of
from tests.serve.running import listening

from hexarec.data.worlds import world

CHAT = {
    "use": {"lm": {"model": "fake:overlap"}, "words": {"encoder": "tfidf"}},
    "retrieve": [{"use": "popular"}],
    "converse": {"use": "chatrec", "lm": "@lm", "encoder": "@words", "candidates": 8, "shown": 3},
}


@pytest.fixture(scope="module")
def data():
    return world("cold").data


@pytest.fixture(scope="module")
def served(tmp_path_factory, data):
    backend = backend_over(tmp_path_factory.mktemp("home"), data)
    tenant = backend.service.tenant("default")
    tenant.fit("chat", CHAT)
    with letters() as (encoder, _):
        texts = {"use": {"e": {"encoder": encoder}}, "retrieve": [{"use": "frozen_encoder", "encoder": "@e", "dim": 4}]}
        tenant.fit("texts", texts)
        key = key_for(backend, "recommend")["authorization"].removeprefix("Bearer ")
        with listening(backend) as url:
            yield url, key, encoder


@pytest.fixture
def client(served):
    url, key, _ = served
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as made:
        yield made


def said(*turns):
    return [{"role": ("user", "assistant")[i % 2], "content": one} for i, one in enumerate(turns)]


def test_pipelines_are_models(client):
    assert [one.id for one in client.models.list()] == ["chat", "default", "texts"]


@pytest.mark.parametrize("model", ["chat", "default"])
def test_a_reply_names_real_items(client, data, model):
    made = client.chat.completions.create(model=model, messages=said("Something about the ocean, please"), user="u")
    (choice,) = made.choices
    assert choice.message.content and choice.finish_reason == "stop" and made.model == model
    items = choice.message.model_extra["items"]
    assert items and {one["item_id"] for one in items} <= set(data.catalog.items.ids)
    assert all(one["title"] in choice.message.content for one in items[:1])


@pytest.mark.parametrize("model", ["chat", "default"])
def test_a_stream_says_what_the_whole_says(client, model):
    messages = said("Something about the ocean, please")
    whole = client.chat.completions.create(model=model, messages=messages, user="u").choices[0].message
    words, items, ends, usage = "", None, [], None
    for chunk in client.chat.completions.create(
        model=model, messages=messages, user="u", stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            words += choice.delta.content or ""
            items = (choice.delta.model_extra or {}).get("items", items)
            ends.append(choice.finish_reason)
    assert words == whole.content and items == whole.model_extra["items"]
    assert [one for one in ends if one] == ["stop"] and usage is not None


def test_five_turns_keep_their_state_with_the_client(client):
    turns, state, acts, shown = [], {}, [], []
    for words in ("Hello", "I like stories of the ocean", "Another one", "No robots please", "Which do you suggest?"):
        turns.append({"role": "user", "content": words})
        made = client.chat.completions.create(model="chat", messages=turns, user="walker", extra_body={"state": state})
        message = made.choices[0].message
        turns.append({"role": "assistant", "content": message.content})
        state, extra = message.model_extra["state"], message.model_extra
        acts.append(extra["act"])
        shown += [one["item_id"] for one in extra["items"]]
        # the double knows no words but the items': where none overlaps it says so, and nothing else may go wrong
        assert all("all options alike" in one["why"] for one in extra["degraded"])
    assert state and len(acts) == 5 and shown
    assert "robot" in str(state).lower(), "what was refused three replies ago is kept"


def test_five_turns_keep_their_state_on_the_server(client):
    words = ("I like stories of the ocean", "Another one", "No robots please", "Another one", "And one more")
    first = states_of(client, words, "d1")
    assert states_of(client, words, "d2") == first and len(set(map(str, first))) > 1
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(
            model="chat", messages=said("Hi"), user="thief", extra_body={"dialogue_id": "d1"}
        )


def states_of(client, words, dialogue):
    made = []
    for one in words:
        reply = client.chat.completions.create(
            model="chat", messages=said(one), user="keeper", extra_body={"dialogue_id": dialogue}
        )
        made.append(reply.choices[0].message.model_extra["state"])
    return made


def test_chinese_is_answered_in_chinese(client):
    made = client.chat.completions.create(model="default", messages=said("推荐一些海洋的故事"), user="u")
    assert made.choices[0].message.content.startswith("为您推荐")


def test_vectors(client, served):
    encoder = served[2]
    for form in ("float", "base64"):  # base64 is what the client asks for by itself
        more = {} if form == "base64" else {"encoding_format": form}
        made = client.embeddings.create(model=encoder, input=["one ocean", "海"], **more)
        assert len(made.data) == 2 and made.usage.prompt_tokens > 0
        got, wanted = made.data[0].embedding, vector_of("one ocean")
        scale = got[-1] / wanted[-1]
        assert got == pytest.approx([scale * one for one in wanted], rel=1e-5)
    assert len(client.embeddings.create(model=encoder, input="x", dimensions=3).data[0].embedding) == 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.chat.completions.create(model="none", messages=said("Hi")), openai.NotFoundError),
        (lambda c: c.chat.completions.create(model="chat", messages=said("Hi", "Yes?")), openai.UnprocessableEntityError),
        (lambda c: c.chat.completions.create(model="chat", messages=[]), openai.UnprocessableEntityError),
        (lambda c: c.embeddings.create(model="none", input="x"), openai.NotFoundError),
        (lambda c: c.with_options(api_key="hx_wrong.key").models.list(), openai.AuthenticationError),
    ],
)  # fmt: skip
def test_errors_have_their_types(client, call, error):
    with pytest.raises(error) as told:
        call(client)
    assert told.value.body["message"]
    assert client.models.list().data, "and the next call is answered"
