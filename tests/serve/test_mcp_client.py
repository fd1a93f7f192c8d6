"""A real MCP client: over stdio with `hexarec mcp`, and over HTTP with a key and without one."""

import asyncio
import json
import sys

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from tests.serve.conftest import backend_over, key_for
from tests.serve.processes import ENTRY, environment
from tests.serve.running import listening

TOOLS = {"recommend", "similar_items", "search_items", "explain", "record_feedback", "list_pipelines"}


def value_of(result):
    assert not result.is_error, result
    return result.structured_content.get("result", result.structured_content) or json.loads(result.content[0].text)


def ids(made):
    return [one["item_id"] for one in made["items"]]


async def everything(client, data, may_write):
    """Each tool and the resource, as a chat client would use them."""
    tools = (await client.list_tools()).tools
    assert {one.name for one in tools} == TOOLS and all(one.description for one in tools)
    user, items = data.users.ids.ids[0], data.catalog.items.ids.tolist()
    listed = value_of(await client.call_tool("recommend", {"user_id": user, "n": 3}))
    assert len(ids(listed)) == 3 and set(ids(listed)) <= set(items)
    assert ids(value_of(await client.call_tool("recommend", {"liked": items[:2], "n": 2})))
    like = value_of(await client.call_tool("similar_items", {"item_id": items[0], "n": 4}))
    assert items[0] not in ids(like)
    found = value_of(await client.call_tool("search_items", {"words": "title 7", "n": 3}))
    assert found[0]["item_id"] == items[7]
    why = value_of(await client.call_tool("explain", {"item_id": ids(listed)[0], "user_id": user}))
    assert why["evidence"]
    names = value_of(await client.call_tool("list_pipelines", {}))
    assert [one["name"] for one in names] == ["default"]
    kept = await client.call_tool(
        "record_feedback", {"item_id": items[1], "kind": "like", "user_id": "m", "event_id": "e"}
    )
    assert kept.is_error is not may_write
    if may_write:
        again = {"item_id": items[1], "kind": "like", "user_id": "m", "event_id": "e"}
        assert value_of(kept)["verdict"] == "new"
        assert value_of(await client.call_tool("record_feedback", again))["verdict"] == "same"
        other = await client.call_tool("record_feedback", again | {"kind": "hide"})
        assert other.is_error and "exists with other content" in other.content[0].text
    page = await client.read_resource(f"item://{items[2]}")
    assert json.loads(page.contents[0].text)["title"] == data.catalog.titles[2]
    for name, args in (("recommend", {}), ("similar_items", {"item_id": "no such"}), ("recommend", {"n": 1_000, "user_id": "u"}),
                       ("explain", {"item_id": "no such"})):  # fmt: skip
        assert (await client.call_tool(name, args)).is_error, name


@pytest.mark.parametrize("write", [False, True])
def test_over_stdio(tmp_path, data, write):
    backend = backend_over(tmp_path, data)
    backend.service.close()
    words = ["-c", ENTRY, "mcp", "--home", str(tmp_path), *(["--write"] if write else [])]
    server = StdioServerParameters(command=sys.executable, args=words, env=environment(), cwd=tmp_path)

    async def talk():
        async with Client(server, read_timeout_seconds=60) as client:
            await everything(client, data, write)

    asyncio.run(talk())


@pytest.fixture
def served(tmp_path, data):
    backend = backend_over(tmp_path, data)
    with listening(backend) as url:
        yield backend, f"{url}/mcp/"


async def over_http(url, headers, do):
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            await do(client)


@pytest.mark.parametrize("scopes", [("reader",), ("reader", "events")])
def test_over_http_with_a_key(served, data, scopes):
    backend, url = served
    key = key_for(backend, *scopes)
    asyncio.run(over_http(url, key, lambda client: everything(client, data, "events" in scopes)))


def test_over_http_from_this_machine_while_there_is_no_key(served, data):
    asyncio.run(over_http(served[1], {}, lambda client: everything(client, data, True)))


def test_over_http_without_the_key_that_is_needed(served, data):
    backend, url = served
    key_for(backend, "reader")
    backend.doorkeeper._keyless = (0.0, False)

    async def ask(client):
        await client.list_tools()

    with pytest.raises(ExceptionGroup):
        asyncio.run(over_http(url, {}, ask))
    refused = httpx2.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["error"]["type"] == "unauthorized"


def test_the_scopes_of_a_key_hold(served, data):
    backend, url = served

    async def ask(client):
        assert (await client.call_tool("recommend", {"user_id": "u"})).is_error
        assert value_of(await client.call_tool("list_pipelines", {}))

    asyncio.run(over_http(url, key_for(backend, "read"), ask))
