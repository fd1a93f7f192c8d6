"""`hexarec worker` as a process: told to stop it gives its job back, killed it is replaced, and nothing is made twice."""

import os
import signal
import time

import polars as pl
from tests.serve.conftest import backend_over
from tests.serve.jobs.conftest import eventually
from tests.serve.jobs.vectors import letters
from tests.serve.processes import said, started

from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.runner import Runner


def worker(home):
    return started("worker", "--home", home, cwd=home)


def items_of(asked):
    return [one for one in asked if one != "a"]


def test_stopped_and_killed_workers_cost_nothing_but_time(tmp_path, data):
    backend = backend_over(tmp_path, data)
    tenant = backend.service.tenant("default")
    with letters(seconds=0.1) as (encoder, asked):
        job = tenant.shelf.add_job("embed", {"encoder": encoder, "shard": 1})
        first = worker(tmp_path)
        eventually(lambda: len(items_of(asked)) >= 3, 60)
        first.terminate()
        assert first.wait(20) == 0, said(tmp_path)
        waiting = tenant.shelf.job(job.id)
        assert (waiting.state, waiting.attempts) == ("waiting", 0)
        before = len(items_of(asked))
        assert before < data.n_items

        second = worker(tmp_path)
        eventually(lambda: len(items_of(asked)) >= before + 3, 60)
        os.kill(second.pid, signal.SIGKILL)
        second.wait()
        time.sleep(0.3)
        assert tenant.shelf.job(job.id).state == "running", "nobody knows yet"
        third = Runner(backend.service, stale=2.0, beat=0.05)
        eventually(third.one, 20)
    ended = tenant.shelf.job(job.id)
    assert (ended.state, ended.attempts, ended.worker) == ("done", 2, third.worker), ended.error
    table = pl.read_parquet(folder_of(tenant, job.id) / ended.result["file"])
    assert table["item_id"].to_list() == data.catalog.items.ids.tolist()
    texts = items_of(asked)
    assert data.n_items <= len(texts) <= data.n_items + 2, "at most the one that was under way at each end, again"
    backend.service.close()
