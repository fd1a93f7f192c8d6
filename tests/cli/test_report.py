import json
import os
import shutil

import pytest
from tests.cli.calls import answer, call, fails
from tests.eval.systems import Tally, oracle, task

from hexarec.eval.experiment import Experiment


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    made = task(max_users=6)
    Experiment(made, {"rows": Tally(), "oracle": oracle(made)}).run(folder)
    return folder


def test_a_report_in_four_forms(run):
    assert "oracle" in call("report", run).stdout
    assert call("report", run, "--markdown").stdout.startswith("# world:order (simulated)")
    assert answer("report", run)["rows"][-1]["system"] == "oracle"
    (run / "report.html").unlink()
    assert call("report", run, "--html").stdout == f"written: {run / 'report.html'}\n"
    assert "simulated: true" in (run / "report.html").read_text()


def test_latest_is_the_newest_run(run, tmp_path):
    shutil.copytree(run, tmp_path / "old")
    shutil.copytree(run, tmp_path / "new")
    about = json.loads((run / "report.json").read_text())
    (tmp_path / "new" / "report.json").write_text(json.dumps({**about, "title": "the new one"}))
    os.utime(tmp_path / "old" / "report.json", (1e9, 1e9))
    assert answer("report", tmp_path / "latest")["title"] == "the new one"
    assert "there is no report" in fails("report", tmp_path / "nothing" / "latest")


def test_diff_of_two_systems(run):
    user = json.loads((run / "questions.json").read_text())["users"][0]
    made = answer("diff", run, "--user", user, "-a", "rows", "-b", "oracle")
    assert made["left"] == "rows" and len(made["places"]) == 10 and len(made["liked"]) == 1
    assert made["places"][0]["right"]["liked"] and made["places"][1]["right"] is None
    text = call("diff", run, "--user", user, "-a", "rows", "-b", "oracle", "-k", 3)
    assert "next: hexarec diff" in text.stderr and " -a rows -b oracle -k 3 --user " in text.stderr
    text = text.stdout
    assert f"user {user}" in text and "* Title" in text and "rows (a)" in text


def test_diff_chooses_systems_and_user_when_none_is_named(run, tmp_path):
    made = answer("diff", run)
    assert made["left"] == "itemknn-last3" or made["left"] in ("ease", "popular", "random")
    assert made["right"] == "oracle" and made["user"]
    shutil.copytree(run, tmp_path / "b")
    other = answer("diff", run, tmp_path / "b")
    assert other["left"] == other["right"] == "oracle"
    assert all(place["right"]["move"] == 0 for place in other["places"])


def test_a_run_without_its_report_is_not_compared_with_itself(run, tmp_path):
    shutil.copytree(run, tmp_path / "b")
    (tmp_path / "b" / "report.json").unlink()
    made = answer("diff", tmp_path / "b")
    assert made["left"] != made["right"]


def test_diff_names_what_is_wrong(run, tmp_path):
    assert "nothing about user 'me'" in fails("diff", run, "--user", "me")
    assert "systems: ease" in fails("diff", run, "-a", "nobody")
    assert "no questions are kept" in fails("diff", tmp_path)
