"""`hexarec serve` as a process: the first start, open addresses, and a stop under load."""

import re
import signal
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.cli.calls import call, fails, written
from tests.hanging import LONG
from tests.serve.processes import config, said, started
from tests.serve.running import free_port

from hexarec.cli.serve import _prepare
from hexarec.cli.serving import opened, page_of
from hexarec.core import Catalog
from hexarec.data import films
from hexarec.serve.client import Client
from hexarec.serve.ports import BALANCED
from hexarec.serve.settings import Settings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # what holds a stop up makes `stop` fail; a job that nobody works on is followed until the server ends
    written(tmp_path, config(home="home", stop_seconds=10 * LONG, background=False))
    return tmp_path


def ready(process, url, folder, seconds=90):
    end = time.monotonic() + seconds
    while True:
        assert process.poll() is None, said(folder)
        assert time.monotonic() < end, said(folder)
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def stop(process, folder):
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG) in (0, -signal.SIGTERM), said(folder)


def test_an_open_address_needs_a_key_first(folder):
    told = fails("serve", "--host", "0.0.0.0", "--port", free_port())
    assert "can be reached from other machines, and there is no key yet" in told
    assert "hexarec keys create" in told and not (folder / "home" / "pipelines").exists()


def test_settings_are_checked_before_anything_is_done(folder):
    written(folder, "[serve]\nmergee = 3\n", "bad.toml")
    assert "did you mean 'merge'" in fails("serve", "-c", "bad.toml")
    assert not (folder / "home").exists()


def test_the_first_start_imports_and_fits_and_a_stop_under_load_loses_nothing(folder, data):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = started("serve", "--port", port, cwd=folder)
    ready(process, url, folder)
    told = said(folder)
    assert f"hexarec serves on {url} " in told and "login?link" not in told  # open to whoever sits here
    assert "60 users" in told and "24 items" in told and "fitted pipeline default, version 1" in told

    acknowledged, listed, wrong, over = [], [0], [], threading.Event()
    follower = threading.Thread(target=follow, args=(url, over))

    def load(number):
        users, count = data.users.ids.ids, 0
        with httpx.Client(base_url=url, timeout=LONG) as http:
            while not over.is_set():
                count += 1
                id = f"{number}-{count}"
                body = {"event_id": id, "item_id": data.catalog.items.ids[count % 24], "user_id": f"load {number}"}
                try:
                    made = http.post("/v1/events", json=body)
                    if made.status_code == 201:
                        acknowledged.append(id)
                    elif made.status_code != 503:
                        wrong.append(made.text)
                    made = http.post("/v1/recommend", json={"user_id": users[count % 60], "n": 3})
                    if made.status_code == 200:
                        listed[0] += len(made.json()["items"]) == 3
                    elif made.status_code != 503:
                        wrong.append(made.text)
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    return  # the server takes no more, or closed a connection on which nothing was answered

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for one in [*threads, follower]:
        one.start()
    end = time.monotonic() + LONG
    while len(acknowledged) < 100 and time.monotonic() < end:
        time.sleep(0.05)
    assert follower.is_alive()
    stop(process, folder)  # the open stream of a job does not hold it up
    over.set()
    for one in [*threads, follower]:
        one.join(LONG)
        assert not one.is_alive()
    assert not wrong and listed[0] > 50 and len(acknowledged) >= 100
    with sqlite3.connect(folder / "home" / "store.sqlite") as store:
        kept = {row[0] for row in store.execute("SELECT id FROM events WHERE \"user\" LIKE 'load %'")}
    assert set(acknowledged) <= kept, "an acknowledged event is on disk"

    process = started("serve", "--port", port, cwd=folder)
    ready(process, url, folder)
    assert said(folder).count("fitted pipeline") == 1, "the second start finds what the first one made"
    with Client(url) as client:
        assert client.recommend(data.users.ids.ids[0])["version"] == 1
    stop(process, folder)


def test_the_first_start_with_a_key_prints_a_link_that_opens_the_page_once(folder):
    assert call("keys", "create", "ops", "--scope", "read").exit_code == 0
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = started("serve", "--port", port, cwd=folder)
    ready(process, url, folder)
    secret = re.search(rf"{url}/login\?link=(hx_\S+)", said(folder))[1]
    with httpx.Client(base_url=url) as browser:
        assert browser.get("/").headers["location"].startswith("/login")
        assert secret in browser.get(f"/login?link={secret}").text
        assert browser.post("/login", data={"link": secret}).status_code == 303
        assert browser.get("/settings").status_code == 200
        made = call("keys", "link", "--port", port)  # beside the running server
        another = re.fullmatch(rf"{url}/login\?link=(hx_\S+)\n", made.stdout)[1]
        for one, status in ((secret, 403), (another, 303)):
            assert httpx.post(f"{url}/login", data={"link": one}).status_code == status
    stop(process, folder)
    process = started("serve", "--port", port, cwd=folder)
    ready(process, url, folder)
    assert said(folder).count("login?link=") == 1, "somebody has opened it: hexarec keys link makes another one"
    stop(process, folder)


def test_an_old_home_of_the_bundled_films_gets_its_words_at_the_start(folder):
    """Made before values of attributes had words in other languages: genres were English on a Chinese page."""
    settings = Settings(home=folder / "home", background=False)
    bundled = films.load()
    bare = replace(bundled, catalog=replace(bundled.catalog, text={}))
    with opened(settings, made=True) as service:
        service.tenant().import_data(bare)
        service.tenant().fit("default", {"retrieve": [{"use": "popular"}]})
        assert service.tenant().catalog.text == {}
    assert _prepare(settings, folder / "none.toml", None, "default") == ""
    with opened(settings) as service:
        genres = service.tenant().catalog.text["genres", "zh"]
        assert genres.tolist() == bundled.catalog.text["genres", "zh"].tolist()
        own = replace(bare, name="own")  # what is not ours keeps its words
        service.tenant("other").import_data(own)
        service.tenant("other").fit("default", {"retrieve": [{"use": "popular"}]})
    _prepare(settings, folder / "none.toml", None, "other")
    with opened(settings) as service:
        assert service.tenant("other").catalog.text == {}


@pytest.mark.parametrize("change", [{"simulated": False}, {"own ids": True}])
def test_data_of_others_that_are_called_films_keep_their_words(folder, change):
    settings = Settings(home=folder / "home", background=False)
    ours = films.load(users=60)
    items = [replace(one, id=f"own {one.id}") for one in ours.catalog] if "own ids" in change else list(ours.catalog)
    theirs = replace(ours, catalog=Catalog.of(items), simulated=change.get("simulated", True))
    with opened(settings, made=True) as service:
        service.tenant().import_data(theirs)
        service.tenant().fit("default", {"retrieve": [{"use": "popular"}]})
    _prepare(settings, folder / "none.toml", None, "default")
    with opened(settings) as service:
        assert not service.tenant().worded and ("genres", "zh") not in service.tenant().catalog.text


def test_where_a_browser_finds_the_page():
    for host, where in {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::1": "[::1]", "::": "[::1]"}.items():
        assert page_of(Settings(host=host, port=8090)) == f"http://{where}:8090"


def follow(url, over):
    """Hold a stream of a job that waits; it ends when the server does."""
    try:
        with Client(url) as client:
            job = client.start_job("bench", max_users=60)
            for _ in client.follow(job["id"]):
                if over.is_set():
                    return
    except httpx.TransportError:
        return


@pytest.mark.slow
def test_several_processes_share_port_and_store(folder, data):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = started("serve", "--port", port, "--workers", 2, cwd=folder)
    ready(process, url, folder)
    with Client(url) as client:
        client.put_item("fresh", "A fresh title")
        for _ in range(20):
            client.event("fresh", user="u")
        end = time.monotonic() + 10
        while True:
            found = [client.similar("fresh", n=3)["items"] for _ in range(6)]
            if all(found) or time.monotonic() > end:
                break
        assert all(found)
    if BALANCED:
        heads = [line.split()[1:4:2] for line in Path("/proc/net/tcp").read_text().splitlines()]  # address, state
        assert sum(at.endswith(f":{port:04X}") and state == "0A" for at, state in heads) == 2, (
            "a socket for each process"
        )
    stop(process, folder)
    assert call("db", "check").stdout
