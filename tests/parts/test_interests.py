from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import run
from hexarec.data.worlds import world
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap
from hexarec.methods.llmtreerec import PROMPTS
from hexarec.parts.interests import Interests

QUERIES = world("cold").queries.take(slice(0, 3))
NOBODY = QUERIES.with_history(replace(QUERIES.history, liked=np.zeros(len(QUERIES.history.item), bool)))


class Says(Overlap):
    """Gives one answer to everything and remembers what it was asked."""

    def __init__(self, answer):
        super().__init__()
        self.said, self.asked = answer, []

    def answer(self, prompt, within):
        self.asked.append(prompt)
        return self.said


def conditions(lm=None, queries=QUERIES, requests=None, last=3):
    return Interests(PROMPTS, "film", last, lm).conditions(queries, requests)


def test_the_newest_liked_titles_stand_oldest_first_and_a_request_behind_them():
    made = conditions(requests=["something quiet", None, ""])
    for i, text in enumerate(made):
        liked = QUERIES.history.item[slice(*QUERIES.history.offsets[i : i + 2])][-3:]
        names = [str(QUERIES.catalog.titles[row]) for row in liked]
        assert "\n".join(f"{n}. {name}" for n, name in enumerate(names, 1)) in text
    assert ["something quiet" in text for text in made] == [True, False, False]


def test_the_model_is_asked_behind_the_same_words_and_its_interests_follow_them():
    lm = Says(Completion("Quiet  [A] things."))
    bare, made = conditions(), conditions(lm)
    assert [text.startswith(own) and text != own for text, own in zip(made, bare, strict=True)] == [True] * 3
    assert all("My interests: Quiet (A) things." in text for text in made)
    assert [one.text.startswith(own) for one, own in zip(lm.asked, bare, strict=True)] == [True] * 3
    assert [one.whose for one in lm.asked] == QUERIES.user.tolist()


def test_who_has_neither_history_nor_request_is_not_asked_about():
    lm = Says(Completion("Everything."))
    made = conditions(lm, NOBODY, [None, "a comedy", ""])
    assert len(lm.asked) == 1 and "a comedy" in lm.asked[0].text
    assert ["Everything." in text for text in made] == [False, True, False]


@pytest.mark.parametrize(
    ("answer", "told"), [(Completion("", "error", error="down"), ["3 of 3 interests: down"]), (Completion(" "), [])]
)
def test_a_model_that_says_nothing_leaves_the_history_and_a_failure_is_told_of(answer, told):
    heard = []
    with run(complain=heard.append):
        assert conditions(Says(answer)) == conditions()
    assert heard == told
