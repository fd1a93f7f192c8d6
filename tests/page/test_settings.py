"""Keys and settings: a key made, used, replaced, revoked; the audit log; where each setting comes from."""

import re
from dataclasses import fields

import pytest
from fastapi.testclient import TestClient

from hexarec.serve.http.app import make_app
from hexarec.serve.keys import SCOPES
from hexarec.serve.page.values.settings import AUDIT_PAGE, audit_page, setting_lines
from hexarec.serve.page.words import word
from hexarec.serve.settings import Settings, settings_of
from serve.conftest import URL, backend_over

from .conftest import axe_clean


@pytest.fixture
def fresh(tmp_path, data):
    backend = backend_over(tmp_path / "home", data)
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as client:
        yield client, backend


def secret_in(answer):
    found = re.findall(r"<code>(hx_[^<]+)</code>", answer.text)
    assert len(found) == 1
    return found[0]


def test_the_first_key_closes_the_server_and_its_maker_stays_in(fresh):
    client, backend = fresh
    assert "everybody on this machine may do everything" in client.get("/settings").text
    made = client.post("/settings/keys", data={"name": "ops", "scope": ["admin"], "days": "30", "rate": "2.5"})
    secret = secret_in(made)
    assert made.status_code == 200 and made.headers["cache-control"] == "no-store"
    assert client.get("/v1/keys").status_code == 401
    listed = client.get("/v1/keys", headers={"authorization": f"Bearer {secret}"}).json()["keys"]
    assert [(one["name"], one["rate"], one["scopes"]) for one in listed] == [("ops", 2.5, sorted(SCOPES))]
    page = client.get("/settings")  # by the session that came with the key
    assert page.status_code == 200 and "ops" in page.text and secret not in page.text
    client.cookies.clear()
    assert client.get("/settings").status_code == 303


def test_replace_and_revoke(fresh):
    client, backend = fresh
    first = secret_in(client.post("/settings/keys", data={"name": "web", "scope": ["reader"]}))
    key_id = first.removeprefix("hx_").split(".")[0]
    second = secret_in(client.post(f"/settings/keys/{key_id}/rotate", data={}))
    for one in (first, second):
        assert client.get("/v1/items", headers={"authorization": f"Bearer {one}"}).status_code == 200
    new_id = second.removeprefix("hx_").split(".")[0]
    assert client.post(f"/settings/keys/{new_id}/revoke", data={}).headers["location"] == "/settings"
    assert client.get("/v1/items", headers={"authorization": f"Bearer {second}"}).status_code == 401
    assert client.post("/settings/keys/nothing/revoke", data={}).status_code == 404
    assert client.post(f"/settings/keys/{new_id}/rotate", data={}).status_code == 409
    session = next(row for row in backend.service.store.of("default").keys() if row.scopes == {"page"})
    assert client.post(f"/settings/keys/{session.id}/rotate", data={}).status_code == 422
    assert client.post(f"/settings/keys/{session.id}/revoke", data={}).status_code == 303
    assert client.get("/settings").status_code == 303  # it was ours
    done = [row.what for row in backend.service.store.of("default").audit_rows()]
    assert done == ["create key", "open page", "rotate key", "revoke key", "revoke key"]


@pytest.mark.parametrize(
    "change, said",
    [({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"scope": []}, "scope"), ({"scope": ["page"]}, "page"),
     ({"scope": ["link"]}, "link"), ({"days": "x"}, "days"), ({"days": "0"}, "days"), ({"rate": "-1"}, "rate"),
     ({"rate": "nan"}, "rate"), ({"rate": "inf"}, "rate"), ({"calls": "1.5"}, "calls"), ({"tokens": "1e400"}, "tokens"),
     ({"dollars": "9" * 400}, "dollars")],
)  # fmt: skip
def test_a_wrong_form_says_which_field_and_keeps_the_rest(fresh, change, said):
    client, backend = fresh
    answer = client.post("/settings/keys", data={"name": "kept-name", "scope": ["read"], "burst": "7", **change})
    assert answer.status_code == 422 and said in answer.text.split('role="alert"')[1][:300]
    assert 'value="7"' in answer.text and ("kept-name" in answer.text or "name" in change)
    assert backend.service.store.of("default").keys() == []


def test_the_audit_log_by_pages(fresh):
    client, backend = fresh
    assert "Nothing was changed yet" in client.get("/settings/audit").text
    shelf = backend.service.store.of("default")
    for i in range(120):
        shelf.audit("local", "put items", f"{i} items")
    seen, before = [], 0
    while True:
        log = audit_page(shelf, before)
        seen += [row.seq for row in log.rows]
        before = log.older
        if not before:
            break
    assert seen == list(range(120, 0, -1)) and len(audit_page(shelf).rows) == AUDIT_PAGE
    text = client.get("/settings/audit?before=71").text
    assert "<td>69 items</td>" in text and "<td>70 items</td>" not in text
    assert "fits" in client.get("/settings/audit/check").text


def test_names_in_the_log_are_not_translated(fresh):
    client, backend = fresh
    shelf = backend.service.store.of("default")
    for what, target in (("create experiment", "import"), ("delete item", "users"), ("change item", "one user"),
                         ("put items", "7 items"), ("erase user", "one user")):  # fmt: skip
        shelf.audit("local", what, target)
    text = client.get("/settings/audit", headers={"accept-language": "zh"}).text
    shown = [re.findall(r"<td>([^<]*)</td>", row)[-1] for row in text.split("<tr>")[2:]]
    assert shown == ["一位用户", "7 个物品", "one user", "users", "import"]


def test_a_broken_log_is_told(fresh, monkeypatch):
    client, backend = fresh
    shelf = backend.service.tenant("default").shelf
    monkeypatch.setattr(type(shelf), "audit_check", lambda self: 7)
    text = client.get("/settings/audit/check").text
    assert "at entry 7" in text and 'role="alert"' in text


def test_every_setting_has_its_meaning_and_its_origin():
    told = settings_of({"port": 9000, "merge": 8}, port=9001, host=None)
    lines = {one.name: one for one in setting_lines(told)}
    assert set(lines) == {one.name for one in fields(Settings)} - {"origin"}
    assert (lines["port"].value, lines["port"].origin) == ("9001", "option")
    assert (lines["merge"].origin, lines["host"].origin) == ("file", "default")
    for name in lines:
        for lang in ("en", "zh"):
            assert word(lang, f"settings.about.{name}")


def test_no_password_is_shown():
    told = settings_of({"store": "postgresql+psycopg://me:hunter2@db/x"})
    assert "hunter2" not in str(setting_lines(told)) and "db" in str(setting_lines(told))


def test_nobody_can_set_the_origin():
    from hexarec.core import OptionError

    with pytest.raises(OptionError):
        settings_of({"origin": {}})


# ------------------------------------------------------------------------------------------------------- browser
@pytest.fixture(scope="module")
def own(tmp_path_factory, data):
    made = backend_over(tmp_path_factory.mktemp("site") / "home", data)
    made.service.tenant("default").shelf.audit("local", "put items", "24 items")
    return made


@pytest.fixture(scope="module")
def site(own):
    from serve.running import listening

    with listening(own) as url:
        yield url


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_pages_in_a_browser(open_page, lang, theme):
    both = (lang, theme) in (("en", "light"), ("zh", "dark"))  # every word and every colour once; axe takes a second
    for path in ("/settings", "/settings/audit", "/settings/server", "/login?link=x") if both else ("/settings",):
        page = open_page(path, lang=lang, theme=theme)
        if path == "/settings/audit":
            page.locator("#log .state.ok").wait_for()
        axe_clean(page)


def test_from_the_first_key_to_a_login_by_link(open_page, own, watched):
    page = open_page("/settings")
    page.locator("#name").fill("admin")
    assert page.locator("input[value=admin]").is_checked()
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#made code").inner_text()
    page.goto("/settings")
    assert page.locator("#keys tbody tr").count() == 1
    assert secret not in page.content() and page.locator("#sessions li").count() == 1
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    watched.expected.append("403")  # Chromium notes the refused login in its console
    page.locator("#key").fill("hx_wrong.key")
    page.get_by_role("button", name="Log in").click()
    assert "no valid key" in page.locator(".trouble").inner_text()
    axe_clean(page)
    page.locator("#key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    page.goto("/settings")
    page.locator("#keys summary").first.click()
    axe_clean(page)
    page.get_by_role("button", name="Log out").click()

    from hexarec.serve.passes import new_link

    page.goto(f"/login?link={new_link(own.service.store.of('default'))}")
    page.get_by_role("button", name="Open").click()
    page.wait_for_url("**/")
    page.goto("/settings")
    page.locator("#keys summary").first.click()
    page.get_by_role("button", name="Revoke").click()
    page.wait_for_url("**/settings")
    assert "revoked" in page.locator("#keys tbody").inner_text()
