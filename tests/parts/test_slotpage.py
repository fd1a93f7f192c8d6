from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import Lists
from hexarec.data.worlds import world
from hexarec.lm.base import SLOT
from hexarec.methods.collm import PROMPTS
from hexarec.parts.slotpage import SlotPage

QUERIES = world("cold").queries.take(slice(0, 2))
LISTS = Lists.of(QUERIES.catalog.key, [[48, 49], [50]])
PAGE = SlotPage(PROMPTS, "film", 2, 3)


def test_by_titles_alone_a_question_has_no_slot():
    made = PAGE.questions(QUERIES, LISTS)
    assert len(made) == 3 and not any(SLOT in one.text for one in made)
    for one, row in zip(made, (48, 49, 50), strict=True):
        assert one.text.endswith(f"[A] {QUERIES.catalog.titles[row]}")
    assert [one.whose for one in made] == QUERIES.user[[0, 0, 1]].tolist()


@pytest.mark.parametrize("vectors", [None, np.arange(3 * 6 * 4, dtype=np.float32).reshape(3, 6, 4)])
def test_slots_stand_beside_user_and_item_and_hold_the_vectors_of_their_own_pair(vectors):
    made = PAGE.questions(QUERIES, LISTS, slots=vectors is None, vectors=vectors)
    assert [one.text.count(SLOT) for one in made] == [2 * 3] * 3
    for n, one in enumerate(made):
        assert one.vectors is None if vectors is None else (one.vectors == vectors[n]).all()


def test_questions_of_one_history_begin_alike_with_the_newest_liked_titles():
    first, second, _ = PAGE.questions(QUERIES, LISTS, slots=True)
    head = first.text[: first.text.index("[A]")]
    newest = QUERIES.history.item[slice(*QUERIES.history.offsets[:2])][-2:]
    assert second.text.startswith(head)
    assert "\n".join(f"{n}. {QUERIES.catalog.titles[row]}" for n, row in enumerate(newest, 1)) in head
    nobody = QUERIES.with_history(replace(QUERIES.history, liked=np.zeros(len(QUERIES.history.item), bool)))
    assert "(none)" in PAGE.questions(nobody, LISTS)[0].text


def test_answers_are_in_the_language():
    assert PAGE.labels("en") == ("Yes", "No") and PAGE.labels("zh") == ("是", "否")
