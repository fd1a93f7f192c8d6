import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.eval.systems import ASKED, Backwards, Oracle, Tally, oracle, task

from hexarec.classic import Popular
from hexarec.core import OptionError, StateError
from hexarec.eval.experiment import Experiment, asks_model
from hexarec.eval.floors import FLOORS, AsGiven
from hexarec.eval.labels import Labels
from hexarec.eval.report import read_report
from hexarec.eval.wording import Text
from hexarec.lm.cassette import Cassette
from hexarec.lm.open import open_lm
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.pipeline import Pipeline


@pytest.fixture(autouse=True)
def nothing_asked():
    ASKED.clear()


def rows(report):
    return {row.system: row for row in report.rows}


def test_the_floors_stand_in_every_table_and_the_oracle_above_them():
    made = task()
    report = Experiment(made, {"oracle": oracle(made)}).run()
    assert list(rows(report)) == [*FLOORS, "oracle"]
    assert rows(report)["oracle"].values["recall@10"].mean == 1.0
    assert "full catalog" in report.title and "SAMPLED" not in report.title
    assert list(rows(Experiment(made, {"oracle": oracle(made)}, floors=False).run())) == ["oracle"]


def test_a_stopped_run_goes_on_without_asking_again(tmp_path, monkeypatch):
    monkeypatch.setattr("hexarec.eval.experiment.LM_BLOCK", 8)
    made = task(max_users=30)
    with pytest.raises(KeyboardInterrupt):
        Experiment(made, {"slow": Tally(stop_at=2)}, floors=False).run(tmp_path)
    assert ASKED == [("tally", 8), ("tally", 8)]
    # the same options, apart from the stop that is an option of the double
    again = Tally(stop_at=2)
    ASKED.clear()
    report = Experiment(made, {"slow": again}, floors=False).run(tmp_path, resume=True)
    assert ASKED == [("tally", 8), ("tally", 6)]
    ASKED.clear()
    same = Experiment(made, {"slow": again}, floors=False).run(tmp_path, resume=True)
    assert ASKED == [] and repr(same.rows[0].values) == repr(report.rows[0].values)
    whole = Experiment(made, {"slow": Tally()}, floors=False).run()
    assert repr(whole.rows[0].values) == repr(report.rows[0].values)
    assert not list((tmp_path / "cells").glob("*-*.npz"))


def test_systems_over_one_tape_go_on_together(tmp_path):
    made = task(max_users=6)
    inner = open_lm("fake:counting")

    def run_again():
        lm = Cassette(inner, tmp_path / "tape.sqlite")
        systems = {f"{n} rounds": Pipeline([Popular()], LLMRank(lm, rounds=n)) for n in (1, 2)}
        return Experiment(made, systems, floors=False).run(tmp_path / "run", resume=True)

    first, cells = run_again(), sorted((tmp_path / "run" / "cells").iterdir())
    told = [(file.name, file.stat().st_mtime_ns) for file in cells]
    again = run_again()
    assert [(file.name, file.stat().st_mtime_ns) for file in sorted((tmp_path / "run" / "cells").iterdir())] == told
    assert repr([row.values for row in again.rows]) == repr([row.values for row in first.rows])


def test_without_resume_everything_is_measured_again(tmp_path):
    made = task(max_users=5)
    for _ in range(2):
        Experiment(made, {"slow": Tally()}, floors=False).run(tmp_path)
    assert len(ASKED) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"system": Tally("renamed")},
        {"task": {"max_users": 5, "seed": 1}},
        {"task": {"max_users": 6}},
        {"k": 3},
        {"seeds": (1,)},
    ],
)
def test_a_cell_of_other_options_questions_length_or_seed_is_measured_again(tmp_path, other):
    Experiment(task(max_users=5), {"slow": Tally()}, floors=False).run(tmp_path)
    ASKED.clear()
    made = task(**other.get("task", {"max_users": 5}))
    more = {name: other[name] for name in ("k", "seeds") if name in other}
    Experiment(made, {"slow": other.get("system", Tally())}, floors=False, **more).run(tmp_path, resume=True)
    assert len(ASKED) == 1


def test_a_bare_ranker_without_candidates_says_what_to_do():
    with pytest.raises(OptionError, match="ranks candidates but finds none") as caught:
        Experiment(task(), {"bare": Backwards()}).run()
    assert "pipeline with a retriever" in caught.value.hint
    report = Experiment(task(candidates=5), {"bare": Backwards()}).run()
    assert list(rows(report))[0] == "candidate order" and "bare" in rows(report)


def test_a_retriever_that_cannot_rank_given_candidates_is_refused():
    with pytest.raises(OptionError, match="cannot rank given candidates"):
        Experiment(task(candidates=5), {"oracle": Oracle()}, floors=False).run()


def test_a_name_of_the_ladder_is_taken():
    with pytest.raises(OptionError, match="'ease' belongs to the floor ladder"):
        Experiment(task(), {"ease": Oracle()}).run()


def test_what_failed_in_a_pipeline_is_counted():
    report = Experiment(task(max_users=4), {"p": Pipeline((Oracle(), Broken()))}, floors=False).run()
    assert report.rows[0].degraded == 1


class Broken:
    def retrieve(self, queries, k):
        raise ValueError("no")


def test_the_run_folder_holds_report_questions_and_cells(tmp_path):
    made = task(max_users=4)
    Experiment(made, {"oracle": oracle(made)}, seeds=(0, 1)).run(tmp_path)
    assert {"report.json", "report.md", "report.html", "questions.json", "cells"} == {
        p.name for p in tmp_path.iterdir()
    }
    assert len(list((tmp_path / "cells").glob("*.npz"))) == 2 * (len(FLOORS) + 1)
    about = read_report(tmp_path).manifest
    assert about["simulated"] is True and about["seeds"] == [0, 1] and about["data"] == "world:order"
    assert json.loads((tmp_path / "questions.json").read_text())["users"] == made.round().queries.user_ids()


def test_only_what_holds_a_model_is_asked_in_small_blocks():
    assert asks_model(Tally()) and asks_model(Pipeline((Tally(),))) and not asks_model(Oracle())
    given = AsGiven()
    assert given.rank(None, "candidates") == "candidates"


def test_seeds_are_averaged_over_users_not_pooled():
    made = task(max_users=10)
    one = Experiment(made, {"o": oracle(made)}, seeds=(0,), floors=False).run()
    three = Experiment(made, {"o": oracle(made)}, seeds=(0, 1, 2), floors=False).run()
    value = three.rows[0].values["recall@10"]
    assert len(value.by_seed) == 3 and np.isclose(value.mean, one.rows[0].values["recall@10"].mean)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: task(max_users=-1), "Ranking: max_users is -1, not at least 1"),
        (lambda: task(max_users=0), "Ranking: max_users is 0, not at least 1"),
        (lambda: task(candidates=-3), "Ranking: candidates is -3, not at least 1"),
        (lambda: Labels(task().data, max_users=-1), "Labels: max_users is -1, not at least 1"),
        (lambda: Text(task().data, k=0), "Text: k is 0, not at least 1"),
        (lambda: Experiment(task(), {}, k=0), "Experiment: k is 0, not at least 1"),
        (lambda: Experiment(task(), {}, k=-2), "Experiment: k is -2, not at least 1"),
        (lambda: Experiment(task(), {}, seeds=()), "Experiment: seeds is empty, not at least 1 seed"),
    ],
)
def test_impossible_numbers_are_refused(make, said):
    with pytest.raises(OptionError, match=said):
        make()


HELD = "from hexarec.core.lock import alone_in\nimport sys\nwith alone_in(sys.argv[1]):\n    print('in', flush=True)\n    input()"


def test_one_process_at_a_time_measures_into_a_folder(tmp_path):
    made = Experiment(task(max_users=4), {"rows": Tally()}, floors=False)
    other = subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path / "cells")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(StateError, match="another process works in"):
            made.run(tmp_path)
    finally:
        other.kill()
        other.communicate()
    assert made.run(tmp_path).rows  # the lock ended with the process


def test_what_a_killed_process_half_wrote_is_cleared(tmp_path):
    for place in (tmp_path / ".part-dead", tmp_path / "cells" / ".part-dead"):
        place.mkdir(parents=True)
        (place / "half.npz").write_bytes(b"half")
    Experiment(task(max_users=4), {"rows": Tally()}, floors=False).run(tmp_path)
    assert not list(tmp_path.rglob(".part-*"))


def test_a_block_that_is_gone_already_stops_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("hexarec.eval.experiment.LM_BLOCK", 2)
    unlink = Path.unlink

    def twice(path, **options):
        unlink(path)
        return unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", twice)
    assert Experiment(task(max_users=4), {"rows": Tally()}, floors=False).run(tmp_path).rows
