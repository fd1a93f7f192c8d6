import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hexarec.lm.open import open_encoder
from hexarec.parts.visit import MOST, Entry, Judged, Visit, due, recalled

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(), one, max_size=3))  # fmt: skip
NAMES = ("user", "lang", "seed", "page", "exited", "taste", "judged", "memory", "tally", "satisfaction", "why")


def facts(*texts):
    return [Entry("fact", page, text) for page, text in enumerate(texts, 1)]


def test_a_visit_survives_json():
    visit = Visit("u1", "zh", 3, 2, True, "likes jazz", (Judged("i1", True).as_json(),), tuple(facts("seen")),
                  ((4, 2, 1, 0),), 7.5, "fine")  # fmt: skip
    assert Visit.parse(json.loads(json.dumps(visit.as_json(), allow_nan=False)), "en", 0) == visit
    assert Judged("i1", rating=math.nan).as_json()["rating"] is None


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_json_is_some_visit(state):
    visit = Visit.parse(state, "en", 0)
    again = json.loads(json.dumps(visit.as_json(), allow_nan=False))
    assert Visit.parse(again, "en", 0) == visit and visit.page >= 0


def test_draws_depend_on_visit_page_and_words_alone():
    one = Visit("u1", page=1)
    assert one.draw("leaves") == Visit("u1", page=1).draw("leaves")
    others = [Visit("u2", page=1), Visit("u1", page=2), Visit("u1", page=1, seed=1)]
    assert len({one.draw("leaves"), one.draw("suits"), *(other.draw("leaves") for other in others)}) == 5


def test_a_memory_is_bounded_and_the_oldest_goes_first():
    visit = Visit().remembering(*facts(*(str(n) for n in range(MOST + 5))))
    assert len(visit.memory) == MOST and visit.memory[0].text == "5"


def test_the_relevant_is_recalled_and_of_equals_the_recent():
    stream = facts("an ocean tale", "a robot tale", "a robot tale", "a castle tale")
    assert [one.text for one in recalled(stream, "the ocean", 4, 1, None)] == ["an ocean tale"]
    # as released the weight of time is a constant, so that equal memories keep the oldest
    assert recalled(stream, "robot", 4, 1, None)[0].page == 3
    assert [one.page for one in recalled(stream, "zebra", 4, 2, None)] == [3, 4]
    assert recalled(stream, "x", 4, 9, None) == stream


def test_an_encoder_finds_what_shares_no_word():
    class Sea:
        def encode(self, texts):
            return np.array([[1.0, 0.0] if "ocean" in text or "sea" in text else [0.0, 1.0] for text in texts])

    assert recalled(facts("an ocean tale", "a robot tale", "a lamp"), "by the sea", 1, 1, Sea())[0].page == 1
    tfidf = open_encoder("tfidf").fit(["an ocean tale", "a robot tale", "a castle tale"])
    assert recalled(facts("an ocean tale", "a robot tale"), "ocean", 2, 1, tfidf)[0].page == 1


def test_a_reflection_is_due_after_more_than_some_entries():
    assert not due(facts("a", "b", "c"), 3) and due(facts("a", "b", "c", "d"), 3)
    assert not due([*facts("a", "b", "c", "d"), Entry("reflection", 4, "so"), *facts("e")], 3)
