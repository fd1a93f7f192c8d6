"""What is heard of calls to models: answers of every kind as text."""

from hexarec.lm.base import Completion, Hypothesis, Prompt
from hexarec.lm.hf.beam import Hit
from hexarec.lm.overheard import KIND, heard


def said(answer, choices=()):
    event = {"kind": KIND, "model": "m", "call": "c", "prompts": [Prompt.user("p")], "answers": [answer],
             "choices": [choices] if choices else ()}  # fmt: skip
    return heard(event, 1)[0].answer


def test_answers_of_every_kind_are_text():
    assert said(Completion("x")) == "x" and said("written") == "written"
    assert said([-0.5, -0.1], ["no", "yes"]) == "  -0.100  yes\n  -0.500  no"
    assert said([Hypothesis("a query", -1.5)]) == "  -1.500  a query"
    assert said([Hit(12, -0.25), Hit(3, -2.0)]) == "  -0.250  [12]\n  -2.000  [3]"
