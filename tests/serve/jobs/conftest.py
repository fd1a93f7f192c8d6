"""A tenant over a tiny world, a runner that is driven by hand, and stages that behave as a test needs."""

import time

import pytest
from tests.hanging import LONG
from tests.serve.conftest import backend_over

from hexarec.serve.jobs.runner import Runner


@pytest.fixture
def tenant(tmp_path, data):
    backend = backend_over(tmp_path / "home", data)
    made = backend.service.tenant("default")
    made.service = backend.service
    yield made
    backend.service.close()


@pytest.fixture
def runner(tenant):
    return Runner(tenant.service, beat=0.02, poll=0.02)


def done(runner, tenant, kind, **args):
    """The result of a job that must succeed."""
    job = tenant.shelf.add_job(kind, args)
    assert runner.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "done", (ended.state, ended.error)
    return ended


def eventually(true, seconds=LONG):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found
