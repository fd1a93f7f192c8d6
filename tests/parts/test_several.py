import math

import pytest

from hexarec.core import CapabilityError, OptionError, run
from hexarec.lm.base import Completion, Hypothesis, Prompt
from hexarec.lm.fake import Overlap, Scripted
from hexarec.parts.several import Said, check_how, line, several

ASKED = [Prompt.user("one", seed=5, max_tokens=9), Prompt.user("two", seed=5, max_tokens=9)]


class Beaming(Overlap):
    """A double with beams."""

    def beam(self, prompts, width=10):
        self.seen = list(prompts)
        texts = (" Red lamp\n", "red LAMP", "", "blue lamp")
        return [[Hypothesis(text, -float(n)) for n, text in enumerate(texts)][:width] for _ in prompts]


def drawing(texts):
    """A double that says one text after the other, by the seed from 5 on."""
    return Scripted(lambda prompt: texts[prompt.seed - 5])


def test_beams_give_different_lines_with_their_odds_and_what_came():
    lm = Beaming()
    made = several(lm, ASKED, 4)
    assert [[(one.text, one.logprob) for one in own.answers] for own in made] == [
        [("Red lamp", 0.0), ("blue lamp", -3.0)]
    ] * 2
    assert made[0].raw == (" Red lamp\n", "red LAMP", "", "blue lamp") and not made[0].fault
    assert [prompt.sample.stop for prompt in lm.seen] == [("\n",)] * 2 and lm.seen[0].turns == ASKED[0].turns


def test_draws_begin_with_the_likeliest_answer_and_count_what_is_said_more_than_once():
    asked = []

    def answer(prompt):
        asked.append(prompt)
        return ["a", "b", "b", ""][prompt.seed - 5]

    made = several(Scripted(answer), ASKED[:1], 4)[0]
    assert [(one.text, round(one.logprob, 4)) for one in made.answers] == [
        ("b", round(math.log(0.5), 4)),
        ("a", round(math.log(0.25), 4)),
    ]
    assert [prompt.sample.temperature for prompt in asked] == [0.0, 0.8, 0.8, 0.8]
    assert [prompt.seed for prompt in asked] == [5, 6, 7, 8] and all(p.sample.max_tokens == 9 for p in asked)


def test_fewer_draws_are_the_first_of_more():
    lm = drawing(["a", "b", "c", "d"])
    few, many = several(lm, ASKED[:1], 2)[0], several(lm, ASKED[:1], 4)[0]
    assert few.raw == many.raw[:2]


def test_a_model_with_beams_is_drawn_from_where_that_is_asked():
    assert several(Beaming(), ASKED[:1], 2, how="draws")[0].answers[0].text != "Red lamp"


def test_what_fails_is_said_and_the_others_are_answered():
    def answer(prompt):
        if prompt.text == "one":
            return Completion("", "error", error="broken")
        return Completion("", "refused") if prompt.seed > 5 else Completion("x")

    broken, whole = several(Scripted(answer), ASKED, 2)
    assert broken == Said(fault="broken")
    assert [one.text for one in whole.answers] == ["x"] and whole.raw == ("x",) and not whole.fault
    assert several(Scripted(lambda p: Completion("", "refused")), ASKED[:1], 2)[0].fault == "the model refused"
    assert several(Scripted(lambda p: "  \n\n"), ASKED[:1], 2)[0].fault == "the model wrote nothing"


def test_nothing_asked_is_nothing_said():
    assert several(Overlap(), [], 3) == [] and several(Overlap(), ASKED, 0) == [Said(), Said()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('  "Red lamp"\nbecause', "Red lamp"),
        ("\n\n**blue**", "blue"),
        ("<think>hm\nx</think>\nlamp", "lamp"),
        ("“红灯”", "红灯"),
        ("<|im_end|>\nlamp", "lamp"),
        ("", ""),
        ("\x00\u202e", ""),
    ],
)
def test_an_answer_is_its_first_line_that_says_something(text, wanted):
    assert line(text) == wanted


def test_ways_that_do_not_exist_are_refused():
    with pytest.raises(OptionError, match="'beam'"):
        check_how(Overlap(), "beam", "x")
    with pytest.raises(CapabilityError, match="no beams") as caught:
        check_how(Overlap(), "beams", "x")
    assert "draws" in caught.value.hint
    check_how(Beaming(), "beams", "x")
    mute = Overlap()
    mute.__class__ = type("Mute", (Overlap,), {"can": frozenset({"label"})})
    with pytest.raises(CapabilityError, match="needs text"):
        check_how(mute, "auto", "x")


def test_progress_is_told():
    seen = []
    with run(emit=seen.append):
        several(Overlap(), ASKED * 40, 2)
    assert [event["done"] for event in seen if event["label"] == "2 answers of fake:overlap"] == [0, 1, 2]
