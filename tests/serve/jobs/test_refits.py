"""Fits on a schedule: one only, also of several servers, and again after one that failed."""

import pytest
from tests.serve.jobs.conftest import eventually

from hexarec.core import OptionError
from hexarec.serve.jobs.refits import queue_refits
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.settings import Settings, settings_of

HOUR = 3_600.0


def published(tenant):
    return tenant.shelf.versions("pipeline", "default")[-1].created


def test_an_old_version_is_fitted_anew_once(tenant):
    at = published(tenant)
    assert queue_refits(tenant, 6.0, at + 5.9 * HOUR) == []
    (id,) = queue_refits(tenant, 6.0, at + 6.1 * HOUR)
    assert queue_refits(tenant, 6.0, at + 6.1 * HOUR) == []
    job = tenant.shelf.job(id)
    assert (job.kind, job.args, job.state) == ("fit", {"pipeline": "default"}, "waiting")


def test_two_servers_that_look_at_once_queue_one(tenant):
    second = Tenant(tenant.shelf, tenant.folder)
    at = published(tenant) + 7 * HOUR
    assert len(queue_refits(tenant, 6.0, at) + queue_refits(second, 6.0, at + 0.5)) == 1
    assert len(tenant.shelf.jobs()) == 1


def test_a_running_fit_is_not_doubled_and_a_failed_one_is_tried_again(tenant):
    at = published(tenant)
    (first,) = queue_refits(tenant, 1.0, at + 1.5 * HOUR)
    tenant.shelf.claim_job("w")
    assert queue_refits(tenant, 1.0, at + 2.5 * HOUR) == [], "it still runs"
    tenant.shelf.end_job(first, "w", state="failed", error="no")
    assert queue_refits(tenant, 1.0, at + 1.7 * HOUR) == [], "not at once"
    (second,) = queue_refits(tenant, 1.0, at + 2.5 * HOUR)
    assert second != first


def test_a_runner_with_the_setting_refits_by_itself(tenant):
    object.__setattr__(tenant.service, "settings", Settings(home=tenant.folder.parent.parent, refit_hours=1e-5))
    runner = Runner(tenant.service, beat=0.02, poll=0.02)
    runner.start()
    eventually(lambda: tenant.recommender().current.version >= 2)
    runner.close()


def test_without_the_setting_nothing_is_queued(tenant, runner):
    runner._look_for_refits()
    assert tenant.shelf.jobs() == []


@pytest.mark.parametrize("hours", [-1.0, float("nan")])
def test_the_setting_is_checked(hours):
    with pytest.raises(OptionError, match="refit_hours"):
        settings_of({"refit_hours": hours})
