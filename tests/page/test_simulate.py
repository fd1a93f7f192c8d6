"""Simulate on the page: a run started, watched as it grows, and read."""

import json

import pytest

from hexarec.eval.simulation import MEASURES
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.jobs.simulating import CURVES
from hexarec.serve.page.values.simulate import figures_of
from hexarec.serve.page.words import word
from serve.conftest import backend_over
from serve.running import listening

from .conftest import PHONE, axe_clean, wide_enough


def test_from_the_form_to_the_curves(page_client, backend):
    assert "There are no runs yet" in page_client.get("/simulate").text
    answer = page_client.post(
        "/simulate/start", data={"pipeline": "default", "users": "24", "pages": "2"}, follow_redirects=False
    )
    where = answer.headers["location"]
    text = page_client.get(where).text
    assert "curves follow" in text and f'hx-get="{where}/curves"' in text
    tenant = backend.service.tenant("default")
    job = tenant.shelf.job(where.removeprefix("/simulate/"))
    half = {"default": {"visits": [2], "values": {one: [2.0, 4.0] for one in
            ("satisfaction", "exit_page", "like_rate", "diversity", "popularity")},
            "said": [{"page": 2, "satisfaction": 3.0, "why": "<b>dull</b>", "memory": ["<i>note</i>"]}],
            "failed": 7}}  # fmt: skip
    scratch = folder_of(tenant, job.id)
    scratch.mkdir(parents=True)
    (scratch / CURVES).write_text(json.dumps(half), "utf-8")
    text = page_client.get(f"{where}/curves").text
    assert "default: 7 steps failed" in text
    assert "figure-satisfaction" in text and "&lt;b&gt;dull" in text and "<b>dull" not in text and "<i>note" not in text
    told = page_client.get(f"{where}/figures/satisfaction.json").json()
    assert told["places"] == [2] and told["series"][0]["values"] == [3.0]
    (scratch / CURVES).unlink()

    assert Runner(backend.service).one()
    text = page_client.get(f"{where}/curves").text
    assert "steps failed" not in text
    assert "done" in text and "hx-get" not in text and "of 10" in text
    told = page_client.get(f"{where}/figures/satisfaction.json").json()
    assert told["places"][-1] == 24 and told["series"][0]["low"][-1] <= told["series"][0]["values"][-1]
    stay = page_client.get(f"{where}/figures/stay.json").json()["series"][0]["values"]
    assert stay[0] == 1.0 and stay == sorted(stay, reverse=True)
    assert page_client.get(f"{where}/figures/nothing.json").status_code == 404
    assert "default" in page_client.get("/simulate").text
    other = tenant.shelf.add_job("fit", {})
    tenant.shelf.cancel_job(other.id)
    assert page_client.get(f"/simulate/{other.id}").status_code == 404


@pytest.mark.parametrize(
    "form, said",
    [({"pipeline": []}, "pipeline"), ({"users": "many"}, "users"), ({"users": "0"}, "users"), ({"pages": "99"}, "pages"),
     ({"model": "openai:http://169.254.169.254/"}, "not allowed"), ({"seed": "-1"}, "seed")],
)  # fmt: skip
def test_a_wrong_form_is_told(page_client, form, said):
    answer = page_client.post("/simulate/start", data={"pipeline": ["default"], "users": "10", **form})
    assert answer.status_code == 422 and said in answer.text.split('role="alert"')[1][:300]


def test_what_a_run_takes_is_told_before_it_starts(page_client):
    form = {"pipeline": ["default"], "users": "5", "pages": "2", "model": ""}
    text = page_client.get("/simulate").text
    assert 'hx-post="/simulate/cost"' in text and "No model is asked" in text
    assert "No model is asked" in page_client.post("/simulate/cost", data=form).text
    told = page_client.post("/simulate/cost", data={**form, "model": "gguf:smollm2"}).text
    assert "About 116 questions to gguf:smollm2, about 1 min 56 s" in told
    away = page_client.post("/simulate/cost", data={**form, "model": "openai:m@http://x"}).text
    assert "depends on its server" in away
    assert "is no whole number" in page_client.post("/simulate/cost", data={**form, "users": "many"}).text
    for wrong in ({"users": "0"}, {"pages": "99"}, {"model": "smollm2"}):
        told = page_client.post("/simulate/cost", data={**form, "model": "gguf:smollm2", **wrong}).text
        assert 'class="wrong"' in told


def test_only_users_that_are_there_are_told(page_client, backend):
    n_users = backend.service.tenant("default").data().n_users
    form = {"pipeline": ["default"], "pages": "2", "model": "gguf:smollm2"}
    all_of_them = page_client.post("/simulate/cost", data={**form, "users": str(n_users)}).text
    assert "questions to gguf:smollm2" in all_of_them
    assert page_client.post("/simulate/cost", data={**form, "users": "10000"}).text == all_of_them


def test_figures_of_nothing():
    assert figures_of({}, lambda key, **more: word("en", key, **more)) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    with listening(backend_over(tmp_path_factory.mktemp("site") / "home", data, background=True)) as url:
        yield url


def test_a_run_is_watched(open_page):
    page = open_page("/simulate")
    axe_clean(page)
    page.locator("#users").fill("48")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/simulate/*")
    page.locator("#state .state.ok").wait_for(timeout=60_000)
    page.locator("#figure-satisfaction canvas").wait_for()
    axe_clean(page)
    where = page.url
    page = open_page(where, lang="zh", theme="dark")
    page.locator("#figure-stay canvas").wait_for()
    axe_clean(page)
    axe_clean(open_page("/simulate", lang="zh", theme="dark"))
    page = open_page(where, viewport=PHONE, touch=True)
    page.locator("#figure-stay canvas").wait_for()
    wide_enough(page)


def test_one_visit_has_no_interval():
    curves = {"a": {"visits": [1, 2], "values": {name: [1.0, 3.0] for name in MEASURES}, "said": []}}
    (line,) = figures_of(curves, lambda key, **_: key)[0].series
    assert line.values == [1.0, 2.0] and line.low[0] is None and line.high[0] is None
    assert line.low[1] == pytest.approx(2.0 - 1.96) and line.high[1] == pytest.approx(2.0 + 1.96)
