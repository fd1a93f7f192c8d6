"""Data on the page: counts, health, items and users, and the import of files with bad rows, whole or not at all."""

import csv
import gzip
import io
import json
import re

import pytest
from fastapi.testclient import TestClient

from hexarec.data.health import check
from hexarec.serve import uploads
from hexarec.serve.erase import erased
from hexarec.serve.http.app import make_app
from hexarec.serve.jobs.progress import Progress
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.store.rows import ItemRow
from serve.conftest import URL, backend_over
from serve.jobs.conftest import eventually
from serve.running import listening

from .conftest import LOOKS, PHONE, axe_clean, wide_enough

GOOD = [f"u{i % 7},i{i % 11},{1_600_000_000 + 1_000 * i},{1 + i % 5}" for i in range(60)]
BAD = ["u1,,1600000000,5", "u2,i3,yesterday,4", "u3,i3,1600000000,many"]
CSV = "who,what,at,stars\n" + "\n".join([*GOOD[:20], *BAD, *GOOD[20:]]) + "\n"
MAPPING = {"map_user": "who", "map_item": "what", "map_time": "at", "map_value": "stars"}


@pytest.fixture
def fresh(tmp_path):
    """An empty server."""
    backend = backend_over(tmp_path / "home")
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as client:
        yield client, backend


def sent(client, *files):
    return client.post("/data/upload", files=[("file", one) for one in files])


def uploaded(client, *files):
    answer = sent(client, *files)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def checked(client, backend, where, mapping):
    """The piece that a check of every row ends with, and the id of its job."""
    begun = client.post(f"{where}/check", data=mapping, headers={"hx-request": "true"})
    assert begun.status_code == 200, begun.text
    piece = re.search(r'hx-get="([^"]+/checked\?job=([^"]+))"', begun.text)
    assert "<progress" in begun.text and Runner(backend.service, beat=0.02).one()
    return client.get(piece[1]).text, piece[2]


# -------------------------------------------------------------------------------------------------------- health
def test_the_health_report_has_the_numbers_of_the_command(page_client, backend):
    text = page_client.get("/data").text
    assert "24" in text and 'hx-get="/data/health"' in text
    report = page_client.get("/data/health").text
    health = check(backend.service.tenant("default").data())
    for one in health.findings:
        assert one.name in report
    for name, (x, _) in health.curves.items():
        slug = {"lorenz": "lorenz", "text length": "text-length"}.get(name, name.replace(" ", "-"))
        told = page_client.get(f"/data/figures/{slug}.json").json()
        assert len(told["places"]) in (len(x), len(x) - 1)
        assert page_client.get(f"/data/figures/{slug}.csv").text.count("\n") > 2
    assert page_client.get("/data/figures/nothing.json").status_code == 404
    assert page_client.get("/data/figures/lorenz.exe").status_code == 422


def test_an_empty_server_says_how_to_fill_it(fresh):
    client, _ = fresh
    text = client.get("/data").text
    assert "There are no items yet" in text and "hexarec serve --data PATH" in text and 'href="/data/import"' in text
    for path in ("/data/items", "/data/items?q=x", "/data/users"):
        assert client.get(path).status_code == 200


# ----------------------------------------------------------------------------------------------- items and users
def test_items_are_found_in_both_languages(fresh):
    client, backend = fresh
    tenant = backend.service.tenant("default")
    tenant.shelf.put_items([
        ItemRow("a/b", "The Matrix", "a hacker", {"genres": ["Action"]}, {"zh": "黑客帝国"}, {"zh": "一名黑客"}),
        ItemRow("c", "Quiet film", "about <b>rain</b>"),
    ])  # fmt: skip
    tenant.refresh()
    for words in ("matrix", "黑客帝国", "hacker"):
        text = client.get("/data/found/items", params={"q": words}).text
        assert "/data/items/a%2Fb" in text and "Quiet film" not in text, words
    assert "No item has these words" in client.get("/data/found/items", params={"q": "zzz"}).text
    text = client.get("/data/items/a%2Fb").text
    assert "黑客帝国" in text and "一名黑客" in text and "Action" in text and "a hacker" in text
    text = client.get("/data/items/c").text
    assert "&lt;b&gt;rain" in text and "<b>rain" not in text
    assert client.get("/data/items/nothing").status_code == 404
    zh = client.get("/data/items", headers={"accept-language": "zh"}).text
    assert "黑客帝国" in zh


def test_items_by_pages(page_client, backend, monkeypatch):
    monkeypatch.setattr("hexarec.serve.page.values.data.PAGE", 10)
    seen, after = 0, ""
    while True:
        text = page_client.get("/data/items", params={"after": after}).text
        seen += text.count('<th scope="row">')
        main = text.split("<main")[1]
        if "after=" not in main:
            break
        after = main.split("?after=")[1].split('"')[0]
    assert seen == backend.service.tenant("default").shelf.count("items")


def test_a_user_with_history_and_profile(page_client, backend):
    assert 'href="/data/users/u001"' in page_client.get("/data/found/users", params={"q": "u00"}).text
    text = page_client.get("/data/users/u001").text
    past = backend.service.tenant("default").shelf.histories(["u001"])["u001"]
    assert text.count('<th scope="row">') >= len(past) and past[-1].item in text
    assert page_client.get("/data/users/nobody").status_code == 404
    assert "No user has such an id" in page_client.get("/data/found/users", params={"q": "zz"}).text


# -------------------------------------------------------------------------------------------------------- import
def test_from_bad_rows_to_an_import(fresh):
    client, backend = fresh
    where = uploaded(client, ("my log.csv", CSV))
    assert "no column looks like the user" in client.get(where).text
    page = client.get(where, params=MAPPING).text
    assert 'value="who" selected' in page and "u1" in page
    made = client.get(f"{where}/preview", params=MAPPING).text
    for line, column in ((22, "item"), (23, "time"), (24, "value")):
        assert f'<td class="num">{line}</td><td><code>{column}</code></td>' in made
    assert "yesterday" in made and "/rejects.csv" not in made and "Check every row" in made
    whole, job = checked(client, backend, where, MAPPING)
    assert "Every row was read" in whole and "yesterday" in whole and f"/rejects.csv?job={job}" in whole
    rows = list(csv.DictReader(io.StringIO(client.get(f"{where}/rejects.csv", params={"job": job}).text)))
    assert [(row["line"], row["column"]) for row in rows] == [("22", "item"), ("23", "time"), ("24", "value")]
    tenant = backend.service.tenant("default")
    assert tenant.shelf.count("events") == 0

    job = client.post(where, data={**MAPPING, "name": "shop"}).headers["location"]
    assert Runner(backend.service).one()
    text = client.get(f"{job}/state").text
    assert "done" in text and "Rows refused" in text and "3 rows refused" in text
    assert tenant.shelf.count("events") == 60 and tenant.settings["name"] == "shop"
    refused = [json.loads(line) for line in client.get(f"{job}/file").text.splitlines()]
    assert [row["line"] for row in refused] == [22, 23, 24]
    assert client.get(where).status_code == 404 and uploads.waiting(tenant) == []
    audit = [row.what for row in tenant.shelf.audit_rows()]
    assert "start job import" in audit


def imported(client, backend, *files, **form):
    where = uploaded(client, *files)
    job = client.post(where, data=form)
    assert job.status_code == 303, job.text
    assert Runner(backend.service).one()
    return backend.service.tenant("default").shelf.job(job.headers["location"].removeprefix("/jobs/"))


def test_the_same_file_twice_counts_once_and_known_words_stay(fresh):
    client, backend = fresh
    tenant = backend.service.tenant("default")
    tenant.shelf.put_items([ItemRow("i1", "A known title")])
    header = CSV.replace("who,what,at,stars", "user,item,time,rating")
    first = imported(client, backend, ("log.csv", header))
    again = imported(client, backend, ("log.csv", header))
    assert (first.result["events"], again.result["events"], again.result["known_before"]) == (60, 0, 60)
    assert tenant.shelf.count("events") == 60 and tenant.shelf.item("i1").title == "A known title"
    other = imported(client, backend, ("log.csv", header.replace("u1,", "x1,")))
    assert other.result["events"] == 60  # another content under the same name is other events


def test_tables_beside_the_log_and_packed_files(fresh):
    client, backend = fresh
    items = "item,title\n" + "\n".join(f"i{i},Film {i}" for i in range(11))
    log = gzip.compress(CSV.replace("who,what,at,stars", "user,item,time,rating").encode())
    made = imported(client, backend, ("ratings.csv.gz", log), ("films.csv", items), items="films.csv",
                    events="ratings.csv.gz", format="plain")  # fmt: skip
    assert made.state == "done", made.error
    assert backend.service.tenant("default").shelf.item("i3").title == "Film 3"


def test_nothing_is_half_imported(fresh, monkeypatch):
    client, backend = fresh
    shelf = backend.service.tenant("default").shelf
    monkeypatch.setattr("hexarec.serve.live.catalogs.CHUNK", 20)
    usual, calls = type(shelf)._add, []

    def breaks(self, connection, rows):
        calls.append(len(rows))
        if len(calls) == 3:
            raise RuntimeError("the machine died here")
        return usual(self, connection, rows)

    monkeypatch.setattr(type(shelf), "_add", breaks)
    header = CSV.replace("who,what,at,stars", "user,item,time,rating")
    made = imported(client, backend, ("log.csv", header))
    assert made.state == "failed" and calls == [20, 20, 20]
    assert [shelf.count(one) for one in ("events", "items", "users", "documents")] == [0, 0, 0, 0]
    monkeypatch.undo()
    assert client.post(f"/jobs/{made.id}/resume", data={}).status_code == 303
    assert Runner(backend.service).one()
    assert shelf.job(made.id).state == "done" and shelf.count("events") == 60


@pytest.mark.parametrize(
    "name, content, said",
    [("empty.csv", b"", "empty"), ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "picture.png"),
     ("broken.csv.gz", b"\x1f\x8b\x08\x00broken", "damaged"), ("broken.parquet", b"PAR1nothing", "Parquet"),
     ("only.csv", b"user,item,time\n", "only a header"), ("archive.zip", b"PK\x03\x04" + b"\0" * 100, "zip"),
     ("one.csv", b"1,2,3\n4,5,6\n", "data"), ("gbk.csv", "user,item,评分\nu1,片,5\n".encode("gbk"), "encoding"),
     ("list.json", b"[1, 2", "list.json")],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_error(fresh, name, content, said):
    client, backend = fresh
    answer = sent(client, (name, content))
    if answer.status_code == 303:
        where = answer.headers["location"]
        answer = client.get(where)
        assert answer.status_code == 200
        refused = client.post(where, data={})
        assert refused.status_code == 422 and refused.text.count('role="alert"') >= 2
    shown = answer.text.split('role="alert" hidden')[0]
    assert shown.count('role="alert"') == 1 and said in shown.split('role="alert"')[1], shown
    assert backend.service.tenant("default").shelf.count("jobs") == 0


def test_names_of_files_are_only_names(fresh):
    client, backend = fresh
    for name, kept in (("../../etc/passwd.csv", "passwd.csv"), ("..\\x.csv", "x.csv"), (".hidden.csv", "hidden.csv"),
                       ("<img src=x>.csv", "_img src_x_.csv"), ("a\u202eb.csv", "a_b.csv")):  # fmt: skip
        assert uploads.plain_name(name) == kept
        where = uploaded(client, (name, CSV))
        found = uploads.found(backend.service.tenant("default"), where.rsplit("/", 1)[1])
        assert [one.parent.name for one in found.files] == ["files"]
        assert client.post(f"{where}/drop", data={}).headers["location"] == "/data/import"
    for name in ("", "..", ".", "///"):
        assert uploads.plain_name(name) == "file"


def test_what_is_no_form_of_files_is_refused(fresh):
    client, backend = fresh
    assert client.post("/data/upload", data={"file": "x"}).status_code == 422
    assert client.post("/data/upload", content=b"x", headers={"content-type": "multipart/form-data"}).status_code in (
        400,
        422,
    )
    assert sent(client, *((f"{i}.csv", CSV) for i in range(9))).status_code in (400, 422)
    assert sent(client, ("a.csv", CSV), ("a.csv", CSV)).status_code == 422
    assert client.post("/data/upload", files=[]).status_code == 422
    for id in ("nothing", "a%2Fb", "A.b"):
        assert client.get(f"/data/import/{id}").status_code in (404, 422)
    tenant = backend.service.tenant("default")
    assert not (tenant.folder.parent.parent / "uploads").exists() or uploads.waiting(tenant) == []


def test_too_large_a_file_is_refused_before_it_is_kept(tmp_path):
    backend = backend_over(tmp_path / "home", batch_body=50_000)
    with TestClient(make_app(backend), base_url=URL) as client:
        assert sent(client, ("big.csv", "x" * 60_000)).status_code == 413
        assert "50.0 kB" in client.get("/data/import").text


def test_a_packed_file_that_holds_too_much_is_refused(fresh, monkeypatch):
    client, _ = fresh
    monkeypatch.setattr(uploads, "UNPACKED", 10_000)
    answer = sent(client, ("bomb.csv.gz", gzip.compress(b"a" * 50_000)))
    assert answer.status_code == 422 and "unpacked, it has more than" in answer.text


def test_uploads_that_wait_are_few(fresh, monkeypatch):
    client, backend = fresh
    monkeypatch.setattr(uploads, "MOST_WAITING", 2)
    first, _ = uploaded(client, ("a.csv", CSV)), uploaded(client, ("b.csv", CSV))
    answer = sent(client, ("c.csv", CSV))
    assert answer.status_code == 422 and "2 uploads wait already" in answer.text
    assert len(uploads.waiting(backend.service.tenant("default"))) == 2
    client.post(f"{first}/drop", data={})
    uploaded(client, ("c.csv", CSV))


def test_refused_rows_go_when_somebody_is_erased(fresh):
    client, backend = fresh
    job = client.post(uploaded(client, ("log.csv", CSV)), data=MAPPING).headers["location"]
    assert Runner(backend.service).one()
    made = client.get(f"{job}/file")
    assert made.status_code == 200 and made.headers["content-type"] == "application/x-ndjson"

    from hexarec.serve.erase import erased

    tenant = backend.service.tenant("default")
    assert erased(tenant, "u1", scrub=False)["files of jobs"] == 1
    assert client.get(f"{job}/file").status_code == 404
    assert not list((tenant.folder.parent.parent / "jobs").rglob("*.jsonl"))


def test_who_is_erased_while_files_are_read_stays_away(fresh, monkeypatch):
    from hexarec.serve.erase import erased

    client, backend = fresh
    tenant = backend.service.tenant("default")
    job = client.post(uploaded(client, ("log.csv", CSV)), data=MAPPING).headers["location"]
    whole = uploads.Upload.read

    def read(self, how, **more):
        made = whole(self, how, **more)
        erased(tenant, "u1", scrub=False)
        return made

    monkeypatch.setattr(uploads.Upload, "read", read)
    monkeypatch.setattr(uploads.Upload, "files", property(lambda self: []))  # the erasure has removed them
    assert Runner(backend.service).one()
    assert tenant.shelf.job(job.removeprefix("/jobs/")).state == "done"
    assert tenant.shelf.user("u1") is None and "u1" not in tenant.shelf.people("u1")
    assert tenant.shelf.people("u2") and client.get(f"{job}/file").status_code == 404


def test_uploads_do_not_stay(fresh):
    client, backend = fresh
    tenant = backend.service.tenant("default")
    uploaded(client, ("log.csv", CSV))
    (kept,) = uploads.waiting(tenant)
    assert uploads.swept(tenant, kept.created + uploads.KEPT - 1) == 0
    assert uploads.swept(tenant, kept.created + uploads.KEPT + 1) == 1 and uploads.waiting(tenant) == []

    from hexarec.serve.erase import erased

    uploaded(client, ("log.csv", CSV))
    erased(tenant, "u1")
    assert uploads.waiting(tenant) == []  # somebody who was erased may stand in them


# ------------------------------------------------------------------------------------------------------- browser
@pytest.fixture(scope="module")
def own(tmp_path_factory, data):
    return backend_over(tmp_path_factory.mktemp("site") / "home", data, background=True)


@pytest.fixture(scope="module")
def site(own):
    with listening(own) as url:
        yield url


def test_import_with_bad_rows_end_to_end(open_page, own, tmp_path):
    (tmp_path / "shop.csv").write_text(CSV, "utf-8")
    page = open_page("/data/import")
    axe_clean(page)
    page.locator("#file").set_input_files(tmp_path / "shop.csv")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/data/import/*")
    assert "no column looks like the user" in page.locator("#preview .trouble").inner_text()
    axe_clean(page)
    for name, column in MAPPING.items():
        with page.expect_response("**/preview*"):
            page.locator(f"#{name}").select_option(column)
    eventually(lambda: page.locator("#raw-1 thead .chip").count() == 4)  # the preview of the last choice is there
    lines = page.locator("#result tbody tr td:nth-child(2)").all_inner_texts()
    assert lines[:3] == ["22", "23", "24"]
    axe_clean(page)
    page.get_by_role("button", name="Check every row").click()
    page.get_by_role("heading", name="Every row was read").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="All refused rows").click()
    assert download.value.suggested_filename == "rejects.csv"
    before = own.service.tenant("default").shelf.count("events")
    page.get_by_role("button", name="Import").click()
    page.wait_for_url("**/jobs/*")
    page.locator("#state .state.ok").wait_for()
    assert own.service.tenant("default").shelf.count("events") == before + 60
    page.goto("/data/users?q=u3")
    page.get_by_role("link", name="u3", exact=True).click()
    assert "i" in page.locator("#history tbody").inner_text()


def test_search_as_one_types(open_page):
    page = open_page("/data/items")
    page.locator("#q").press_sequentially("Title 1", delay=10)
    page.locator("#found tbody tr").nth(1).wait_for()
    page.locator("#found a").first.click()
    page.locator("#item").wait_for()


@pytest.mark.parametrize("lang, theme", LOOKS)
def test_pages_in_a_browser(open_page, lang, theme):
    page = open_page("/data", lang=lang, theme=theme)
    page.locator("#figure-lorenz canvas").wait_for()
    axe_clean(page)
    for path in ("/data/items", "/data/users", "/data/users/u001", "/data/import"):
        axe_clean(open_page(path, lang=lang, theme=theme))
    page = open_page("/data", lang=lang, theme=theme, viewport=PHONE, touch=True)
    page.locator("#figure-lorenz canvas").wait_for()
    wide_enough(page)
    wide_enough(open_page("/data/users/u001", lang=lang, theme=theme, viewport=PHONE, touch=True))


def test_the_health_report_and_refused_rows_in_chinese(fresh, page_client):
    zh = {"accept-language": "zh"}
    report = page_client.get("/data/health", headers=zh).text
    assert "位用户有行为" in report and "users with events" not in report and "稀疏度" in report
    client, _ = fresh
    where = uploaded(client, ("my log.csv", CSV))
    made = client.get(f"{where}/preview", params=MAPPING, headers=zh).text
    assert "<td>缺少物品</td>" in made and "<td>时间无法识别</td>" in made and "数值不是数字 (1)" in made
    assert "missing item" not in made and "接收 60 条行为；时间单位：秒" in made
    english = client.get(f"{where}/preview", params=MAPPING).text
    assert "<td>missing item</td>" in english and "60 events are taken in; times in seconds" in english


def test_a_check_tells_how_far_it_is_and_its_refused_rows_go_with_an_erasure(fresh, monkeypatch):
    client, backend = fresh
    tenant = backend.service.tenant("default")
    where = uploaded(client, ("log.csv", CSV))
    told = []
    usual = Progress.hear
    monkeypatch.setattr(Progress, "hear", lambda self, event: (told.append(event), usual(self, event))[1])
    _, job = checked(client, backend, where, MAPPING)
    steps = [(one["done"], one["total"]) for one in told if one.get("label") == "import"]
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert tenant.shelf.job(job).result["rejected"] == 3 and tenant.shelf.count("events") == 0
    other = uploaded(client, ("other.csv", CSV))
    assert client.get(f"{other}/checked", params={"job": job}).status_code == 404
    assert client.get(f"{other}/rejects.csv", params={"job": job}).status_code == 404
    kept = list(tenant.folder.parent.parent.rglob("refused-*.jsonl"))
    assert len(kept) == 1 and b"yesterday" in kept[0].read_bytes()
    erased(tenant, "u1")
    assert not kept[0].exists() and client.get(f"{where}/checked", params={"job": job}).status_code == 404


def test_a_check_of_files_that_cannot_be_read_says_why(fresh):
    client, backend = fresh
    text, job = checked(client, backend, uploaded(client, ("log.csv", CSV)), {})
    assert (
        "no column looks like the user" in text and backend.service.tenant("default").shelf.job(job).state == "failed"
    )
