import json

import pytest
from tests.eval.systems import Tally, oracle, task

from hexarec.core import DataError, OptionError
from hexarec.eval.diff import Entry, aligned, most_changed, read_run
from hexarec.eval.experiment import Experiment


def test_lists_side_by_side_know_who_moved_came_and_went():
    rows = aligned(["a", "b", "c"], ["b", "d"], {"b"})
    assert [row.place for row in rows] == [1, 2, 3]
    assert rows[0].left == Entry("a", None, False) and rows[0].right == Entry("b", 1, True)
    assert rows[1].left == Entry("b", -1, True) and rows[1].right == Entry("d", None, False)
    assert rows[2].left == Entry("c", None, False) and rows[2].right is None
    assert aligned([], []) == [] and aligned(["a"], ["a"])[0].right.move == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    made = task(max_users=6)
    Experiment(made, {"oracle": oracle(made), "rows": Tally()}, seeds=(0, 1)).run(place)
    return place


def test_a_run_is_read_back_by_system_user_and_seed(folder):
    run = read_run(folder)
    asked = task(max_users=6).round()
    assert run.users == asked.queries.user_ids() and {"oracle", "rows", "popular"} <= set(run.systems)
    user = run.users[2]
    right = asked.queries.catalog.ids(asked.truth[2].items)
    assert run.of("oracle", user) == run.of("oracle", user, 1) == right == list(run.liked[2])
    assert run.titled(right[0]).startswith("Title ") and run.titled("nobody") == "nobody"


def test_what_a_run_lacks_is_said(folder, tmp_path):
    run = read_run(folder)
    with pytest.raises(DataError, match="nothing about user 'me'"):
        run.of("oracle", "me")
    with pytest.raises(OptionError, match="no lists of 'orcle'"):
        run.of("orcle", run.users[0])
    with pytest.raises(OptionError, match="not run with seed 7"):
        run.of("oracle", run.users[0], 7)
    with pytest.raises(DataError, match="no questions are kept"):
        read_run(tmp_path)
    for text in ("{", '{"users": ["a"], "liked": [], "ids": [], "titles": []}'):
        (tmp_path / "questions.json").write_text(text)
        with pytest.raises(DataError, match="damaged"):
            read_run(tmp_path)
    (tmp_path / "questions.json").write_text(
        json.dumps(dict.fromkeys(("users", "liked", "ids", "titles"), []) | {"key": ""})
    )
    with pytest.raises(DataError, match="no finished cell"):
        read_run(tmp_path)


def test_cells_about_other_questions_are_left_out(folder):
    made = task(max_users=3)
    Experiment(made, {"oracle": oracle(made)}, floors=False).run(folder, resume=True)
    run = read_run(folder)
    assert len(run.users) == 3 and run.systems == ["oracle"]


def test_the_most_changed_come_first(folder):
    made = task(max_users=6)
    Experiment(made, {"oracle": oracle(made), "rows": Tally()}).run(folder, resume=True)
    run = read_run(folder)
    assert most_changed(run, "rows", run, "rows", 2) == run.users[:2]
    first = most_changed(run, "oracle", run, "rows", 6)
    lost = [len(set(run.of("oracle", u)) - set(run.of("rows", u)[:10])) for u in first]
    assert lost == sorted(lost, reverse=True)
