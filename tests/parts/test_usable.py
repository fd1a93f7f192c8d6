import numpy as np
import pytest

from hexarec.classic import Popular
from hexarec.core import run
from hexarec.data.worlds import world
from hexarec.lm.base import Completion, Prompt
from hexarec.lm.fake import Overlap, Scripted
from hexarec.methods.llmrank import LLMRank
from hexarec.parts.ground import ParseReport
from hexarec.parts.usable import complete, of_rankings, of_use, row_of_use, shortfall
from hexarec.pipeline.pipeline import Pipeline

WORLD = world("cold")
DATA, QUERIES = WORLD.data, WORLD.queries.take(slice(0, 2))
NAN = float("nan")


@pytest.mark.parametrize(("matched", "good"), [(0, False), (3, False), (4, True), (8, True)])
def test_half_of_the_options_must_have_a_place(matched, good):
    assert of_use(ParseReport(requested=8, matched=matched)) == good


@pytest.mark.parametrize(
    ("row", "good", "whole"),
    [
        ([-1.0, -2.0], True, True),
        ([-1.0, -1.0], False, True),
        ([-1.0, NAN], False, False),
        ([NAN, NAN], False, False),
        ([-1.0, -2.0, NAN], True, False),
        ([-1.0], True, True),
    ],
)
def test_numbers_must_tell_options_apart(row, good, whole):
    assert row_of_use(np.array(row)) == good and complete(np.array(row)) == whole


def test_a_shortfall_says_what_the_model_said_or_how_much_it_placed():
    assert shortfall(np.array([[3.0, 2.0, 1.0]])) == ""
    assert shortfall(np.array([[3.0, NAN, NAN]])) == "the model placed 1 of 3 options"
    assert shortfall(np.array([[NAN, NAN, NAN]]), "no connection") == "no connection"
    assert shortfall(np.array([[3.0, NAN, NAN], [NAN, 3.0, NAN]])) == ""
    assert "alike" in shortfall(np.array([[2.0, 2.0]])) and shortfall(np.array([[2.0]])) == ""


def test_a_failed_answer_is_of_no_use_whatever_it_says():
    prompt = Prompt.user("x")
    judge = of_rankings({prompt.digest(): lambda text: ParseReport(requested=1, matched=1)})
    assert judge(prompt, Completion("[A]")) and not judge(prompt, Completion("[A]", "error"))


def asked(lm, backend="list"):
    made = Pipeline([Popular()], rank_by=LLMRank(lm, backend=backend, rounds=1), depth=6).fit(DATA)
    return made.recommend(QUERIES, 5)


def test_a_stage_with_answers_of_no_use_is_degraded_and_its_step_says_so():
    answer = asked(Scripted(lambda _: "I like them all"))
    assert [(one.stage, one.reason) for one in answer.degraded] == [
        ("rank", "2 of 2 questions: the model placed 0 of 6 options")
    ]
    assert answer.trace[-1].status == "degraded" and answer.items.lengths.tolist() == [5, 5]


def test_what_never_came_is_not_asked_again_by_the_stage():
    calls = []

    class Dead(Overlap):
        def answer(self, prompt, within):
            calls.append(prompt)
            return Completion("", "error", error="down")

    assert asked(Dead()).degraded[0].reason == "2 of 2 questions: down" and len(calls) == 2


def test_a_stage_outside_a_pipeline_complains_to_its_run():
    heard = []
    with run(complain=heard.append):
        LLMRank(Scripted(lambda _: "no"), backend="list", rounds=1).fit(DATA).rank(
            QUERIES, Popular().fit(DATA).retrieve(QUERIES, 4)
        )
    assert heard == ["2 of 2 questions: the model placed 0 of 4 options"]
