"""The runner: progress, cancel, giving back, taking over, failing with a reason."""

import ast
import logging
import threading
import time
from pathlib import Path

import pytest
from tests.serve.jobs.conftest import eventually
from tests.serve.jobs.stages import kind_that, stepping

import hexarec
from hexarec.core import OptionError, StateError, current
from hexarec.serve.jobs import work as module
from hexarec.serve.jobs.files import KEPT, folder_of, swept
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.progress import STAGES, Progress, eta, stage_of
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.jobs.work import TRIES
from hexarec.serve.store.rows import JobRow


@pytest.fixture
def working(monkeypatch):
    """Let jobs of the kind `fit` do something else."""

    def use(work):
        monkeypatch.setitem(KINDS, "fit", kind_that(KINDS["fit"], work))

    return use


def lines(tenant, job):
    return [line for _, line in tenant.shelf.job_lines(job.id)]


def in_thread(runner):
    thread = threading.Thread(target=runner.one)
    thread.start()
    return thread


def test_progress_goes_to_the_store_while_it_runs_and_the_log_names_what_happened(tenant, runner, working):
    working(stepping(30))
    job = tenant.shelf.add_job("fit", {})
    thread = in_thread(runner)
    seen = eventually(lambda: (now := tenant.shelf.job(job.id)).done > 3 and now)
    assert (seen.state, seen.phase, seen.total) == ("running", "step", 30)
    left = eta(seen)
    assert left is not None and 0 < left < 5
    thread.join()
    ended = tenant.shelf.job(job.id)
    assert (ended.state, ended.result["steps"], ended.error, ended.attempts) == ("done", 30, None, 1)
    assert lines(tenant, job) == [f"{runner.worker} begins, try 1", "step", "done"]
    assert ended.result["usage"]["calls"] == 0


def test_a_job_that_waits_is_cancelled_at_once_and_never_begins(tenant, runner):
    job = tenant.shelf.add_job("fit", {})
    assert tenant.shelf.cancel_job(job.id).state == "cancelled"
    assert not runner.one()


def test_a_running_job_is_cancelled_between_two_steps(tenant, runner, working):
    working(stepping(2_000))
    job = tenant.shelf.add_job("fit", {})
    thread = in_thread(runner)
    eventually(lambda: tenant.shelf.job(job.id).done)
    tenant.shelf.cancel_job(job.id)
    thread.join(10)
    ended = tenant.shelf.job(job.id)
    assert ended.state == "cancelled" and ended.result is None and ended.done < 2_000
    assert int((folder_of(tenant, job.id) / "last").read_text()) > 0, "it may be resumed"


def test_a_cancelled_job_is_resumed_from_its_folder(tenant, runner, working):
    working(stepping(2_000))
    job = tenant.shelf.add_job("fit", {})
    thread = in_thread(runner)
    eventually(lambda: tenant.shelf.job(job.id).done)
    assert tenant.shelf.resume_job(job.id).state == "running", "what runs is left alone"
    tenant.shelf.cancel_job(job.id)
    thread.join(10)

    def goes_on(tenant, args, scratch):
        return {"from": int((scratch / "last").read_text())}

    working(goes_on)
    waiting = tenant.shelf.resume_job(job.id)
    assert (waiting.state, waiting.cancel, waiting.error, waiting.attempts, waiting.ended) == (
        "waiting", False, None, 0, None,
    )  # fmt: skip
    assert runner.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "done" and ended.result["from"] > 0
    assert not folder_of(tenant, job.id).exists() and tenant.shelf.resume_job(job.id).state == "done"
    assert tenant.shelf.resume_job("nothing") is None


def test_what_nobody_resumes_is_deleted_in_the_end(tenant, runner, working):
    def fails(tenant, args, scratch):
        (scratch / "half").write_text("done")
        raise OptionError("no")

    working(fails)
    job = tenant.shelf.add_job("fit", {})
    assert runner.one() and tenant.shelf.job(job.id).state == "failed"
    ended = tenant.shelf.job(job.id).ended
    assert swept(tenant, ended + KEPT - 1) == 0 and (folder_of(tenant, job.id) / "half").exists()
    assert swept(tenant, ended + KEPT + 1) == 1 and not folder_of(tenant, job.id).exists()


def test_a_runner_that_stops_gives_the_job_back_and_another_goes_on(tenant, runner, working):
    working(stepping(200))
    job = tenant.shelf.add_job("fit", {})
    runner.start()
    eventually(lambda: tenant.shelf.job(job.id).done)
    runner.close()
    waiting = tenant.shelf.job(job.id)
    assert (waiting.state, waiting.worker, waiting.attempts) == ("waiting", None, 0)
    left = int((folder_of(tenant, job.id) / "last").read_text())
    assert left > 0, "what it has written waits for the next"
    working(stepping(3))
    second = Runner(tenant.service, beat=0.02)
    assert second.one() and tenant.shelf.job(job.id).state == "done"
    assert lines(tenant, job)[2] == f"{runner.worker} stops and gives the job back"


def test_a_cancelled_job_is_not_given_back(tenant, runner, working):
    working(stepping(200))
    job = tenant.shelf.add_job("fit", {})
    runner.start()
    eventually(lambda: tenant.shelf.job(job.id).done)
    tenant.shelf.cancel_job(job.id)
    runner.close()
    assert tenant.shelf.job(job.id).state == "cancelled"


def test_a_silent_worker_loses_its_job_and_what_it_says_later_does_not_count(tenant, working):
    working(stepping(150))
    job = tenant.shelf.add_job("fit", {})
    mute = Runner(tenant.service, beat=1_000.0)
    thread = in_thread(mute)
    eventually((folder_of(tenant, job.id) / "last").exists)
    working(stepping(2))
    second = Runner(tenant.service, stale=0.2, beat=0.02)
    eventually(second.one)
    ended = tenant.shelf.job(job.id)
    assert (ended.state, ended.worker, ended.attempts) == ("done", second.worker, 2)
    thread.join()
    assert tenant.shelf.job(job.id) == ended


def test_a_worker_that_lost_its_job_hears_so_at_its_next_beat_and_stops(tenant, working):
    working(stepping(10_000))
    job = tenant.shelf.add_job("fit", {})
    first = Runner(tenant.service, beat=0.3)
    thread = in_thread(first)
    eventually(lambda: tenant.shelf.job(job.id).state == "running")
    tenant.shelf.claim_job("another", (), stale=0.0)
    eventually(lambda: tenant.shelf.job(job.id).worker == "another" or tenant.shelf.claim_job("another", (), 0.0))
    thread.join(10)
    assert not thread.is_alive()
    assert tenant.shelf.job(job.id).state == "running", "it belongs to the other one"


def test_a_job_over_which_workers_die_fails_in_the_end(tenant, runner, working):
    working(stepping(1))
    job = tenant.shelf.add_job("fit", {})
    for turn in range(TRIES):
        time.sleep(0.01)
        assert tenant.shelf.claim_job(f"dead {turn}", (), stale=0.0).id == job.id
    time.sleep(0.01)
    last = Runner(tenant.service, stale=0.0, beat=0.02)
    assert last.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "failed" and "3 workers died" in ended.error


def test_what_was_raised_on_purpose_is_told_with_its_mend(tenant, runner, working):
    def refuses(tenant, args, scratch):
        raise OptionError("the depth is 0", hint="at least 1")

    working(refuses)
    job = tenant.shelf.add_job("fit", {})
    runner.one()
    ended = tenant.shelf.job(job.id)
    assert (ended.state, ended.error) == ("failed", "the depth is 0\n  -> at least 1")
    assert lines(tenant, job)[-1] == "failed: the depth is 0"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ZeroDivisionError("a secret value"), "ZeroDivisionError: a fault of the server; its log tells more"),
        (
            OSError(28, "No space left on device", "/secret/place"),
            "the disk or the network refused: No space left on device",
        ),
    ],
)
def test_a_fault_nobody_expected_shows_neither_trace_nor_values(tenant, runner, working, fault, said):
    def breaks(tenant, args, scratch):
        raise fault

    working(breaks)
    job = tenant.shelf.add_job("fit", {})
    runner.one()
    ended = tenant.shelf.job(job.id)
    assert (ended.state, ended.error) == ("failed", said)
    assert runner.one() is False, "and the runner goes on"


def test_notes_of_the_work_stand_in_the_log(tenant, runner, working):
    def notes(tenant, args, scratch):
        current().emit({"kind": "note", "text": "三 rows left out"})
        return {}

    working(notes)
    job = tenant.shelf.add_job("fit", {})
    runner.one()
    assert "三 rows left out" in lines(tenant, job)


def test_a_log_does_not_grow_without_end(tenant, runner, working):
    def many(tenant, args, scratch):
        for number in range(module.LINES + 50):
            current().emit({"kind": "progress", "label": f"part {number}", "done": 0, "total": 1, "seconds": 0.0})
        return {}

    working(many)
    job = tenant.shelf.add_job("fit", {})
    runner.one()
    assert len(lines(tenant, job)) == module.LINES + 2


def test_tenants_take_turns(tenant, runner, working):
    working(stepping(1, 0.0))
    other = tenant.service.tenant("other")
    for _ in range(3):
        tenant.shelf.add_job("fit", {})
    late = other.shelf.add_job("fit", {})
    assert runner.one() and runner.one()
    assert other.shelf.job(late.id).state == "done"
    assert [job.state for job in tenant.shelf.jobs()] == ["waiting", "waiting", "done"]


def test_a_tenant_that_cannot_be_opened_keeps_no_other_from_its_jobs(tenant, runner, working, monkeypatch):
    """Also a worker that has just started, and begins with the first name."""
    working(stepping(1, 0.0))
    for name in ("a", "z"):
        tenant.service.tenant(name).shelf.put_users([])
    job = tenant.shelf.add_job("fit", {})
    opened = tenant.service.tenant

    def tenant_of(name="default"):
        if name in ("a", "z"):
            raise StateError("its settings are damaged")
        return opened(name)

    monkeypatch.setattr(tenant.service, "tenant", tenant_of)
    assert runner.one() and tenant.shelf.job(job.id).state == "done" and not runner.one()
    seen = []
    runner._for_each("no", lambda one: seen.append(one.name))
    assert seen == ["default"]


def test_a_disk_that_refuses_the_folder_of_a_job_fails_the_job_and_not_the_runner(tenant, runner, working):
    working(stepping(1, 0.0))
    folder = folder_of(tenant, "x").parent
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    job = tenant.shelf.add_job("fit", {})
    assert runner.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "failed" and ended.error.startswith("the disk or the network refused")
    folder.unlink()
    tenant.shelf.resume_job(job.id)
    assert runner.one() and tenant.shelf.job(job.id).state == "done"


def test_a_folder_that_cannot_be_emptied_makes_no_done_job_a_failed_one(tenant, runner, working, monkeypatch):
    working(stepping(1, 0.0))
    monkeypatch.setattr(module, "pruned", lambda *_: (_ for _ in ()).throw(OSError(16, "busy", "/secret")))
    job = tenant.shelf.add_job("fit", {})
    assert runner.one() and tenant.shelf.job(job.id).state == "done"


def test_a_fault_in_a_round_ends_no_runner(tenant, working, monkeypatch):
    working(stepping(1, 0.0))
    rounds = []
    runner = Runner(tenant.service, poll=0.01, beat=0.02)
    usual = runner.one

    def one():
        rounds.append(1)
        if len(rounds) < 3:
            raise RuntimeError("a fault of ours")
        return usual()

    monkeypatch.setattr(runner, "one", one)
    job = tenant.shelf.add_job("fit", {})
    runner.start()
    assert eventually(lambda: tenant.shelf.job(job.id).state == "done")
    runner.close()


def test_the_budget_of_a_job_holds(tenant, runner, working):
    def spends(tenant, args, scratch):
        current().check_budget(tokens=100)
        current().ledger.add(tokens_in=100)
        current().check_budget(tokens=1)

    working(spends)
    job = tenant.shelf.add_job("fit", {"tokens": 100})
    runner.one()
    assert "budget of 100 tokens" in tenant.shelf.job(job.id).error


# ---------------------------------------------------------------- progress
def event(label, done, total, seconds=0.0):
    return {"kind": "progress", "label": label, "done": done, "total": total, "seconds": seconds}


def test_the_outermost_piece_that_has_moved_is_shown():
    begun = []
    progress = Progress(begun.append, clock=lambda: 100.0)
    assert progress.now is None
    progress.hear(event("fit", 0, 3))
    progress.hear(event("epoch", 0, 10))
    assert progress.now.label == "epoch", "nothing has moved: the innermost"
    progress.hear(event("epoch", 4, 10, 8.0))
    assert (progress.now.label, progress.now.since) == ("epoch", 92.0)
    progress.hear(event("fit", 1, 3, 20.0))
    assert (progress.now.label, progress.now.done, progress.now.since) == ("fit", 1, 80.0)
    progress.hear(event("epoch", 10, 10, 20.0))
    progress.hear(event("fit", 3, 3, 60.0))
    progress.hear({"kind": "words", "text": "no progress"})
    assert progress.now is None and begun == ["fit", "epoch"]


def test_the_time_left_is_that_of_the_phase():
    row = JobRow("a", "fit", {}, 0.0, state="running", started=0.0, since=900.0, done=10, total=40)
    assert eta(row, now=1_000.0) == pytest.approx(300.0)
    assert eta(row, now=800.0) == 0.0, "a clock that went back"
    for unknown in ({"done": 0}, {"total": None}, {"since": None}, {"state": "waiting"}):
        assert eta(JobRow(**{**vars(row), **unknown}), now=1_000.0) is None


@pytest.fixture
def told(caplog, monkeypatch):
    """The fields of the server's log lines about jobs."""
    server = logging.getLogger("hexarec.serve")
    monkeypatch.setattr(server, "propagate", True)
    caplog.set_level(logging.INFO, server.name)
    return lambda: [(one.getMessage(), one.fields) for one in caplog.records if hasattr(one, "fields")]


def test_the_servers_log_tells_how_far_a_long_job_is(tenant, runner, working, told, monkeypatch):
    monkeypatch.setattr(module, "TOLD", 0.3)
    working(stepping(40, 0.04, "fit somebody@example.org"))
    job = tenant.shelf.add_job("fit", {})
    runner.one()
    lines = told()
    assert lines[0][0] == "job begins" and lines[-1][0] == "job ended" and lines[-1][1]["state"] == "done"
    far = [fields for what, fields in lines if what == "job progress"]
    assert 2 <= len(far) <= 1 + lines[-1][1]["seconds"] / 0.3, "often enough, and not with every beat"
    assert all((one["job"], one["kind"], one["stage"]) == (job.id, "fit", "fit") for one in far)
    shares = [one["share"] for one in far]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] <= 1 and all(one["eta_s"] >= 0 for one in far)
    assert "somebody" not in str(lines)


def test_a_job_that_counts_no_steps_is_told_of_too(tenant, runner, working, told, monkeypatch):
    monkeypatch.setattr(module, "TOLD", 0.1)
    working(lambda tenant, args, scratch: time.sleep(0.5) or {})
    tenant.shelf.add_job("fit", {})
    runner.one()
    far = [fields for what, fields in told() if what == "job progress"]
    assert far and all((one["stage"], one["share"], one["eta_s"]) == ("other", None, None) for one in far)


def test_every_piece_of_work_has_a_word_that_may_be_logged():
    """Labels of `track` in the package: names in them are left out of the log, so a word of ours must be there."""
    labels = []
    for path in sorted(Path(hexarec.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "track":
                given = node.args[1]
                parts = given.values if isinstance(given, ast.JoinedStr) else [given]
                labels.append(" ".join(str(one.value) for one in parts if isinstance(one, ast.Constant)))
    assert len(labels) > 15
    assert [one for one in labels if one and stage_of(one) not in STAGES] == []
