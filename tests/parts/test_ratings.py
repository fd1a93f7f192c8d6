import numpy as np
import pytest

from hexarec.core import CapabilityError, OptionError
from hexarec.lm.base import Completion, Prompt
from hexarec.lm.fake import Double, Overlap
from hexarec.parts.intent import ACTS, by_model
from hexarec.parts.promptroom import Room
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Rater, Scale, expected, said

WORDS = Prompts("t", 1, en={"rate": "{condition}{title} {low}-{high}"}, zh={"rate": "{condition}{title} {low}-{high}"})


class Labels(Overlap):
    """Gives every prompt these log-probabilities, and these words."""

    def __init__(self, row, text="4"):
        super().__init__()
        self.row, self.text = row, text

    def label(self, prompts, labels):
        return np.tile(np.array(self.row, np.float32), (len(prompts), 1))

    def answer(self, prompt, within):
        return Completion(self.text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4.0), ("I'd say 3.5 stars", 3.5), ("4/5", 4.0), ("4 out of 5", 4.0), ("9", 5.0), ("-2", 1.0),
        ("3,5", 3.5), ("none", None), ("", None),
    ],
)  # fmt: skip
def test_a_number_is_read_and_kept_within_the_scale(text, value):
    found = Scale(1, 5).read(text)
    assert (found != found) if value is None else found == value


def test_the_expected_rating_is_the_mean_of_the_scale():
    row = np.log([0.1, 0.1, 0.1, 0.2, 0.5])
    assert expected(Labels(row), [Prompt.user("x")], Scale())[0] == pytest.approx(0.1 + 0.2 + 0.3 + 0.8 + 2.5)
    shifted = expected(Labels(row - 3.0), [Prompt.user("x")], Scale())  # what other answers take does not count
    assert shifted[0] == pytest.approx(3.9)
    assert expected(Labels(row), [], Scale()).tolist() == []


def test_no_number_is_nan_and_told_of():
    from hexarec.core import run

    told = []
    with run(complain=told.append):
        assert np.isnan(Rater(Labels([0.0] * 5, "no idea"), "text", Scale(), WORDS).values([Prompt.user("x")])).all()
        assert np.isnan(Rater(Labels([np.nan] * 5), "label", Scale(), WORDS).values([Prompt.user("x")])).all()
    assert len(told) == 2 and "no number" in told[0]
    assert said(Labels([0.0] * 5, "2"), [Prompt.user("x")], Scale())[0] == 2.0


def test_what_a_model_cannot_do_is_named():
    class Mute(Double):
        @property
        def can(self):
            return frozenset({"label"})

    with pytest.raises(CapabilityError, match="rating='label'"):
        Rater(Mute(), "text", Scale(), WORDS).values([Prompt.user("x")])
    with pytest.raises(OptionError):
        Rater(Mute(), "guess", Scale(), WORDS).check()
    for low, high in ((5, 1), (-1, 5), (0, 11)):
        with pytest.raises(OptionError):
            Scale(low, high)


def test_the_model_says_what_a_turn_wants_and_rules_step_in():
    from hexarec.core import run

    rows = np.eye(4)
    for place, act in enumerate(ACTS):
        assert by_model(Room(Labels(rows[place])), ["anything"], ["en"]) == [act]
    told = []
    with run(complain=told.append):
        assert by_model(Room(Labels([np.nan] * 4)), ["why?", "hello"], ["en", "zh"]) == ["explain", "chat"]
    assert told and by_model(Room(Labels(rows[0])), [], []) == []
