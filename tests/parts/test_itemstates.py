from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import Item, ModelError, run
from hexarec.data.worlds import world
from hexarec.lm.open import open_encoder, open_lm
from hexarec.parts import itemstates
from hexarec.parts.itemstates import ItemStates
from hexarec.parts.prompts import Prompts

CATALOG = world("cold").data.catalog
ASK = Prompts("test", 1, en={"ask": "Read {item} now"}, zh={"ask": "请读{item}"})
ROWS = np.arange(5)


def test_an_encoder_reads_the_fields_and_one_that_learns_learns_from_the_catalog():
    made = ItemStates(None, open_encoder("tfidf"), ("title",), ASK).over(CATALOG)
    assert made.texts(CATALOG, ROWS)[1] == f"title: {CATALOG.titles[1]}" and made.name == "tfidf-svd"
    np.testing.assert_array_equal(made.raw(CATALOG, ROWS), made.encoder.encode(made.texts(CATALOG, ROWS)))


def test_a_model_is_asked_once_an_item_in_pieces_for_its_last_state(monkeypatch):
    lm = open_lm("tiny:a")
    made = ItemStates(lm, None, ("title",), ASK)
    with run() as work:
        states = made.raw(CATALOG, ROWS)
    assert work.ledger.calls == 5
    np.testing.assert_array_equal(states, lm.hidden(made.asked(CATALOG, ROWS), pool="last"))
    monkeypatch.setattr(itemstates, "CHUNK", 2)
    heard = []
    with run(emit=heard.append):
        np.testing.assert_array_equal(made.raw(CATALOG, ROWS), states)
    assert [event["done"] for event in heard if event["kind"] == "progress"][-1] == 3
    assert made.raw(CATALOG, ROWS[:0]).shape[0] == 0


def test_prompts_are_in_the_language_of_the_catalog():
    made = ItemStates(open_lm("tiny:a"), None, ("title",), ASK)
    zh = replace(CATALOG, titles=CATALOG.words("title", "zh"), lang="zh")
    assert made.asked(CATALOG, ROWS[:1])[0].text == f"Read title: {CATALOG.titles[0]} now"
    assert made.asked(zh, ROWS[:1])[0].text == f"请读标题: {zh.titles[0]}"


def test_states_are_centred_and_scaled_by_one_number_and_lost_ones_do_not_count():
    made = ItemStates(None, open_encoder("tfidf"), ("title",), ASK)
    states = np.array([[1.0, 10.0], [3.0, 30.0], [np.nan, 1.0]], np.float32)
    fitted = made.fitted(states)
    np.testing.assert_allclose(fitted.mean, [2.0, 20.0])
    scaled = fitted.scaled(states)[:2]
    assert np.std(scaled) == pytest.approx(1.0) and scaled[1, 1] == pytest.approx(10 * scaled[1, 0])
    assert made.scaled(states) is states
    with pytest.raises(ModelError, match="no state for any of 1 items"):
        made.fitted(states[2:])


def test_words_and_states_decide_which_items_are_read_and_the_loss_is_said():
    class Holes:
        name, spec, can = "holes", "holes", frozenset({"hidden"})

        def hidden(self, prompts, layer=-1, pool="mean"):
            made = np.ones((len(prompts), 3), np.float32)
            made[["story 1" in prompt.text for prompt in prompts]] = np.nan
            return made

    grown = CATALOG.extend([Item("mute", "")])
    told = []
    with run(complain=told.append):
        there, states = ItemStates(Holes(), None, ("title",), ASK).read(grown, np.array([60, 2, 1, 0]))
    assert there.tolist() == [1, 3] and states.shape == (2, 3)
    assert told == ["1 of 4 items got no state from holes and attract nobody"]
    assert len(ItemStates(Holes(), None, ("title",), ASK).read(grown, np.array([60]))[0]) == 0
