"""A fleet on one machine: two servers and a worker over one PostgreSQL and one folder."""

import time

import httpx
import pytest
from tests.serve.processes import config, said, started
from tests.serve.running import free_port
from tests.serve.store.postgres import Server, Unavailable

from hexarec.serve.client import ApiError, Client


@pytest.fixture
def postgres():
    try:
        server = Server()
    except Unavailable as why:
        pytest.skip(f"no PostgreSQL server: {why}")
    yield server
    server.close()


def eventually(true, folder, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            if found := true():
                return found
        except (httpx.TransportError, ApiError):
            pass
        assert time.monotonic() < end, said(folder)
        time.sleep(0.1)


@pytest.mark.slow
def test_two_servers_and_a_worker_are_one(tmp_path, postgres):
    (tmp_path / "hexarec.toml").write_text(
        config(home=str(tmp_path / "home"), store=postgres.create("fleet"), background=False)
    )
    ports = [free_port(), free_port()]
    first = started("serve", "--port", ports[0], cwd=tmp_path)
    one, two = (Client(f"http://127.0.0.1:{port}", retries=0) for port in ports)
    eventually(lambda: one.get("/health/ready"), tmp_path)
    rest = [started("serve", "--port", ports[1], cwd=tmp_path), started("worker", cwd=tmp_path)]
    eventually(lambda: two.get("/health/ready"), tmp_path)

    one.put_item("fresh", "A fresh title")
    one.event("fresh", "like", user="u", event_id="e")
    assert two.event("fresh", "like", user="u", event_id="e")["duplicates"] == 1, "an event counts once in the fleet"
    eventually(lambda: two.similar("fresh", n=2)["items"], tmp_path)
    job = one.start_job("fit")
    assert two.wait(job["id"], seconds=60)["state"] == "done"
    eventually(lambda: one.recommend("u")["version"] == two.recommend("u")["version"] == 2, tmp_path)

    key = one.post("/v1/keys", {"name": "k", "scopes": ["recommend"]})
    with Client(f"http://127.0.0.1:{ports[1]}", key["key"], retries=0) as known:
        assert known.recommend("u")["items"]
    first.terminate()
    first.wait(30)
    with Client(f"http://127.0.0.1:{ports[1]}", key["key"], retries=0) as known:
        assert known.recommend("u")["items"], "the other one goes on"
    for process in rest:
        process.terminate()
        process.wait(30)
