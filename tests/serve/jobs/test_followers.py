"""Half of the calls at most may be streams that follow a job, an equal part of them for each tenant."""

import asyncio
import gc

import httpx
import pytest
from tests.serve.conftest import URL, TestClient, backend_over, key_for, make_app

from hexarec.serve.backend import Follower
from hexarec.serve.errors import OverloadError
from hexarec.serve.jobs import orders


def test_too_many_followers_are_refused(tmp_path, data):
    backend = backend_over(tmp_path, data, calls=4)
    with TestClient(make_app(backend), base_url=URL) as api:
        job = api.post("/v1/jobs", json={"kind": "fit"}).json()["id"]
        others = [Follower("default") for _ in range(2)]
        backend.followers.update(others)
        answer = api.get(f"/v1/jobs/{job}/events")
        assert answer.status_code == 503 and "too many follow jobs" in answer.text
        backend.followers.clear()
        api.delete(f"/v1/jobs/{job}")
        assert "event: end" in api.get(f"/v1/jobs/{job}/events").text and not backend.followers


@pytest.mark.parametrize("path", ["/v1/jobs/{}/events", "/jobs/{}/events"])
def test_those_who_come_at_once_do_not_pass_beside_the_count(tmp_path, data, path):
    backend = backend_over(tmp_path, data, calls=6)
    shelf = backend.service.tenant("default").shelf
    job = shelf.add_job("fit", {}).id

    async def follow_and_end(client):
        asked = [asyncio.create_task(client.get(path.format(job))) for _ in range(8)]
        done, _ = await asyncio.wait(asked, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert {one.result().status_code for one in done} == {503}  # who follows is answered at the end of the job
        await asyncio.sleep(0.5)
        counted = len(backend.followers)
        shelf.cancel_job(job)
        return counted, [one.status_code for one in await asyncio.gather(*asked)]

    async def play():
        transport = httpx.ASGITransport(make_app(backend))
        async with httpx.AsyncClient(transport=transport, base_url=URL, timeout=30) as client:
            return await follow_and_end(client)

    counted, codes = asyncio.run(play())
    backend.service.close()
    assert counted == 3 and sorted(codes) == [200] * 3 + [503] * 5 and not backend.followers


def test_a_stream_that_nobody_reads_keeps_no_place(tmp_path, data):
    backend = backend_over(tmp_path, data, calls=2)
    tenant = backend.service.tenant("default")
    job = tenant.shelf.add_job("fit", {}).id
    stream = orders.followed(backend, tenant, job)
    with pytest.raises(OverloadError):
        orders.followed(backend, tenant, job)
    del stream
    gc.collect()
    assert not backend.followers and orders.followed(backend, tenant, job)
    backend.service.close()


def test_a_tenant_that_follows_much_keeps_nobody_else_from_following(tmp_path, data):
    backend = backend_over(tmp_path, data, calls=8)
    backend.service.tenant("other").import_data(data)
    keys = {name: key_for(backend, "read", "jobs", tenant=name) for name in ("default", "other")}
    others = [Follower("default") for _ in range(2)]
    with TestClient(make_app(backend), base_url=URL) as api:

        def status(name):
            job = api.post("/v1/jobs", json={"kind": "fit"}, headers=keys[name]).json()["id"]
            api.delete(f"/v1/jobs/{job}", headers=keys[name])
            return api.get(f"/v1/jobs/{job}/events", headers=keys[name]).status_code

        backend.followers.add(others[0])
        assert (status("default"), status("other")) == (200, 200)
        backend.followers.add(others[1])
        assert (status("default"), status("other")) == (503, 200)
