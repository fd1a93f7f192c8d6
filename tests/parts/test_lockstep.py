import pytest

from hexarec.core import Cancel, CancelledError, run
from hexarec.lm.base import Prompt
from hexarec.lm.fake import Scripted
from hexarec.parts.lockstep import lockstep


class Echo(Scripted):
    """Says the prompt back and counts its calls."""

    def __init__(self):
        super().__init__(lambda prompt: prompt.text)
        self.calls = []

    def generate(self, prompts, within=None):
        self.calls.append([prompt.text for prompt in prompts])
        return super().generate(prompts, within)


def counting(name, steps):
    """A script of some steps that returns all it heard."""
    heard = []
    for step in range(steps):
        answers = yield [Prompt.user(f"{name} {step}")]
        heard += [answer.text for answer in answers]
    return heard


def test_fifty_scripts_of_three_steps_are_three_calls():
    lm = Echo()
    made = lockstep([counting(f"s{n}", 3) for n in range(50)], lm)
    assert [len(call) for call in lm.calls] == [50, 50, 50]
    assert made == [[f"s{n} {step}" for step in range(3)] for n in range(50)]


def test_scripts_of_different_lengths_keep_their_places():
    lm = Echo()
    made = lockstep([counting("a", 3), counting("b", 0), counting("c", 1)], lm)
    assert made == [["a 0", "a 1", "a 2"], [], ["c 0"]] and lm.calls == [["a 0", "c 0"], ["a 1"], ["a 2"]]


def test_equal_prompts_of_one_round_are_asked_once():
    lm = Echo()
    assert lockstep([counting("same", 1), counting("same", 1), counting("other", 1)], lm) == [
        ["same 0"],
        ["same 0"],
        ["other 0"],
    ]
    assert lm.calls == [["same 0", "other 0"]]


def test_prompts_that_differ_only_in_their_seed_are_two_questions():
    def one(seed):
        answers = yield [Prompt.user("x", seed=seed)]
        return len(answers)

    lm = Echo()
    lockstep([one(1), one(2)], lm)
    assert lm.calls == [["x", "x"]]


def test_a_step_may_ask_many_or_nothing():
    def script():
        first = yield [Prompt.user("a"), Prompt.user("b"), Prompt.user("a")]
        second = yield []
        return [one.text for one in first], second

    lm = Echo()
    assert lockstep([script()], lm) == [(["a", "b", "a"], [])] and lm.calls == [["a", "b"]]


def test_no_scripts_ask_nothing():
    lm = Echo()
    assert lockstep([], lm) == [] and lm.calls == []


def test_an_error_in_a_script_ends_the_run():
    def broken():
        yield [Prompt.user("a")]
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        lockstep([counting("a", 2), broken()], Echo())


def test_cancelling_stops_between_rounds():
    cancel, lm = Cancel(), Echo()

    def script():
        yield [Prompt.user("a")]
        cancel.set()
        yield [Prompt.user("b")]

    with run(cancel=cancel), pytest.raises(CancelledError):
        lockstep([script()], lm)
    assert lm.calls == [["a"]]
