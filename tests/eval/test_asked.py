"""What models were asked stands beside the list of whoever it was about, whichever method asked."""

import numpy as np
import pytest
from tests.eval.systems import task

from hexarec.core import Lists, run
from hexarec.data.worlds import world
from hexarec.eval.asked import MOST, NOTE, Overheard
from hexarec.eval.cells import _read
from hexarec.eval.experiment import Experiment
from hexarec.eval.opening import guarded, pipeline_of
from hexarec.lm.base import Prompt
from hexarec.lm.fake import Scripted
from hexarec.lm.guard import Guarded
from hexarec.pipeline.build import cards

METHODS = ("llmrank", "nir", "llmtreerec", "chatrec", "tallrec", "collm", "gpt4rec", "genrec", "sprec")


@pytest.fixture(scope="module")
def data():
    return world("checkerboard").data


@pytest.mark.parametrize("name", METHODS)
def test_every_method_that_asks_is_heard_question_by_question(name, data):
    stage = guarded(cards()[name].tiny()).fit(data)
    rows = np.array([7, 2, 11], np.int64)
    queries = data.queries(rows, seed=3)
    candidates = Lists.of(data.catalog.key, [np.arange(4 + i, 10 + i, dtype=np.int32) for i in range(3)], None)
    overheard = Overheard()
    with run(emit=overheard.listening()):
        made = stage.rank(queries, candidates) if hasattr(stage, "rank") else stage.retrieve(queries, 3)
    noted = overheard.noted(made, queries)
    assert noted.items.tolist() == made.items.tolist() and len(noted.notes) == 3
    for i, note in enumerate(noted.notes):
        assert note[NOTE] and all(len(pair) == 2 and pair[0] for pair in note[NOTE]), i
        assert any(answer for _, answer in note[NOTE])
        own = {key: value for key, value in note.items() if key != NOTE}
        assert own == (dict(made.notes[i]) if made.notes else {})
    # the prompts of each user are those that are asked when they come alone
    for i in range(3):
        alone, one = Overheard(), queries.take(np.array([i]))
        with run(emit=alone.listening()):
            again = (
                stage.rank(one, candidates.take(np.array([i]))) if hasattr(stage, "rank") else stage.retrieve(one, 3)
            )
        (note,) = alone.noted(again, one).notes
        assert [prompt for prompt, _ in note[NOTE]] == [prompt for prompt, _ in noted.notes[i][NOTE]]


def test_requests_of_nobody_and_too_many_are_left_out(data):
    lm, overheard = Guarded(Scripted(lambda prompt: "x")), Overheard()
    queries = data.queries(np.array([0, 1]), seed=1)
    lists = Lists.of(data.catalog.key, [np.array([1], np.int32)] * 2, None)
    heard = []
    with run(emit=lambda event: heard.append(event)), run(emit=None):
        with run(emit=overheard.listening()):
            lm.generate([Prompt.user("nobody's")])
            lm.generate([Prompt(Prompt.user(f"n {n}").turns, whose=1) for n in range(MOST + 5)])
    assert heard, "events go on to whoever listened before"
    noted = overheard.noted(lists, queries)
    assert noted.notes[0] == {} and len(noted.notes[1][NOTE]) == MOST
    assert overheard.noted(lists, queries) is lists  # what was heard is told once
    assert Prompt.user("a") == Prompt(Prompt.user("a").turns, whose=3)  # it is no part of the prompt


def test_only_the_first_questions_of_a_system_keep_their_requests(data, monkeypatch):
    monkeypatch.setattr("hexarec.eval.asked.QUESTIONS", 2)
    lm, overheard = Guarded(Scripted(lambda prompt: "x")), Overheard()
    lists = Lists.of(data.catalog.key, [np.array([1], np.int32)] * 2, None)
    kept = []
    for block in ([0, 1], [2, 3]):
        with run(emit=overheard.listening()):
            lm.generate([Prompt(Prompt.user("n").turns, whose=row) for row in block])
        kept += [NOTE in note for note in overheard.noted(lists, data.queries(np.array(block))).notes or ({}, {})]
    assert kept == [True, True, False, False]


def test_the_cells_of_a_run_hold_it_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("hexarec.eval.experiment.LM_BLOCK", 4)
    config = {"retrieve": [{"use": "popular"}], "rank": {"use": "nir", "lm": "fake:overlap", "picks": 3}}
    Experiment(task(max_users=6), {"nir": pipeline_of(config)}, floors=False).run(tmp_path)
    (cell,) = (tmp_path / "cells").glob("*.npz")
    notes = _read(cell)[0].notes
    assert len(notes) == 6 and all(note[NOTE] and "parse" in note for note in notes)
