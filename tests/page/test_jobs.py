"""Jobs on the page: started, watched, cancelled, resumed; what goes wrong is told."""

import threading
import time

import pytest
from tests.hanging import LONG
from tests.serve.jobs.conftest import eventually
from tests.serve.jobs.stages import kind_that, stepping

from hexarec.core.run import current, track
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.page.values.jobs import NAMED, PAGES, startable
from hexarec.serve.page.words import LANGUAGES, word
from serve.conftest import backend_over
from serve.running import listening

from .conftest import LOOKS, PHONE, axe_clean, wide_enough


def started(client, **form):
    answer = client.post("/jobs/start", data={"kind": "fit", "pipeline": "default", **form}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_every_kind_has_its_words():
    for lang in LANGUAGES:
        for kind in KINDS:
            assert word(lang, f"jobs.kinds.{kind}")
        for kind in startable():
            assert word(lang, f"jobs.about.{kind}")
        for name in NAMED:
            assert word(lang, f"jobs.facts.{name}")
        for state in ("waiting", "running", "done", "failed", "cancelled", "paused"):
            assert word(lang, f"jobs.states.{state}")
    assert {*startable(), *PAGES} == set(KINDS)


def test_a_fit_from_the_form_to_its_result(page_client, backend):
    where = started(page_client, tokens="5000", dollars="0.5")
    text = page_client.get(where).text
    assert "waiting" in text and f'data-follow="{where}/events"' in text and "Cancel" in text
    tenant = backend.service.tenant("default")
    job = tenant.shelf.job(where.removeprefix("/jobs/"))
    assert dict(job.args) == {"pipeline": "default", "tokens": 5000, "dollars": 0.5}
    before = tenant.recommender("default").current.version
    assert Runner(backend.service).one()
    text = page_client.get(f"{where}/state").text
    assert "done" in text and "Version" in text and "begins, try 1" in text and "Cancel" not in text
    assert tenant.recommender("default").current.version == before + 1
    told = page_client.get(f"{where}/events").text
    assert told == "event: end\ndata: done\n\n"
    assert "Fit" in page_client.get("/jobs/list").text
    assert page_client.get(f"{where}/file").status_code == 404
    assert page_client.post(f"{where}/resume", data={}).status_code == 409
    done = [row.what for row in tenant.shelf.audit_rows()]
    assert "start job fit" in done


@pytest.mark.parametrize(
    "form, said",
    [({"kind": "nothing"}, "no kind"), ({"kind": ""}, "no kind"), ({"tokens": "many"}, "tokens"), ({"dollars": "-1"}, "dollars"),
     ({"tokens": "1.5"}, "tokens"), ({"pipeline": "../x"}, "pipeline"), ({"pipeline": "x" * 300}, "pipeline"),
     ({"dollars": "nan"}, "dollars")],
)  # fmt: skip
def test_a_wrong_order_is_refused_and_told(page_client, backend, form, said):
    before = backend.service.tenant("default").shelf.count("jobs")
    answer = page_client.post("/jobs/start", data={"kind": "fit", "pipeline": "default", **form})
    assert answer.status_code == 422 and said in answer.text.split('role="alert"')[1][:300]
    assert backend.service.tenant("default").shelf.count("jobs") == before


def test_unknown_jobs(page_client):
    for path in ("/jobs/nothing", "/jobs/nothing/state", "/jobs/nothing/events", "/jobs/nothing/file", "/jobs/a%2Fb"):
        assert page_client.get(path).status_code == 404, path
    for path in ("/jobs/nothing/cancel", "/jobs/nothing/resume"):
        assert page_client.post(path, data={}).status_code == 404, path


def test_a_failed_job_says_why_and_can_be_resumed(page_client, backend, monkeypatch):
    from hexarec.core import OptionError

    def fails(tenant, args, scratch):
        raise OptionError("the <b>reason</b>", hint="mend it")

    monkeypatch.setitem(KINDS, "fit", kind_that(KINDS["fit"], fails))
    where = started(page_client)
    assert Runner(backend.service).one()
    text = page_client.get(where).text
    assert "the &lt;b&gt;reason&lt;/b&gt;" in text and "<b>reason" not in text and "Resume" in text
    assert page_client.post(f"{where}/resume", data={}, follow_redirects=False).headers["location"] == where
    assert "waiting" in page_client.get(where).text
    assert page_client.post(f"{where}/cancel", data={}, follow_redirects=False).status_code == 303
    assert "cancelled" in page_client.get(where).text


# ------------------------------------------------------------------------------------------------------- browser
@pytest.fixture(scope="module")
def own(tmp_path_factory, data):
    return backend_over(tmp_path_factory.mktemp("site") / "home", data)


@pytest.fixture(scope="module")
def site(own):
    with listening(own) as url:
        yield url


def stopping_at(step):
    """The work of a fit that goes on after this step only to be cancelled."""

    def work(tenant, args, scratch):
        for number in track(range(100), "epoch"):
            time.sleep(0.05)
            end = time.monotonic() + (LONG if number == step else 0.0)
            while time.monotonic() < end:
                current().check()
                time.sleep(0.02)

    return work


@pytest.fixture
def worker(own, monkeypatch):
    """Works on jobs in a thread; a fit is a hundred steps of which each says where it is, and the tenth hangs."""
    monkeypatch.setitem(KINDS, "fit", kind_that(KINDS["fit"], stopping_at(10)))
    runner = Runner(own.service, beat=0.05, poll=0.05)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            if not runner.one():
                time.sleep(0.02)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    stop.set()
    runner.close()
    thread.join(10)


def test_run_watch_cancel_and_resume(open_page, own, worker, monkeypatch):
    page = open_page("/jobs")
    assert page.locator("#jobs .empty").is_visible()
    axe_clean(page)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/jobs/*")
    meter = page.locator("#state progress")
    eventually(lambda: page.evaluate("document.querySelector('#state progress')?.value > 5"))
    assert meter.get_attribute("max") == "100" and "left in this phase" in page.locator("#state").inner_text()
    axe_clean(page)
    page.get_by_role("button", name="Cancel").click()
    page.locator("#state .state.warn").wait_for()
    assert "epoch" in page.locator("#state pre").inner_text()
    monkeypatch.setitem(KINDS, "fit", kind_that(KINDS["fit"], stepping(3, 0.01, "the rest")))
    page.get_by_role("button", name="Resume").click()
    page.locator("#state .state.ok").wait_for()
    assert "the rest" in page.locator("#state pre").inner_text()
    page.goto("/jobs")
    assert "done" in page.locator("#list tbody tr").first.inner_text()
    eventually(lambda: not own.followers)


@pytest.mark.parametrize("lang, theme", LOOKS)
def test_pages_in_a_browser(open_page, own, lang, theme):
    shelf = own.service.tenant("default").shelf
    one = shelf.add_job("fit", {"pipeline": "default"}, id="shown")
    if one.state == "waiting":
        shelf.cancel_job("shown")
    for path in ("/jobs", "/jobs/shown"):
        axe_clean(open_page(path, lang=lang, theme=theme))
        page = open_page(path, lang=lang, theme=theme, viewport=PHONE, touch=True)
        wide_enough(page)
