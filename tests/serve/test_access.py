"""Who may do what: every role at every route of both tenants, and nothing of one tenant shows at the other."""

import json
import re
import time
from dataclasses import replace

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount

from hexarec.data.worlds import world
from hexarec.serve.http.app import make_app
from hexarec.serve.keys import ROLES, SCOPES, made_key
from hexarec.serve.page.routing import PageRoute
from hexarec.serve.store.rows import EventRow, ItemRow, UserRow

from .conftest import CLASSIC, URL, TestClient, backend_over, key_for

TENANTS = ("default", "other")
SECRET, NAMED = "secret-of-a", "named-by-a"  # content of tenant A; ids of tenant A
OPEN = {"/openapi.json", "/static/{digest}/{name:path}"}
OWN_DOOR = {"/mcp"}  # asks for a key itself, and for scopes tool by tool


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    data = world("checkerboard").data
    backend = backend_over(tmp_path_factory.mktemp("access") / "home", data, gorse=True)
    second = backend.service.tenant("other")
    second.import_data(data)
    second.fit("default", CLASSIC)
    key_for(backend, "read")
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client, backend


def routes_of(app):
    """Every method and path of an application with the scope it says it needs; fails for a door of another kind."""
    found = []
    for route in app.routes:
        if isinstance(route, Mount) or route.__class__.__name__ == "Route":
            assert route.path in OPEN | OWN_DOOR, f"{route.path} is neither of the API nor known here"
            continue
        assert isinstance(route, APIRoute), f"{route} is a door of a kind not known here"
        if isinstance(route, PageRoute):
            continue  # of the page: tests/page/test_access.py
        scope = (route.openapi_extra or {}).get("x-scope")
        assert scope in {*SCOPES, "none"}, f"{route.path} does not say what it needs"
        found += [(method, route.path_format, scope) for method in route.methods]
    return found


def caller(backend, role, tenant):
    """The headers of a role, and the scopes that it has."""
    if role == "nobody":
        return {}, frozenset()
    row, secret = made_key(role, ["admin"] if role in ("expired", "revoked") else [role])
    ends = {"expired": {"expires": time.time() - 1}, "revoked": {"revoked": time.time() - 1}}.get(role, {})
    backend.service.store.of(tenant).put_key(replace(row, **ends))
    return {"authorization": f"Bearer {secret}"}, frozenset() if ends else ROLES[role]


def expected(scope, headers, scopes):
    if scope == "none":
        return "in"
    if not scopes:
        return 401
    return "in" if scope in scopes else 403


def test_every_cell(served, capsys):
    client, backend = served
    wrong, cells = [], 0
    for tenant in TENANTS:
        for role in ("nobody", "reader", "writer", "admin", "expired", "revoked"):
            headers, scopes = caller(backend, role, tenant)
            for method, path, scope in routes_of(client.app):
                for name in ("item_id", "user_id", "job_id", "key_id", "request_id", "name"):
                    path = path.replace(f"{{{name}}}", "nothing")
                # the harness has one address, and six roles that fail on purpose are not somebody guessing
                backend.doorkeeper._failures.clear()
                answer = client.request(method, path, headers=headers, json={} if method != "GET" else None)
                want = expected(scope, headers, scopes)
                got = "in" if answer.status_code not in (401, 403) else answer.status_code
                cells += 1
                if got != want:
                    wrong.append((tenant, role, method, path, want, got))
                if got == 401:
                    assert answer.headers["www-authenticate"] == "Bearer"
    with capsys.disabled():
        print(f"\naccess: {cells} cells, {len(wrong)} wrong")
    assert wrong == []
    assert cells == 12 * len(routes_of(client.app)) >= 12 * 45


def test_openapi_says_the_same_as_the_routes(served):
    client, _ = served
    told = {
        (method.upper(), path): operation["x-scope"]
        for path, methods in client.app.openapi()["paths"].items()
        for method, operation in methods.items()
    }
    assert told == {(method, path): scope for method, path, scope in routes_of(client.app)}


def test_the_scope_a_route_says_is_the_scope_it_asks_for(served):
    client, _ = served
    ours = [one for one in client.app.routes if isinstance(one, APIRoute) and not isinstance(one, PageRoute)]
    assert len(ours) > 40
    for one in ours:
        scope = one.openapi_extra["x-scope"]
        asked = [d.call.__closure__[0].cell_contents for d in one.dependant.dependencies]
        assert asked == ([] if scope == "none" else [scope]), one.path


@pytest.fixture(scope="module")
def filled(served):
    """Tenant A with something of its own behind every read route."""
    client, backend = served
    a, head = backend.service.tenant("default"), key_for(backend, "admin")
    user, item = f"{NAMED}-user", f"{NAMED}-item"
    a.shelf.put_items([ItemRow(item, f"title {SECRET}", f"text {SECRET}", {"genres": [SECRET]})])
    a.shelf.put_users([UserRow(user, {"likes": SECRET}, "en")])
    a.shelf.add_events([EventRow(f"{NAMED}-e", item, time.time(), "like", user, text=SECRET)])
    a.refresh()
    a.fit(f"{NAMED}-pipe", CLASSIC)
    asked = {"user_id": user, "trace": True, "explain": True}
    answer = client.post("/v1/recommend", json=asked, headers={**head, "x-request-id": f"{NAMED}-answer"})
    assert answer.status_code == 200
    said = {"model": f"{NAMED}-pipe", "messages": [{"role": "user", "content": SECRET}], "user": user}
    assert client.post("/v1/chat/completions", json={**said, "dialogue_id": f"{NAMED}-talk"}, headers=head).is_success
    assert client.put(f"/v1/prompts/{NAMED}-prompt", json={"en": SECRET}, headers=head).is_success
    body = {"name": f"{NAMED}-trial", "arms": {"secret-arm": "default", "b": f"{NAMED}-pipe"}, "salt": SECRET}
    assert client.post("/v1/experiments", json=body, headers=head).is_success
    assert client.patch(f"/v1/experiments/{NAMED}-trial", json={"state": "running"}, headers=head).is_success
    time.sleep(1.1)
    for i in range(5):
        assert client.post("/v1/recommend", json={"user_id": f"{user}{i}"}, headers=head).is_success
    job = client.post("/v1/jobs", json={"kind": "fit", "args": {"pipeline": f"{NAMED}-pipe"}}, headers=head).json()
    key = client.post("/v1/keys", json={"name": f"key {SECRET}", "scopes": ["read"]}, headers=head).json()
    ids = {
        "item_id": item,
        "user_id": user,
        "request_id": answer.json()["request_id"],
        "job_id": job["id"],
        "key_id": key["id"],
    }
    return client, backend, ids


def names_of(path):
    if "prompts" in path:
        return f"{NAMED}-prompt"
    return f"{NAMED}-pipe" if "pipelines" in path else f"{NAMED}-trial"


def filled_in(path, ids):
    for name, value in {**ids, "name": names_of(path)}.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def test_a_sees_its_own(filled):
    """The check below can fail: what is hidden from B is there for A."""
    client, backend, ids = filled
    head, seen = key_for(backend, "admin"), 0
    for method, path, _ in routes_of(client.app):
        if method == "GET" and "events" not in path and not path.endswith("/file"):  # the job has made none
            answer = client.get(filled_in(path, ids), headers=head)
            assert answer.status_code == 200, path
            seen += SECRET in answer.text or NAMED in answer.text
    assert seen >= 16


def test_b_reads_nothing_of_a(filled):
    client, backend, ids = filled
    head = key_for(backend, "admin", tenant="other")
    absent = {name: "f" * len(value) for name, value in ids.items()}
    routes = [path for method, path, _ in routes_of(client.app) if method == "GET"]
    for path in sorted(routes, key=lambda path: "export" not in path):  # a list for somebody is kept as shown to them
        answer = client.get(filled_in(path, ids), headers=head)
        assert SECRET not in answer.text, path
        if "{" not in path:
            assert NAMED not in answer.text and "secret-arm" not in answer.text, path
            continue
        other = client.get(filled_in(path, absent).replace(NAMED, "f" * len(NAMED)), headers=head)
        assert (answer.status_code, shape(answer)) == (other.status_code, shape(other)), path


def shape(answer):
    """An answer without the ids that were asked for, so that two can be compared."""
    if "json" not in answer.headers["content-type"] or "ndjson" in answer.headers["content-type"]:
        return answer.text
    body = answer.json()
    if isinstance(body, list):
        return json.dumps(body)
    if "error" in body:
        return body["error"]["type"], body["error"]["field"], body["error"]["hint"]
    body.pop("request_id", None), body.pop("usage", None)
    return json.dumps(body)


ASKED = [
    ("/v1/recommend", lambda ids: {"user_id": ids["user_id"], "explain": True, "trace": True}),
    ("/v1/recommend", lambda ids: {"user_id": "x", "exclude": [ids["item_id"]], "n": 200}),
    ("/v1/recommend", lambda ids: {"history": [ids["item_id"]], "n": 200}),
    ("/v1/recommend", lambda ids: {"user_id": "x", "pipeline": f"{NAMED}-pipe"}),
    ("/v1/recommend", lambda ids: {"user_id": "x", "filter": {"field": "genres", "op": "=", "value": SECRET[::-1]}}),
    ("/v1/similar", lambda ids: {"item_id": ids["item_id"]}),
    ("/v1/rerank", lambda ids: {"user_id": ids["user_id"], "item_ids": [ids["item_id"], "i001"]}),
    ("/v1/explanations", lambda ids: {"item_id": ids["item_id"], "user_id": ids["user_id"]}),
    ("/v1/explanations", lambda ids: {"item_id": "i001", "user_id": ids["user_id"]}),
    ("/v1/embeddings", lambda ids: {"input": "x"}),
    ("/v1/chat/completions", lambda ids: {"model": f"{NAMED}-pipe", "messages": [{"role": "user", "content": "hi"}]}),
    ("/v1/chat/completions", lambda ids: {"model": "default", "dialogue_id": f"{NAMED}-talk", "user": ids["user_id"],
                                          "messages": [{"role": "user", "content": "hi"}]}),
    (f"/v1/pipelines/{NAMED}-pipe/activate", lambda ids: {"version": 1}),
    (f"/v1/prompts/{NAMED}-prompt/activate", lambda ids: {"version": 1}),
]  # fmt: skip


@pytest.mark.parametrize("path, body", ASKED)
def test_b_asks_for_nothing_of_a(filled, path, body):
    client, backend, ids = filled
    answer = client.post(path, json=body(ids), headers=key_for(backend, "admin", tenant="other"))
    assert SECRET not in answer.text and f"title {SECRET}" not in answer.text
    assert answer.status_code < 500
    if answer.is_success:
        assert NAMED not in answer.text.replace(f"{NAMED}-talk", "")


def test_b_changes_nothing_of_a(filled):
    client, backend, ids = filled
    head, mine = key_for(backend, "admin", tenant="other"), key_for(backend, "admin")
    for method, path in (("DELETE", "/v1/keys/{key_id}"), ("POST", "/v1/keys/{key_id}/rotate"),
                         ("DELETE", "/v1/items/{item_id}"), ("DELETE", "/v1/jobs/{job_id}"),
                         ("PATCH", "/v1/experiments/{name}"), ("PATCH", "/v1/items/{item_id}")):  # fmt: skip
        body = {"json": {"state": "stopped"} if "experiments" in path else {"title": "x"}} if method == "PATCH" else {}
        assert client.request(method, filled_in(path, ids), headers=head, **body).status_code == 404, path
    assert (
        client.delete(f"/v1/users/{ids['user_id']}?scrub=false", headers=head).status_code == 200
    )  # of B, who has none
    assert client.get(f"/v1/users/{ids['user_id']}", headers=mine).status_code == 200
    assert client.get(f"/v1/items/{ids['item_id']}", headers=mine).json()["title"] == f"title {SECRET}"
    assert client.get(f"/v1/experiments/{NAMED}-trial", headers=mine).json()["state"] == "running"


# ---------------------------------------------------------------------------------------------------------- MCP
def called(client, headers, method, **params):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    return client.post("/mcp", json=body, headers={**headers, **accept})


TOOLS = {
    "recommend": ("recommend", {"user_id": "x"}),
    "similar_items": ("recommend", {"item_id": "i001"}),
    "search_items": ("read", {"words": "title"}),
    "explain": ("recommend", {"item_id": "i001", "user_id": "x"}),
    "record_feedback": ("events", {"item_id": "i001", "kind": "like", "user_id": "x"}),
    "list_pipelines": ("read", {}),
}


def test_tools_keep_to_the_scopes_of_the_key(served):
    client, backend = served
    told = called(client, key_for(backend, "read"), "tools/list").json()["result"]["tools"]
    assert {one["name"] for one in told} == set(TOOLS)
    cells = 0
    for tool, (scope, given) in TOOLS.items():
        for have in SCOPES:
            answer = called(client, key_for(backend, have), "tools/call", name=tool, arguments=given).json()["result"]
            assert answer["isError"] == (scope not in ROLES.get(have, {have})), (tool, have, answer)
            cells += 1
    assert cells == 42
    assert called(client, {}, "tools/list").status_code == 401
    assert called(client, {"authorization": "Bearer hx_0.0"}, "tools/list").status_code == 401


def test_tools_show_nothing_of_another_tenant(filled):
    client, backend, ids = filled
    head = key_for(backend, "admin", tenant="other")
    mine = called(client, key_for(backend, "admin"), "tools/call", name="search_items", arguments={"words": SECRET})
    assert SECRET in mine.text
    for tool, given in (
        ("search_items", {"words": SECRET}), ("recommend", {"user_id": ids["user_id"]}), ("list_pipelines", {}),
        ("similar_items", {"item_id": ids["item_id"]}), ("explain", {"item_id": ids["item_id"]}),
        ("recommend", {"user_id": "x", "pipeline": f"{NAMED}-pipe"}),
    ):  # fmt: skip
        text = called(client, head, "tools/call", name=tool, arguments=given).text
        assert f"title {SECRET}" not in text and f"text {SECRET}" not in text
        assert tool != "list_pipelines" or NAMED not in text
    assert SECRET not in called(client, head, "resources/read", uri=f"item://{ids['item_id']}").text
    assert SECRET in called(client, key_for(backend, "admin"), "resources/read", uri=f"item://{ids['item_id']}").text


def test_tools_show_no_deleted_item(served):
    client, backend = served
    head = key_for(backend, "admin")
    client.put("/v1/items/gone", json={"title": "was here"}, headers=head)
    assert "was here" in called(client, head, "resources/read", uri="item://gone").text
    client.delete("/v1/items/gone", headers=head)
    for answer in (called(client, head, "resources/read", uri="item://gone"),
                   called(client, head, "tools/call", name="similar_items", arguments={"item_id": "gone"}),
                   client.post("/v1/similar", json={"item_id": "gone"}, headers=head),
                   client.post("/v1/explanations", json={"item_id": "gone"}, headers=head)):  # fmt: skip
        assert "was here" not in answer.text and ("no item" in answer.text or "error" in answer.text)


def test_events_that_tools_record_are_counted(served):
    client, backend = served
    head = key_for(backend, "events")

    def counted(verdict):
        found = re.search(
            rf'^hexarec_events_total{{verdict="{verdict}"}} (.*)$', client.get("/metrics").text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    before = counted("new"), counted("same")
    for _ in range(3):
        told = {"item_id": "i001", "kind": "like", "user_id": "counted", "event_id": "counted"}
        assert called(client, head, "tools/call", name="record_feedback", arguments=told).is_success
    assert (counted("new"), counted("same")) == (before[0] + 1, before[1] + 2)
