"""Experiments: the runs of a home, their tables and figures, comparisons, single users; ids only, never paths."""

import csv
import io
import json
import shutil
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from hexarec.eval.experiment import Experiment
from hexarec.eval.opening import pipeline_of
from hexarec.eval.report import Value, read_report
from hexarec.eval.tasks import Ranking
from hexarec.serve.http.app import make_app
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.page.values.leaders import comparison_of, table_of
from hexarec.serve.page.values.plots import figures_of
from hexarec.serve.page.values.runs import run_of, runs_of
from serve.conftest import URL, backend_over, key_for

ASKING = {
    "retrieve": [{"use": "itemknn"}],
    "rank": {"use": "window", "ranker": {"use": "llmrank", "lm": "fake:position", "rounds": 1}, "size": 8},
}


def measured(folder, data, name, config, users=30):
    """A run folder as the command line leaves it."""
    task = Ranking(data, max_users=users)
    Experiment(task, {name: pipeline_of(config)}, k=10).run(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory, data):
    """A home with two runs of the command line, and a third that differs in what it asks."""
    made = tmp_path_factory.mktemp("runs") / "home"
    measured(made / "runs" / "asking", data, "asking", ASKING)
    measured(made / "runs" / "near", data, "near", {"retrieve": [{"use": "itemknn", "neighbours": 3}]})
    measured(made / "runs" / "few", data, "near", {"retrieve": [{"use": "itemknn"}]}, users=10)
    return made


@pytest.fixture(scope="module")
def backend(home, data):
    return backend_over(home, data)


@pytest.fixture(scope="module")
def report(home):
    return read_report(home / "runs" / "asking")


# -------------------------------------------------------------------------------------------------------- the list
def test_every_run_is_listed_with_its_best_and_its_floor(page_client, home):
    text = page_client.get("/experiments").text
    for name in ("asking", "near", "few"):
        assert f'href="/experiments/run-{name}"' in text and f'value="run-{name}"' in text
    assert str(home / "runs") in text and "ndcg@10" in text


def test_an_empty_home_says_how_to_fill_it(tmp_path, data):
    with TestClient(make_app(backend_over(tmp_path / "home", data)), base_url=URL) as client:
        text = client.get("/experiments").text
        assert "Nothing was measured yet" in text and f"hexarec bench --out {tmp_path / 'home' / 'runs'}" in text
        assert 'href="/methods"' in text


def test_ids_are_no_paths(page_client, home, backend, tmp_path):
    shutil.copytree(home / "runs" / "near", tmp_path / "outside")
    (home / "runs" / "link").symlink_to(tmp_path / "outside")
    shutil.copytree(home / "runs" / "near", home / "elsewhere")
    for wrong in ("run-link", "run-..", "run-../elsewhere", "run-..%2Felsewhere", "run-%2e%2e%2felsewhere", "run-", "run-/",
                  "job-near", "job-..%2f..%2fruns%2fnear", "near", "elsewhere", f"run-{tmp_path}/outside"):  # fmt: skip
        for path in (f"/experiments/{wrong}", f"/experiments/{wrong}/table.csv", f"/experiments/{wrong}/figure/accuracy.csv",
                     f"/experiments/{wrong}/user?user=u001", f"/experiments/compare?run=run-near&run={wrong}",
                     f"/experiments/compare/run-near~{wrong}/figure/compared.csv"):  # fmt: skip
            assert page_client.get(path).status_code in (404, 422), path
    assert {one.id for one in runs_of(backend.service.tenant(), home)} >= {"run-asking", "run-near", "run-few"}
    assert "run-link" not in {one.id for one in runs_of(backend.service.tenant(), home)}
    (home / "runs" / "link").unlink()


def test_folders_belong_to_the_operator(backend, home):
    other = backend.service.tenant("other")
    assert runs_of(other, home) == []


# --------------------------------------------------------------------------------------------------------- one run
def test_the_table_holds_the_numbers_of_the_report(page_client, report):
    answer = page_client.get("/experiments/run-asking/table.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["system"] for row in rows] == [row.system for row in report.rows]
    for row, true in zip(rows, report.rows, strict=True):
        for name in ("ndcg@10", "recall@10", "coverage@10"):
            assert float(row[name]) == true.values[name].mean
        assert float(row["ms/list"]) == true.costs["ms/list"]
    text = page_client.get("/experiments/run-asking").text
    value = next(row for row in report.rows if row.system == "asking").values["ndcg@10"]
    assert f"{value.mean:.4f}" in text and f"[{value.low:.4f}, {value.high:.4f}]" in text


def test_letters_name_those_that_stand_below(report):
    table = table_of(report)
    letters = {one.row.system: one.letter for one in table.leaders}
    means = {row.system: row.values[table.first].mean for row in report.rows}
    marked = {one.row.system: set(one.cells[table.first].above.split()) for one in table.leaders}
    assert list(letters.values()) == ["a", "b", "c", "d", "e"]
    for a, b, p in report.pairs["p"]:
        high, low = (a, b) if means[a] > means[b] else (b, a)
        assert (letters[low] in marked[high]) == (p < 0.05)
        assert letters[high] not in marked[low]
    assert any(marked.values()), "in a world with a pattern something beats the random order"


@pytest.mark.parametrize("name", ["accuracy", "tokens", "segments", "history", "position", "popularity"])
def test_figures_are_the_numbers_of_the_report(page_client, report, name):
    text = page_client.get("/experiments/run-asking").text
    assert f'id="figure-{name}"' in text
    made = page_client.get(f"/experiments/run-asking/figure/{name}.json").json()
    rows = list(csv.reader(io.StringIO(page_client.get(f"/experiments/run-asking/figure/{name}.csv").text)))
    assert len(rows) == len(made["places"]) + 1
    by_name = {one["name"]: one["values"] for one in made["series"]}
    systems = {row.system: row for row in report.rows}
    if name in ("accuracy", "tokens"):
        for system, values in by_name.items():
            assert [one for one in values if one is not None] == [systems[system].values["ndcg@10"].mean]
        assert made["x"]["log"] == (name == "accuracy")
    elif name == "popularity":
        assert by_name["popularity_lift@10"] == [row.values["popularity_lift@10"].mean for row in report.rows]
    elif name == "position":
        assert by_name["asking"] == report.curves["asking"]["rate"]
    elif name == "history":
        assert set(by_name) == set(systems) and sum(report.history["users"]) == 30
    svg = page_client.get(f"/experiments/run-asking/figure/{name}.svg")
    assert svg.headers["content-type"].startswith("image/svg+xml") and svg.text.startswith("<svg")


def test_a_curve_that_falls_shows_position_bias(report):
    rate = figures_of(report, "en")["position"].series[0].values
    assert rate[0] >= rate[-1]


def test_calibration_where_items_have_genres(report):
    row = report.rows[0]
    told = replace(row, values={**row.values, "calibration@10": Value(0.25, 0.2, 0.3)})
    made = figures_of(replace(report, rows=(told, *report.rows[1:])), "en")["calibration"]
    assert made.series[0].values == [0.25, None, None, None, None] and made.series[0].low[0] == 0.2
    assert "calibration" not in figures_of(report, "en")


def test_unknown_figures_and_forms(page_client):
    assert page_client.get("/experiments/run-asking/figure/nothing.csv").status_code == 404
    assert page_client.get("/experiments/run-asking/figure/accuracy.exe").status_code == 422


def test_a_damaged_report_is_told(page_client, home):
    place = home / "runs" / "damaged"
    place.mkdir()
    (place / "report.json").write_text("{")
    try:
        assert page_client.get("/experiments").status_code == 200
        assert "cannot be read" in page_client.get("/experiments/run-damaged").text
        assert page_client.get("/experiments/compare?run=run-damaged&run=run-near").status_code == 409
    finally:
        shutil.rmtree(place)


def test_a_report_from_before_shows_what_it_has(page_client, home):
    place = home / "runs" / "older"
    shutil.copytree(home / "runs" / "near", place)
    told = json.loads((place / "report.json").read_text())
    for name in ("pairs", "history", "systems"):
        told.pop(name)
    (place / "report.json").write_text(json.dumps(told))
    (place / "questions.json").unlink()
    try:
        text = page_client.get("/experiments/run-older").text
        assert "No lists are kept" in text and "before options were kept" in text and 'id="figure-history"' not in text
        assert page_client.get("/experiments/run-older/user?user=u001").status_code == 404
    finally:
        shutil.rmtree(place)


# ------------------------------------------------------------------------------------------------------- one user
def test_one_user_with_truth_prompt_and_answer(page_client, home):
    told = json.loads((home / "runs" / "asking" / "questions.json").read_text())
    user, liked = told["users"][3], told["liked"][3]
    titles = dict(zip(told["ids"], told["titles"], strict=True))
    piece = page_client.get("/experiments/run-asking/user", params={"user": user}).text
    for item in liked:
        assert titles[item] in piece
    sides = piece.split('<section class="side">')[1:]
    assert len(sides) == 5
    assert "Asked of the model: 1" in sides[-1] and "<pre" in sides[-1] and "[A]" in sides[-1]
    assert "You are" not in sides[0] and "<pre" not in sides[0]
    found = page_client.get("/experiments/run-asking/users", params={"user": user[:2]}).text
    assert f'value="{user}"' in found
    assert page_client.get("/experiments/run-asking/user", params={"user": "nobody"}).status_code in (404, 422)


# ------------------------------------------------------------------------------------------------------- compared
def test_two_runs_side_by_side(page_client, home, backend):
    answer = page_client.get("/experiments/compare?run=run-asking&run=run-near")
    assert answer.status_code == 200 and "asked other questions" not in answer.text
    text = answer.text.split('id="differing"')[1]
    assert "rank_by.ranker" in text and "LLMRank" in text and "retrieve_by.1.neighbours" in text
    href = "/experiments/compare/run-asking~run-near/figure/compared"
    made = page_client.get(f"{href}.json").json()
    assert [one["name"] for one in made["series"]] == ["1. asking", "2. near"]
    both = {name: read_report(home / "runs" / name) for name in ("asking", "near")}
    for one, (_, kept) in zip(made["series"], both.items(), strict=True):
        means = {row.system: row.values["ndcg@10"].mean for row in kept.rows}
        assert one["values"] == [means.get(system) for system in made["names"]]
    tenant = backend.service.tenant()
    runs = [run_of(tenant, home, f"run-{name}") for name in ("asking", "near")]
    assert [column.system for column in comparison_of(runs).columns][1::2] == ["asking", "near"]
    assert comparison_of(runs).same
    manifest = {**runs[1].report.manifest, "questions": "of another seed"}  # as many users, but other ones
    other = replace(runs[1], report=replace(runs[1].report, manifest=manifest))
    assert not comparison_of([runs[0], other]).same


def test_runs_of_other_questions_are_told_apart(page_client):
    text = page_client.get("/experiments/compare?run=run-few&run=run-near").text
    assert "asked other questions" in text


@pytest.mark.parametrize(
    "runs", [[], ["run-near"], ["run-near", "run-near"], ["run-near"] * 2 + ["run-no"], [f"run-{i}" for i in range(5)]]
)
def test_two_to_four_runs(page_client, runs):
    answer = page_client.get("/experiments/compare", params={"run": runs})
    assert answer.status_code in (404, 422) and "trouble bad" in answer.text


# ------------------------------------------------------------------------------------------------------------ jobs
def test_a_job_from_waiting_to_its_table(page_client, backend):
    tenant = backend.service.tenant()
    job = tenant.shelf.add_job("bench", {"max_users": 10, "k": 5})
    where = f"/experiments/job-{job.id}"
    assert "waiting" in page_client.get("/experiments").text
    text = page_client.get(where).text
    assert f'hx-get="{where}/state"' in text and "Cancel" in text
    assert "hx-redirect" not in page_client.get(f"{where}/state").headers
    assert Runner(backend.service, beat=0.02, poll=0.02).one()
    assert page_client.get(f"{where}/state").headers["hx-redirect"] == where
    done = page_client.get(where).text
    assert "Leaderboard" in done and 'id="user-lists"' in done


def test_a_waiting_job_is_cancelled_and_a_folder_is_not(page_client, backend):
    job = backend.service.tenant().shelf.add_job("bench", {"max_users": 10})
    assert page_client.post(f"/experiments/job-{job.id}/cancel", data={}).status_code == 200
    assert backend.service.tenant().shelf.job(job.id).state == "cancelled"
    assert "was cancelled" in page_client.get(f"/experiments/job-{job.id}").text
    assert page_client.post("/experiments/run-near/cancel", data={}).status_code == 409


def test_a_failed_job_says_why(page_client, backend):
    job = backend.service.tenant().shelf.add_job("bench", {"config": {"retrieve": [{"use": "popula"}]}})
    Runner(backend.service, beat=0.02, poll=0.02).one()
    text = page_client.get(f"/experiments/job-{job.id}").text
    assert "did you mean &#39;popular&#39;" in text and 'role="alert"' in text


def test_other_jobs_are_no_runs(page_client, backend):
    job = backend.service.tenant().shelf.add_job("fit", {})
    assert page_client.get(f"/experiments/job-{job.id}").status_code == 404
    backend.service.tenant().shelf.cancel_job(job.id)


def test_runs_of_another_tenant_are_not_found(tmp_path, data):
    backend = backend_over(tmp_path / "home", data)
    job = backend.service.tenant().shelf.add_job("bench", {"max_users": 5})
    key = key_for(backend, "admin", tenant="other")["authorization"].removeprefix("Bearer ")
    with TestClient(make_app(backend), base_url=URL) as client:
        client.post("/login", data={"key": key})
        assert client.get(f"/experiments/job-{job.id}").status_code == 404


# ----------------------------------------------------------------------------------------------------------- hostile
def test_nothing_of_a_run_is_markup(page_client, home):
    place = home / "runs" / "hostile"
    shutil.copytree(home / "runs" / "asking", place)
    bad = "<img src=x onerror=alert(1)>"
    told = json.loads((place / "report.json").read_text())
    text = json.dumps(told).replace('"asking"', json.dumps(bad))
    told = json.loads(text)
    told["title"], told["manifest"]["data"] = f"{bad} title", bad
    (place / "report.json").write_text(json.dumps(told))
    kept = json.loads((place / "questions.json").read_text())
    kept["titles"] = [f"{bad} {i}" for i in range(len(kept["titles"]))]
    (place / "questions.json").write_text(json.dumps(kept))
    try:
        for path in ("/experiments", "/experiments/run-hostile", "/experiments/compare?run=run-hostile&run=run-near",
                     "/experiments/run-hostile/user?user=" + kept["users"][0]):  # fmt: skip
            text = page_client.get(path).text
            assert "<img src=x" not in text and "&lt;img src=x" in text, path
        for form in ("svg", "csv"):
            svg = page_client.get(f"/experiments/run-hostile/figure/accuracy.{form}")
            assert svg.status_code == 200 and ("<img" not in svg.text or form == "csv")
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("path", ["/experiments", "/experiments/run-asking", "/methods", "/methods/llmrank",
                                  "/experiments/compare?run=run-asking&run=run-near"])  # fmt: skip
def test_pages_are_light(page_client, path):
    from .test_page import loaded_by

    answer = page_client.get(path)
    whole = len(answer.content) + sum(len(page_client.get(one).content) for one in loaded_by(page_client, path))
    assert answer.status_code == 200 and whole < 300_000


def test_values_of_many_systems_have_letters_beyond_z():
    from hexarec.serve.page.values.leaders import _letter

    made = [_letter(place) for place in range(60)]
    assert made[:3] == ["a", "b", "c"] and made[25:28] == ["z", "aa", "ab"] and len(set(made)) == 60
