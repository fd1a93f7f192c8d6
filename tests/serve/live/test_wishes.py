"""A wish in words that nobody reads is said to be unread, and a list that nobody sees is not counted as shown."""

import ast
import importlib

import pytest
from tests.serve.conftest import URL, TestClient, backend_over, make_app
from tests.test_style import FILES, name_of

from hexarec.data.worlds import world

POPULAR = {"retrieve": [{"use": "popular"}]}
READING = {
    "retriever": {"retrieve": [{"use": "lexical"}]},
    "inside": {"retrieve": [{"use": "fuse", "retrievers": [{"use": "lexical"}, {"use": "popular"}]}]},
    "controller": {**POPULAR, "control": [{"use": "diversity", "lm": "fake:overlap"}]},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    backend = backend_over(tmp_path_factory.mktemp("wishes"), world("cold").data, POPULAR)
    for name, config in READING.items():
        backend.service.tenant().fit(name, config)
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client


def unread(told):
    return [one for one in told["degraded"] if one["stage"] == "text"]


def asked(api, pipeline, **more):
    return api.post("/v1/recommend", json={"user_id": "u", "n": 3, "pipeline": pipeline, **more}).json()


def test_a_wish_that_nobody_reads_is_said_to_be_unread(api):
    told = asked(api, "default", text="something about the ocean")
    assert unread(told) == [
        {"stage": "text", "method": "default", "why": "no stage of this pipeline reads a wish in words"}
    ]
    assert len(told["items"]) == 3
    for text in (None, ""):
        assert unread(asked(api, "default", text=text)) == []


@pytest.mark.parametrize("pipeline", READING)
def test_a_wish_that_is_read_is_not(api, pipeline):
    assert unread(asked(api, pipeline, text="something about the ocean")) == []


def test_who_orders_given_items_must_read_it(api):
    body = {"query": "ocean", "item_ids": ["i000", "i001"], "user_id": "u"}
    told = {name: api.post("/v1/rerank", json={**body, "model": name}).json() for name in ("default", *READING)}
    assert {name: bool(unread(one)) for name, one in told.items()} == {
        "default": True, "retriever": True, "inside": True, "controller": False,
    }  # fmt: skip


def test_a_talk_without_a_conversationalist_says_so_too(api):
    body = {"model": "default", "messages": [{"role": "user", "content": "something about the ocean"}]}
    assert unread(api.post("/v1/chat/completions", json=body).json()["choices"][0]["message"])


def test_every_module_that_reads_words_says_so():
    """`queries.text` is the wish; who reads it carries `reads_text`, or holds a part that does."""
    found = {}
    for file in FILES:
        if name_of(file).split("/")[0] in ("methods", "parts", "classic"):
            reads = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Attribute)
                     and node.attr == "text" and isinstance(node.value, ast.Name) and node.value.id == "queries"]  # fmt: skip
            if reads:
                found[name_of(file)] = file
    says = {
        name for name in found
        for thing in vars(importlib.import_module("hexarec." + name.removesuffix(".py").replace("/", "."))).values()
        if isinstance(thing, type) and getattr(thing, "reads_text", False)
    }  # fmt: skip
    assert says == set(found) >= {"classic/lexical.py", "methods/llmtreerec.py", "parts/textspace.py"}


def shown(api):
    return float(api.get("/metrics").text.partition("\nhexarec_shown_total ")[2].partition("\n")[0])


def test_only_lists_that_are_shown_are_counted(api):
    before = shown(api)
    api.post("/v1/rerank", json={"item_ids": ["i000"], "user_id": "u"})
    asked(api, "default", filter={"field": "item_id", "op": "in", "value": ["none"]})
    asked(api, "default", exclude=world("cold").data.catalog.items.ids.tolist())
    assert shown(api) == before
    asked(api, "default")
    api.post("/v1/chat/completions", json={"model": "default", "messages": [{"role": "user", "content": "hello"}]})
    assert shown(api) == before + 2
