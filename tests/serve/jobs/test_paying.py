"""What a job spends on models is paid by the key that asked for it."""

import time
from dataclasses import replace

import polars as pl
import pytest
from tests.serve.conftest import URL, TestClient, backend_over, key_for, make_app
from tests.serve.jobs.conftest import eventually
from tests.serve.jobs.stages import kind_that, stepping

from hexarec.core import current
from hexarec.data.worlds import world
from hexarec.serve.jobs.files import KEPT, folder_of, swept
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.keys import made_key
from hexarec.serve.limits import Limits, day_of

RANKED = {"retrieve": [{"use": "popular"}], "rank": {"use": "llmrank", "lm": "fake:overlap", "backend": "list", "rounds": 1}}  # fmt: skip


@pytest.fixture
def working(monkeypatch):
    return lambda work: monkeypatch.setitem(KINDS, "fit", kind_that(KINDS["fit"], work))


def spending(tokens, steps=1, dollars=0.0):
    """A work that asks before each step whether it may spend, and spends."""

    def work(tenant, args, scratch):
        place = scratch / "done"
        for _ in range(int(place.read_text()) if place.exists() else 0, steps):
            current().check_budget(tokens=tokens, cost=dollars)
            current().ledger.add(tokens_in=tokens, cost=dollars)
            place.write_text(str((int(place.read_text()) if place.exists() else 0) + 1))
        return {"steps": steps}

    return work


def key_of(tenant, **limits):
    row, _ = made_key("jobs", ["jobs"], **limits)
    tenant.shelf.put_key(row)
    return row


def asked(tenant, runner, key, **args):
    job = tenant.shelf.add_job("fit", args, key=key.id)
    assert runner.one()
    return tenant.shelf.job(job.id)


def spent(tenant, key):
    return tenant.shelf.spent(key.id, day_of(time.time()))


def test_a_job_is_paid_by_the_key_that_asked(tenant, runner, working):
    key = key_of(tenant, tokens=1_000, dollars=5.0)
    working(spending(50, 3, 0.25))
    ended = asked(tenant, runner, key)
    assert ended.state == "done" and ended.result["usage"]["tokens_in"] == 150 and ended.key == key.id
    assert spent(tenant, key) == {"calls": 0, "tokens": 150, "dollars": 0.75}
    working(spending(50))
    job = tenant.shelf.add_job("fit", {})
    runner.one()
    assert tenant.shelf.job(job.id).state == "done" and spent(tenant, key)["tokens"] == 150


@pytest.mark.parametrize("limits", [{"tokens": 120}, {"dollars": 0.6}], ids=str)
def test_a_job_pauses_when_the_budget_ends_and_goes_on_from_there(tenant, runner, working, limits):
    key = key_of(tenant, **limits)
    working(spending(50, 5, 0.25))
    paused = asked(tenant, runner, key)
    assert (paused.state, paused.worker, paused.attempts, paused.result) == ("paused", None, 0, None)
    assert "budget of" in paused.error and "is used up" in paused.error
    assert not runner.one(), "it does not go on by itself"
    assert tenant.shelf.job_lines(paused.id)[-1][1].startswith("paused: the budget of")
    tenant.shelf.put_key(replace(key, tokens=10_000, dollars=100.0))
    assert tenant.shelf.resume_job(paused.id).state == "waiting"
    assert runner.one()
    ended = tenant.shelf.job(paused.id)
    assert (
        ended.state == "done"
        and ended.error is None
        and spent(tenant, key) == {"calls": 0, "tokens": 250, "dollars": 1.25}
    )


def test_the_jobs_own_budget_still_fails_it(tenant, runner, working):
    key = key_of(tenant, tokens=1_000)
    working(spending(50, 5))
    ended = asked(tenant, runner, key, tokens=100)
    assert ended.state == "failed" and "budget of 100 tokens" in ended.error and spent(tenant, key)["tokens"] == 100


def test_what_the_key_spends_elsewhere_counts_at_once(tenant, runner, working):
    key = key_of(tenant, tokens=300)

    def work(tenant, args, scratch):
        current().check_budget(tokens=200)
        tenant.shelf.spend(key.id, day_of(time.time()), tokens=250)  # another server
        time.sleep(0.2)  # several beats
        current().check_budget(tokens=100)

    working(work)
    assert asked(tenant, runner, key).state == "paused"


@pytest.mark.parametrize("ends", [{"revoked": 1.0}, {"expires": 1.0}], ids=str)
def test_a_key_that_has_ended_pays_no_more(tenant, runner, working, ends):
    working(spending(1))
    ended = asked(tenant, runner, replace(key := key_of(tenant), **ends))
    assert ended.state == "done"
    tenant.shelf.put_key(replace(key, **ends))
    ended = asked(tenant, runner, key)
    assert ended.state == "failed" and "has ended" in ended.error


def test_work_that_lasts_into_tomorrow_is_saved(tenant):
    key, now = key_of(tenant, tokens=100), [86_400.0 * 10 - 1]
    limits = Limits(tenant.shelf, lambda: now[0])
    with limits.opened(key) as purse:
        now[0] += 10
        limits.save()
        purse.add(30, 0.0)
        limits.save()
    assert tenant.shelf.spent(key.id, day_of(now[0] - 10))["tokens"] == 30
    limits.save()
    assert limits._accounts == {}


def test_cancelling_a_paused_job(tenant, runner, working):
    working(spending(50, 5))
    paused = asked(tenant, runner, key_of(tenant, tokens=60))
    assert tenant.shelf.cancel_job(paused.id).state == "cancelled" and not runner.one()


def test_a_running_job_cannot_be_resumed(tenant, runner, working):
    import threading

    working(stepping(200))
    job = tenant.shelf.add_job("fit", {})
    thread = threading.Thread(target=runner.one)
    thread.start()
    eventually(lambda: tenant.shelf.job(job.id).done)
    assert tenant.shelf.resume_job(job.id).state == "running"
    tenant.shelf.cancel_job(job.id)
    thread.join(10)


def test_lists_for_everybody_pause_and_go_on_by_the_api(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, RANKED)
    tenant, runner = backend.service.tenant(), Runner(backend.service, beat=0.02)
    head, admin = key_for(backend, "jobs", "read", tokens=4_000), key_for(backend, "admin")
    (key,) = [one for one in tenant.shelf.keys() if one.tokens]
    with TestClient(make_app(backend), base_url=URL) as api:
        asked = {"kind": "recommend", "args": {"shard": 4, "n": 3}}
        job = api.post("/v1/jobs", json=asked, headers=head).json()["id"]
        assert runner.one()
        told = api.get(f"/v1/jobs/{job}", headers=admin).json()
        assert told["state"] == "paused" and told["key"] == key.id
        with api.stream("GET", f"/v1/jobs/{job}/events", headers=admin) as events:
            assert next(iter(events.iter_lines())) == "event: end"
        done = list((folder_of(tenant, job) / "lists").glob("*.parquet"))
        assert done and all(set(pl.read_parquet(one)["degraded"]) == {None} for one in done)
        assert 3_000 < spent(tenant, key)["tokens"] <= 4_400
        backend.limits("default").save()
        tenant.shelf.put_key(replace(key, tokens=10_000_000))
        eventually(lambda: api.post(f"/v1/jobs/{job}/resume", headers=head).status_code == 202)
        assert api.post(f"/v1/jobs/{job}/resume", headers=admin).status_code == 409
        eventually(lambda: runner.one() and api.get(f"/v1/jobs/{job}", headers=admin).json()["state"] == "done")
        assert {one["what"] for one in api.get("/v1/audit", headers=admin).json()["rows"]} >= {"resume job"}


def test_a_key_whose_budget_is_used_up_starts_no_job(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, RANKED)
    tenant = backend.service.tenant()
    head = key_for(backend, "jobs", tokens=100)
    (key,) = tenant.shelf.keys()
    tenant.shelf.spend(key.id, day_of(time.time()), tokens=100)
    with TestClient(make_app(backend), base_url=URL) as api:
        refused = api.post("/v1/jobs", json={"kind": "fit"}, headers=head)
        assert refused.status_code == 429 and refused.json()["error"]["type"] == "budget_used_up"
        assert tenant.shelf.jobs() == []


def test_a_paused_job_that_is_cancelled_keeps_its_folder_for_a_week(tmp_path, monkeypatch):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, RANKED)
    tenant, runner = backend.service.tenant(), Runner(backend.service, beat=0.02)
    monkeypatch.setitem(KINDS, "fit", kind_that(KINDS["fit"], spending(50, 5)))
    paused = asked(tenant, runner, key_of(tenant, tokens=60))
    admin = key_for(backend, "admin")
    assert folder_of(tenant, paused.id).is_dir()
    with TestClient(make_app(backend), base_url=URL) as api:
        assert api.delete(f"/v1/jobs/{paused.id}", headers=admin).json()["state"] == "cancelled"
        ended = tenant.shelf.job(paused.id).ended
        assert swept(tenant, ended + KEPT - 1.0) == 0 and folder_of(tenant, paused.id).is_dir()
        assert swept(tenant, ended + KEPT + 1.0) == 1 and not folder_of(tenant, paused.id).exists()
