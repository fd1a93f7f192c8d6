import os
from pathlib import Path

import pytest
from tests.cli.calls import PIPELINE, answer, call, fails, written

from hexarec.cli.bench import names_of, numbers_of, rate_of, run_folder
from hexarec.core import OptionError
from hexarec.core.options import clear_memo
from hexarec.eval.opening import with_stand_ins
from hexarec.eval.report import read_report

BENCH = (
    PIPELINE
    + """
[bench]
split = "last"
max_users = 20
metrics = ["ndcg@10", "recall@10", "coverage@10"]
baseline = "popular"

[bench.systems.mine]
use = "pipeline"

[bench.systems.without-model]
use = "pipeline"
without = ["rank"]
"""
)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written(tmp_path, BENCH, "bench.toml")


def test_a_bench_measures_floors_and_systems_and_keeps_everything(bench, tmp_path):
    made = call("bench", "-c", bench, "--out", "runs/a")
    assert "without-model" in made.stdout and "itemknn-last3" in made.stdout
    assert "last split, test, full catalog, 20 users sampled of" in made.stderr
    assert "hexarec report runs/a --html" in made.stderr
    report = read_report(tmp_path / "runs" / "a")
    assert report.baseline == "popular" and report.metrics[:3] == ["ndcg@10", "recall@10", "coverage@10"]
    rows = {row.system: row for row in report.rows}
    assert rows["mine"].costs["calls"] == 1.0 and rows["without-model"].costs["calls"] == 0.0
    assert (tmp_path / "runs" / "a" / "report.html").exists()


def test_a_budget_stops_it_and_resume_goes_on(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("hexarec.eval.experiment.LM_BLOCK", 8)
    said = fails("bench", "-c", bench, "--out", "runs/a", "--budget-calls", 10)
    assert "the budget of 10 calls" in said and "go on with --resume" in said
    blocks = list((tmp_path / "runs" / "a" / "cells").glob("*-*.npz"))
    assert len(blocks) == 1
    # the first 8 questions are not asked again: 12 calls are enough for the other 12
    made = answer("bench", "-c", bench, "--out", "runs/a", "--resume", "--budget-calls", 12)
    mine = next(row for row in made["rows"] if row["system"] == "mine")
    assert mine["costs"]["calls"] == 1.0
    whole = answer("bench", "-c", bench, "--out", "runs/b")
    assert [row["metrics"] for row in whole["rows"]] == [row["metrics"] for row in made["rows"]]


def test_options_of_the_command_line(bench):
    made = answer("bench", "-c", bench, "--only", "without-model", "--max-users", 4, "--seeds", "0,1", "--out", "r")
    assert made["manifest"]["seeds"] == [0, 1] and "4 users sampled" in made["title"]
    assert [row["system"] for row in made["rows"]][-1] == "without-model" and len(made["rows"]) == 5
    assert "no system 'nobody'" in fails("bench", "-c", bench, "--only", "nobody")
    assert "not whole numbers" in fails("bench", "-c", bench, "--seeds", "a")


def test_a_run_is_never_mixed_with_another_by_accident(bench):
    call("bench", "-c", bench, "--only", "without-model", "--max-users", 4, "--out", "r")
    assert "--resume goes on with it" in fails("bench", "-c", bench, "--out", "r")


def test_the_folder_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_folder(None, "bench", False).parts[0] == "runs" and run_folder(tmp_path, "bench", True) == tmp_path
    with pytest.raises(OptionError, match="no run of bench"):
        run_folder(None, "bench", True)
    for age, name in ((20, "bench-new"), (90, "bench-old"), (1, "other-x")):
        cells = tmp_path / "runs" / name / "cells"
        cells.mkdir(parents=True)
        os.utime(cells, (1e9 - age, 1e9 - age))
    assert run_folder(None, "bench", True).name == "bench-new"


def test_estimate_of_a_bench_equals_what_the_bench_then_asks(bench):
    made = answer("estimate", "-c", bench)["systems"]
    assert made["mine"]["calls"] == 20 and made["without-model"]["calls"] == 0
    report = answer("bench", "-c", bench, "--out", "r")
    mine = next(row for row in report["rows"] if row["system"] == "mine")
    assert mine["costs"]["calls"] * 20 == made["mine"]["calls"]
    assert 0.5 < mine["costs"]["tokens_in"] * 20 / made["mine"]["tokens_in"] < 2.0
    for wrong in ("nan,1", "1,inf", "0,1", "1"):
        assert "write 250,40" in fails("estimate", "-c", bench, "--speed", wrong)
    text = call("estimate", "-c", bench, "--seeds", "0,1", "--speed", "100,10").stdout
    assert "40 lists from each system" in text and "- A" not in text and "reads 100 and writes 10" in text


def test_what_to_type_next_goes_on_with_the_same_file_and_data(bench, tmp_path):
    file = written(tmp_path, BENCH, "my bench.toml")
    said = call("estimate", "-c", file, "--data", "world:order", "--seeds", "0,1", "--sample", 1).stderr
    assert f"next: hexarec bench -c '{file}' --data world:order --seeds 0,1 --max-users 500 --budget-calls N" in said
    assert f"next: hexarec fit -c '{file}' --data world:order --out model" in said
    said = call("estimate", "-c", bench, "--max-users", 7, "--sample", 1).stderr
    assert f"next: hexarec bench -c {bench} --max-users 7 --budget-calls N" in said


def test_estimate_of_a_pipeline_counts_its_reasons_too(tmp_path):
    config = written(tmp_path, PIPELINE.replace('use = "because"', 'use = "because"\nlm = "@lm"'))
    made = answer("estimate", "-c", config, "--queries", 100, "--sample", 3)["systems"]["pipeline"]
    assert made["n"] == 100 and made["calls"] > 100


def test_estimate_of_the_pipeline_of_a_file_with_a_bench(bench):
    """A bench fits on its training part, once a seed, and words no reasons; `hexarec fit` does otherwise."""
    made = answer("estimate", "-c", bench, "--queries", 7)["systems"]
    assert {name: one["n"] for name, one in made.items()} == {"pipeline": 7}
    assert made["pipeline"]["calls"] == 7
    assert "of a bench" in fails("estimate", "-c", bench, "--queries", 7, "--seeds", "0,1")


def test_estimate_without_a_bench_takes_no_options_of_one(tmp_path):
    config = written(tmp_path, PIPELINE)
    assert answer("estimate", "-c", config)["systems"]["pipeline"]["n"] == 1_000
    assert "write [bench]" in fails("estimate", "-c", config, "--max-users", 5)


def test_estimate_works_before_a_model_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path / "none"))
    config = written(tmp_path, PIPELINE.replace("fake:overlap", "gguf:smollm2"))
    made = call("estimate", "-c", config, "--queries", 10)
    assert "gguf:smollm2 is not at hand" in made.stderr
    assert "hexarec models install" in fails("fit", "-c", config, "--out", tmp_path / "m")


def test_stand_ins_leave_what_is_there():
    told = {"use": {"lm": {"model": "fake:overlap"}, "x": {"use": "y", "lm": "@lm", "encoder": "tfidf"}}}
    assert with_stand_ins(told) == (told, [])
    made, notes = with_stand_ins({"rank": [{"lm": "gguf:/no/file.gguf"}]})
    assert made == {"rank": [{"lm": "fake:counting"}]} and len(notes) == 1
    with pytest.raises(OptionError):
        with_stand_ins({"rank": {"lm": "fake:overlp"}})


def test_lists_of_words_and_numbers():
    assert names_of(" a, b,") == ["a", "b"] and names_of(None) == []
    assert numbers_of("1, 2") == [1, 2] and numbers_of(None) is None
    assert rate_of("250,40") == (250.0, 40.0) and rate_of(None) is None
    for wrong in ("250", "a,b", "0,1"):
        with pytest.raises(OptionError):
            rate_of(wrong)


def test_prices_become_dollars_and_a_dollar_budget_holds(bench, tmp_path):
    clear_memo()  # the memo would hand out a ranker with the same model at no price
    priced = BENCH.replace('model = "fake:overlap"', 'model = "fake:overlap"\nprice_in = 1000.0\nprice_out = 1000.0')
    path = written(tmp_path, priced, "priced.toml")
    usd = answer("estimate", "-c", path)["systems"]["mine"]["usd"]
    assert usd > 0.5
    assert "dollars is used up" in fails("bench", "-c", path, "--out", "r", "--budget-usd", usd / 4)
    made = answer("bench", "-c", path, "--out", "r", "--resume")
    spent = next(row for row in made["rows"] if row["system"] == "mine")["costs"]["usd"] * 20
    assert 0.5 < spent / usd < 2.0


TASKS = (
    PIPELINE.replace("world:cold", "films").replace(
        '[explain]\nuse = "because"\n', '[explain]\nuse = "because"\nlm = "@lm"\n'
    )
    + """
[bench]
max_users = 4

[bench.systems.mine]
use = "pipeline"

[bench.systems.means]
use = "because"

[bench.systems.neighbours]
use = "itemknn"
"""
)
PAIRS = "user,history,item,label\nu1,f001 f002,f003,1\nu1,f001,f004,0\nu2,f001,f005,1\nu2,f003,f006,0\n"


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    from hexarec.data.films import catalog

    monkeypatch.chdir(tmp_path)
    ids = catalog().items.ids.tolist()
    text = PAIRS
    for place in range(1, 7):
        text = text.replace(f"f00{place}", ids[place])
    written(tmp_path, text, "pairs.csv")
    return written(tmp_path, TASKS, "bench.toml")


def test_labels_from_the_command_line(tasks):
    made = answer("bench", "-c", tasks, "--task", "labels", "--pairs", "pairs.csv", "--only", "mine,neighbours")
    assert "labels: given pairs, 4 pairs of 2 users" in made["title"]
    names = [row["system"] for row in made["rows"]]
    assert names == ["random", "popular", "item mean gain", "user mean gain", "mine", "neighbours"]
    assert made["rows"][0]["metrics"]["auc"]["mean"] is not None
    costs = answer("estimate", "-c", tasks, "--task", "labels", "--pairs", "pairs.csv", "--only", "mine")["systems"]
    assert costs["mine"]["n"] == 4 and costs["mine"]["calls"] >= 4


def test_text_from_the_command_line(tasks):
    made = answer("bench", "-c", tasks, "--task", "text", "--only", "mine,means")
    assert "text: reasons for the top 5 of ItemKNN" in made["title"] and "4 users sampled" in made["title"]
    rows = {row["system"]: row for row in made["rows"]}
    assert list(rows) == ["template", "mine", "means"]
    assert rows["mine"]["costs"]["calls"] > 0 == rows["means"]["costs"]["calls"]
    assert rows["means"]["metrics"]["template_share"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--task", "labels"), "films has no labelled pairs"),
        (("--task", "labels", "--pairs", "pairs.csv", "--only", "means"), "'because' cannot rank"),
        (("--task", "text", "--only", "neighbours"), "'itemknn' cannot explain"),
        (("--task", "text", "--pairs", "pairs.csv"), "[bench] pairs means nothing for the task text"),
        (("--task", "stream"), "[bench] task = 'stream'"),
        (("--task", "labels", "--pairs", "none.csv", "--only", "mine"), "none.csv: no such file"),
    ],
)
def test_a_task_the_data_or_system_cannot_do_is_an_error_with_a_mend(tasks, words, said):
    assert said in fails("bench", "-c", tasks, *words)


def test_a_pipeline_without_the_slot_that_is_asked_is_named(tasks, tmp_path):
    bare = written(tmp_path, TASKS.replace('use = "pipeline"', 'use = "pipeline"\nwithout = ["rank"]'), "bare.toml")
    said = fails("bench", "-c", bare, "--task", "labels", "--pairs", "pairs.csv", "--only", "mine")
    assert "[bench.systems.mine] has no [rank]" in said and "--only" in said


def test_resume_never_overwrites_the_run_of_other_questions(bench, tmp_path):
    some = ("bench", "-c", bench, "--out", "r")
    call(*some, "--only", "without-model", "--max-users", 4)
    before = [(tmp_path / "r" / name).read_bytes() for name in ("report.json", "questions.json")]
    said = fails(*some, "--resume", "--only", "without-model", "--max-users", 5)
    assert "holds a run of" in said and "4 users sampled" in said and "5 users sampled" in said
    assert "another --out" in said and "without --resume" in said
    assert [(tmp_path / "r" / name).read_bytes() for name in ("report.json", "questions.json")] == before
    # more systems and seeds of the same questions may be added
    made = answer(*some, "--resume", "--only", "mine,without-model", "--max-users", 4, "--seeds", "0,1")
    assert {"mine", "without-model"} <= {row["system"] for row in made["rows"]}


@pytest.mark.parametrize(
    ("more", "said", "mend"),
    [
        ('[bench.systems.x]\nuse = "pipeline"\nwithout = 5', "[bench.systems.x] without = 5", 'without = ["rank"]'),
        ('[bench.systems.x]\nuse = "pipeline"\nwithout = "rank"', "without = 'rank'", 'without = ["rank"]'),
        ('[bench.systems.x]\nuse = "pipeline"\nmodels = "x"', "[bench.systems.x] models = 'x'", "models = { lm ="),
        ('[bench.systems.x]\nuse = "pipeline"\nmodels = { lm = 3 }', "models = {'lm': 3}", "models = { lm ="),
        ("[bench.systems.x]\nuse = 5", "[bench.systems.x] use = 5", 'use = "pipeline"'),
        ('[bench.systems.x]\nuse = "@lm"', "'@lm' is no stage", "name a stage of [use]"),
        ("[bench]\nsystems = 5", "[bench] systems = 5", ""),
    ],
)
def test_wrong_shapes_name_file_field_and_mend(tmp_path, monkeypatch, more, said, mend):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, f"{PIPELINE}\n{more}\n", "wrong.toml")
    for command in ("bench", "estimate"):
        told = " ".join(fails(command, "-c", file).split())
        assert "wrong.toml" in told and said in told and mend in told


@pytest.mark.parametrize("section", ["bench", "pipeline", "use"])
def test_a_section_that_is_no_table(tmp_path, monkeypatch, section):
    monkeypatch.chdir(tmp_path)
    rest = "" if section == "bench" else '[bench]\nsystems = ["popular"]\n'
    file = written(tmp_path, f'{section} = 5\n[data]\npath = "films"\n{rest}', "wrong.toml")
    told = " ".join(fails("bench", "-c", file).split())
    assert f"{section} = 5 is no table" in told and "wrong.toml" in told and f"[{section}]" in told


def test_no_file_of_a_report_names_a_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = Path(written(tmp_path, '[retrieve]\nuse = "popular"\n', "other.toml")).resolve()
    systems = f'[bench]\nsplit = "last"\nmax_users = 4\nsystems = ["{other.as_posix()}"]\n'
    file = Path(written(tmp_path, f"{PIPELINE}\n{systems}", "bench.toml")).resolve()
    words = ["bench", f"--config={file}", f"--out={tmp_path / 'r'}"]
    monkeypatch.setattr("sys.argv", [str(tmp_path / "bin" / "hexarec"), *words])
    call(*words)
    call("report", "r", "--html")
    for one in ("report.json", "report.md", "report.html"):
        text = (tmp_path / "r" / one).read_text("utf-8")
        assert str(tmp_path) not in text and "other.toml" in text and "--config=bench.toml" in text


def test_two_files_of_one_name_need_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = ", ".join(f'"{(tmp_path / folder / "other.toml").as_posix()}"' for folder in "ab")
    file = written(tmp_path, f"{PIPELINE}\n[bench]\nsystems = [{both}]\n", "bench.toml")
    told = " ".join(fails("bench", "-c", file).split())
    assert "[bench] systems: two are called 'other.toml'" in told and "[bench.systems.other]" in told
