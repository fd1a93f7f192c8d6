"""Who may look: sessions from keys and links, every page by every scope, and nothing of the API by a cookie."""

import time
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from hexarec.serve import passes
from hexarec.serve.http.app import make_app
from hexarec.serve.keys import SCOPES, made_key
from hexarec.serve.page.routes import PAGES, ROUTERS
from hexarec.serve.page.session import COOKIE, viewer_with
from hexarec.serve.passes import LINK, new_link
from serve.conftest import URL, backend_over, key_for

from .test_page import OPEN


@pytest.fixture
def locked(tmp_path, data):
    """A server with a key: (client, backend, header of the key)."""
    backend = backend_over(tmp_path / "home", data)
    header = key_for(backend, "admin")
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as client:
        yield client, backend, header["authorization"].removeprefix("Bearer ")


def log_in(client, key, **more):
    client.cookies.clear()
    return client.post("/login", data={"key": key, **more})


def routes():
    """(method, path, scope) of every route of the page; None for the scope of what is open."""
    found = []
    for router in ROUTERS:
        for route in router.routes:
            asked = [
                d.call.__closure__[0].cell_contents
                for d in route.dependant.dependencies
                if getattr(d.call, "__qualname__", "").startswith(viewer_with.__name__)
            ]
            assert len(asked) == (0 if route.path in OPEN else 1), route.path
            found += [(method, route.path, asked[0] if asked else None) for method in route.methods]
    return found


def filled_in(path):
    for name in ("key_id", "name", "item_id", "user_id", "job_id", "id", "form"):
        path = path.replace(f"{{{name}}}", "nothing")
    return path


# ------------------------------------------------------------------------------------------------------ who may
@pytest.mark.parametrize("scope", [None, *SCOPES])
def test_every_page_by_every_scope(locked, scope):
    client, backend, _ = locked
    if scope is not None:
        row, secret = made_key("one", [scope])
        backend.service.store.of("default").put_key(row)
        assert log_in(client, secret).status_code == 303
    for method, path, needed in routes():
        if needed is None:
            continue
        answer = client.request(method, filled_in(path))
        if scope is None:
            assert answer.status_code == 303 and answer.headers["location"].startswith("/login"), path
        elif needed != scope and scope != "admin":  # admin is also a role, with every scope
            assert answer.status_code == 403 and f"&#39;{needed}&#39;" in answer.text, (path, needed)
        else:
            assert answer.status_code not in (401, 403), path
            assert not answer.headers.get("location", "").startswith("/login"), path


def test_the_navigation_shows_what_may_be_opened(locked):
    client, backend, _ = locked
    key = key_for(backend, "reader")["authorization"].removeprefix("Bearer ")
    log_in(client, key)
    text = client.get("/").text
    for one in PAGES:
        assert (f'<li><a href="{one.path}"' in text) == (one.scope in ("read", "recommend")), one.name


def test_pieces_send_a_stranger_to_the_login_page(locked):
    client, *_ = locked
    answer = client.get("/home/list", headers={"hx-request": "true"})
    assert answer.status_code == 401 and answer.headers["hx-redirect"] == "/login" and answer.content == b""


def test_a_form_of_a_stranger_is_not_read(locked):
    client, *_ = locked
    answer = client.post("/settings/keys", content=b"\xff" * 1_000, headers={"content-type": "application/json"})
    assert answer.status_code == 303  # not 422: who they are comes first


# ------------------------------------------------------------------------------------------------------ sessions
def test_a_key_opens_the_page(locked):
    client, backend, key = locked
    assert client.get("/?user=u001").headers["location"] == "/login?next=%2F%3Fuser%3Du001"
    answer = log_in(client, key, next="/?user=u001")
    assert answer.status_code == 303 and answer.headers["location"] == "/?user=u001"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie and "Max-Age=43" in cookie
    assert key not in cookie
    assert client.get("/").status_code == 200 and client.get("/login").headers["location"] == "/"
    secret = client.cookies[COOKIE]
    kept = [row for row in backend.service.store.of("default").keys() if row.scopes == {"page"}]
    assert len(kept) == 1 and secret.split(".")[1] not in str(kept)


def test_a_cookie_is_secure_where_the_page_is():
    class Sent:
        url = type("Url", (), {"scheme": "https"})

    from starlette.responses import Response

    from hexarec.serve.page.session import kept_in_cookie

    response = Response()
    kept_in_cookie(response, Sent, COOKIE, "x", 10, secret=True)
    assert "Secure" in response.headers["set-cookie"]


def test_a_cookie_opens_nothing_of_the_api(locked):
    client, _, key = locked
    log_in(client, key)
    secret = client.cookies[COOKIE]
    assert client.get("/v1/items").status_code == 401  # the cookie was sent
    assert client.get("/v1/items", headers={"authorization": f"Bearer {secret}"}).status_code == 401
    assert client.post("/mcp", json={}, headers={"authorization": f"Bearer {secret}"}).status_code == 401
    listed = client.get("/v1/keys", headers={"authorization": f"Bearer {key}"}).json()["keys"]
    assert [one["name"] for one in listed] == ["test"]


def test_a_key_in_a_header_or_a_cookie_is_no_session(locked):
    client, _, key = locked
    assert client.get("/", headers={"authorization": f"Bearer {key}"}).status_code == 303
    client.cookies.set(COOKIE, key)
    answer = client.get("/")
    assert answer.status_code == 303 and f'{COOKIE}=""' in answer.headers["set-cookie"]  # and is forgotten


def test_a_session_is_no_key_to_log_in_with(locked):
    client, _, key = locked
    log_in(client, key)
    secret = client.cookies[COOKIE]
    assert log_in(client, secret).status_code == 403


@pytest.mark.parametrize("change", [{"revoked": 1.0}, {"expires": 1.0}])
def test_a_session_ends_with_its_key(locked, change):
    client, backend, key = locked
    log_in(client, key)
    assert client.get("/").status_code == 200
    shelf = backend.service.store.of("default")
    row = next(row for row in shelf.keys() if row.name == "test")
    shelf.put_key(replace(row, **change))
    backend.doorkeeper.forget(row.id)
    assert client.get("/").status_code == 303


def test_a_session_ends_by_itself(locked, monkeypatch):
    client, backend, key = locked
    log_in(client, key)
    ahead = time.time() + passes.SESSION_SECONDS + 1
    monkeypatch.setattr("hexarec.serve.keys.time.time", lambda: ahead)
    assert client.get("/").status_code == 303


def test_logging_out(locked):
    client, backend, key = locked
    log_in(client, key)
    secret = client.cookies[COOKIE]
    assert client.post("/logout", data={}).headers["location"] == "/login"
    client.cookies.set(COOKIE, secret)
    assert client.get("/").status_code == 303
    client.cookies.clear()
    client.cookies.set(COOKIE, "hx_nothing.nothing")
    assert client.post("/logout", data={}).status_code == 303


def test_wrong_keys_lock_an_address_out(locked):
    client, backend, key = locked
    statuses = [log_in(client, f"hx_{i:012x}.wrong").status_code for i in range(25)]
    assert statuses[:20] == [403] * 20 and set(statuses[20:]) == {429}
    assert log_in(client, key).status_code == 429  # not even a right one
    for hostile in ("", "x" * 10_000, "hx_.", "hx_a.b\r\nc", "hx_é.x"):
        backend.doorkeeper._failures.clear()
        assert log_in(client, hostile).status_code == 403


def test_lists_on_the_page_count_as_calls_of_the_key(locked):
    client, backend, _ = locked
    row, secret = made_key("few", ["reader"], calls=3)
    backend.service.store.of("default").put_key(row)
    log_in(client, secret)
    asked = [client.get("/home/list?user=u001").status_code for _ in range(5)]
    assert asked == [200, 200, 200, 429, 429] and client.get("/").status_code == 200


def test_a_key_of_another_tenant_sees_its_own(locked):
    client, backend, _ = locked
    key = key_for(backend, "admin", tenant="other")["authorization"].removeprefix("Bearer ")
    log_in(client, key)
    text = client.get("/").text
    assert "There are no items yet" in text and "checkerboard" not in text
    assert "belong to the operator" in client.get("/settings/server").text
    assert "test" not in client.get("/settings/audit").text.replace("request", "")


# --------------------------------------------------------------------------------------------------------- links
def test_a_link_opens_once(locked):
    client, backend, _ = locked
    secret = new_link(backend.service.store.of("default"))
    for _ in range(2):  # looking at it, as a preview does, uses nothing up
        assert secret in client.get(f"/login?link={secret}").text
    assert client.post("/login", data={"link": secret}).status_code == 303
    assert client.get("/settings").status_code == 200
    client.cookies.clear()
    backend.doorkeeper._known.clear()
    again = client.post("/login", data={"link": secret})
    assert again.status_code == 403 and "does not open the page any more" in again.text


def test_of_two_at_once_one_gets_in(locked):
    client, backend, _ = locked
    shelf = backend.service.store.of("default")
    secret = new_link(shelf)
    backend.doorkeeper.found(secret)  # now known for a second
    got = [passes.opened_by(backend, secret, "127.0.0.1") for _ in range(3)]
    assert [one is not None for one in got] == [True, False, False]


def test_a_link_ends_after_a_quarter_of_an_hour(locked, monkeypatch):
    client, backend, _ = locked
    secret = new_link(backend.service.store.of("default"))
    ahead = time.time() + passes.LINK_SECONDS + 1
    monkeypatch.setattr("hexarec.serve.keys.time.time", lambda: ahead)
    assert client.post("/login", data={"link": secret}).status_code == 403


def test_a_link_is_kept_as_a_hash_and_is_no_key(locked):
    client, backend, _ = locked
    shelf = backend.service.store.of("default")
    secret = new_link(shelf)
    row = next(row for row in shelf.keys() if LINK in row.scopes)
    assert secret.split(".")[1] not in str(row)
    assert client.get("/v1/items", headers={"authorization": f"Bearer {secret}"}).status_code == 401
    client.cookies.set(COOKIE, secret)
    assert client.get("/").status_code == 303


def test_ended_passes_are_swept_away(locked):
    client, backend, key = locked
    shelf = backend.service.store.of("default")
    for _ in range(3):
        log_in(client, key)
        client.post("/logout", data={})
    new_link(shelf)
    log_in(client, key)
    assert sorted(" ".join(row.scopes) for row in shelf.keys() if row.name != "test") == ["link", "page"]


def test_without_keys_everybody_on_this_machine_is_the_owner(page_client):
    assert page_client.get("/").status_code == 200 and page_client.get("/settings").status_code == 200


def test_behind_a_proxy_nobody_is(tmp_path, data):
    backend = backend_over(tmp_path / "home", data, hosts=("shop.example",))
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as client:
        assert client.get("/").status_code == 303 and client.get("/settings").status_code == 303
