"""What holds for every page: words, escapes, no inline script, weight, static files, errors as pages."""

import gzip
import hashlib
import re
import tomllib

import pytest
from fastapi.routing import APIRoute

from hexarec.serve.http.guards import PAGE_POLICY
from hexarec.serve.page import static
from hexarec.serve.page.render import ENVIRONMENT
from hexarec.serve.page.routes import GROUPS, PAGES, ROUTERS
from hexarec.serve.page.routing import PageRoute
from hexarec.serve.page.words import LANGUAGES, word, words_of

TEMPLATES = sorted(ENVIRONMENT.list_templates())
PATHS = [one.path for one in PAGES]
OPEN = {"/login", "/logout", "/language", "/theme"}
"""Addresses for strangers too."""


def source(name):
    return ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0]


# -------------------------------------------------------------------------------------------------------- words
def test_both_languages_have_the_same_words():
    assert set(words_of("en")) == set(words_of("zh"))
    for key, text in words_of("en").items():
        places = {lang: set(re.findall(r"\{(\w+)\}", words_of(lang)[key])) for lang in LANGUAGES}
        assert places["zh"] == places["en"], key
        assert text.strip() and words_of("zh")[key].strip(), key


def test_every_word_that_is_used_is_there():
    known = words_of("en")
    tables = {key.rsplit(".", 1)[0] for key in known}
    for name in TEMPLATES:
        text = source(name)
        for key in re.findall(r"""\bt\(\s*["']([\w.]+)["']\s*[,)]""", text):
            assert key in known, f"{name}: {key}"
        for start in re.findall(r"""\bt\(\s*["']([\w.]+)["']\s*~""", text):
            assert any(key.startswith(start) for key in known), f"{name}: {start}"
            assert start.split(".")[0] in tables
    for one in PAGES:
        assert f"nav.{one.name}" in known and f"nav.group_{one.group}" in known and one.group in GROUPS


def test_no_word_stands_in_a_template():
    """Text between tags comes from the words files, whatever the language."""
    for name in TEMPLATES:
        text = re.sub(r"\{#.*?#\}", "", source(name), flags=re.DOTALL)
        text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.DOTALL)
        said = [one.strip() for one in re.findall(r">([^<>]*)<", text)]
        words = [one for one in said if re.search(r"[A-Za-z]{2,}|[\u4e00-\u9fff]", one)]
        assert set(words) <= {"hexarec", "SVG", "CSV", "· hexarec", "JSON"}, name


def test_a_missing_word_is_an_error():
    with pytest.raises(KeyError):
        word("en", "home.no_such_word")
    with pytest.raises(KeyError):
        word("en", "home.list_for", other="x")


@pytest.mark.parametrize(
    "header, lang",
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("de,fr;q=0.5", "en"), ("en;q=0.5,zh;q=0.7", "zh"), ("", "en"),
     ("fr;q=x,zh", "zh"), ("*", "en"), ("zh" * 10_000, "en")],
)  # fmt: skip
def test_the_language_of_a_browser(page_client, header, lang):
    text = page_client.get("/", headers={"accept-language": header}).text
    assert f'<html lang="{words_of(lang)["page.lang"]}"' in text


# ---------------------------------------------------------------------------------------------------- templates
def test_everything_is_escaped():
    assert ENVIRONMENT.autoescape is True
    for name in TEMPLATES:
        text = source(name)
        assert not re.search(r"\|\s*safe\b|Markup|autoescape", text), name
    script = (static.FOLDER / "page.js").read_text("utf-8")
    own = [path.read_text("utf-8") for path in static.FOLDER.glob("*.js")]
    assert script in own
    for text in own:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_no_script_or_style_inside(page_client):
    for name in TEMPLATES:
        text = source(name)
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|hx-vals=.js", text
        ), name
    for path in PATHS:
        answer = page_client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text), path
        assert answer.headers["cache-control"] == "no-store"


def test_pages_are_not_in_the_description_of_the_api(page_client):
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, PageRoute) and isinstance(route, APIRoute)
            assert not route.include_in_schema, route.path


# ------------------------------------------------------------------------------------------------------- static
def loaded_by(client, path):
    """The addresses that a page loads, with the plots that it may load later."""
    text = client.get(path).text
    found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text))
    return found | (set(re.findall(r'name="plot-\w+" content="([^"]+)"', text)) if "data-plot=" in text else set())


@pytest.mark.parametrize("path", PATHS)
def test_a_page_weighs_less_than_300_kb(page_client, path, capsys):
    page = len(page_client.get(path).content)
    head = {"accept-encoding": "identity"}
    whole = page + sum(len(page_client.get(one, headers=head).content) for one in loaded_by(page_client, path))
    with capsys.disabled():
        print(f"\n{path}: {whole / 1000:.0f} kB with all it loads, uncompressed; {page / 1000:.1f} kB of it HTML")
    assert whole < 300_000


def test_static_files_are_kept_for_ever_and_packed(page_client):
    for name, asset in static.assets().items():
        assert hashlib.sha256(asset.content).hexdigest().startswith(asset.digest)
        plain = page_client.get(asset.address, headers={"accept-encoding": "identity"})
        assert plain.status_code == 200 and plain.content == asset.content, name
        assert "immutable" in plain.headers["cache-control"] and "content-encoding" not in plain.headers
        packed = page_client.get(asset.address, headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip" and packed.content == asset.content
        assert gzip.decompress(asset.packed) == asset.content
    for wrong in ("/static/000000000000/page.css", "/static/x/../page.js", f"{static.address('page.css')}x",
                  "/static/x/vendor/VERSIONS.toml", "/static/x/%2e%2e%2frender.py"):  # fmt: skip
        assert page_client.get(wrong).status_code == 404, wrong


def test_what_others_wrote_is_what_it_must_be():
    folder = static.FOLDER / "vendor"
    told = tomllib.loads((folder / "VERSIONS.toml").read_text("utf-8"))
    named = {name: digest for one in told.values() for name, digest in one["files"].items()}
    assert {path.name for path in folder.iterdir()} == {*named, "VERSIONS.toml"}
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    for one in told.values():
        assert any("LICENSE" in name for name in one["files"]) and one["version"] and one["licence"]


# ------------------------------------------------------------------------------------------------------- errors
def test_errors_are_pages_and_pieces(page_client):
    whole = page_client.get("/", params={"user": "x" * 300})
    assert whole.status_code == 422 and "<!doctype html>" in whole.text and "trouble bad" in whole.text
    piece = page_client.get("/home/list", params={"user": "x" * 300}, headers={"hx-request": "true"})
    assert piece.status_code == 422 and "<!doctype" not in piece.text and 'role="alert"' in piece.text
    for wrong in ("a\0b", "x" * 201):
        assert page_client.get("/home/list", params={"user": wrong}).status_code == 422


def test_an_english_message_on_a_chinese_page_says_that_it_is_english(page_client):
    told = page_client.get("/jobs/nothing", headers={"accept-language": "zh"}).text
    assert 'lang="zh' in told and '<p class="strong"><span lang="en">' in told


def test_a_fault_of_ours_shows_nothing_of_it(page_client, monkeypatch):
    from hexarec.serve.page.routes import home

    def broken(tenant):
        raise RuntimeError("secret words")

    monkeypatch.setattr(home, "health", broken)
    answer = page_client.get("/")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.text


def test_forms_of_another_kind_are_refused(page_client):
    for body, kind in ((b"{}", "application/json"), (b"lang=zh", "text/plain"), (b"\xff=1", None), (b"a=%00", None)):
        head = {"content-type": kind or "application/x-www-form-urlencoded"}
        assert page_client.post("/language", content=body, headers=head).status_code == 422
    many = "&".join(f"a{i}=1" for i in range(1_000))
    head = {"content-type": "application/x-www-form-urlencoded"}
    assert page_client.post("/language", content=many, headers=head).status_code == 422


@pytest.mark.parametrize(
    "next, where",
    [("/methods?x=1", "/methods?x=1"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("/\\evil.example", "/"),
     ("javascript:alert(1)", "/"), ("", "/"), ("/a\r\nb: c", "/"), ("/\tevil", "/"), ("\\/evil", "/"), ("/a\\b", "/")],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(page_client, next, where):
    answer = page_client.post("/language", data={"lang": "zh", "next": next}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == where
    page_client.cookies.clear()


def test_a_page_of_another_site_cannot_send_a_form(page_client):
    answer = page_client.post("/language", data={"lang": "zh"}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert page_client.get("/").headers["referrer-policy"] == "same-origin"
