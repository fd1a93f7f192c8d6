from dataclasses import replace

import numpy as np
import pytest
from tests.core.makers import data_of

from hexarec.core import CapabilityError, DataError, Item, OptionError
from hexarec.data.worlds import world
from hexarec.lm.fake import Overlap
from hexarec.methods.gpt4rec import PROMPTS
from hexarec.parts.next_title import FORMAT, Held, NextTitle, Recipe, cases
from hexarec.parts.nexts import liked_next

PLACE = world("trap")
DATA = PLACE.data
ODD = DATA.with_log(replace(DATA.interactions, liked=DATA.interactions.item % 2 == 1))


class Narrow(Overlap):
    """A model with a small window that counts words."""

    def __init__(self, window):
        super().__init__()
        self._narrow = window

    @property
    def window(self):
        return self._narrow

    def count(self, texts):
        return np.array([len(text.split()) for text in texts], np.int32)


def asking(lm=None, **options):
    return NextTitle(lm or Overlap(), PROMPTS, "book", **{"history": 3, "length": 8, **options})


def listed(prompt):
    return [line.split(". ", 1)[1] for line in prompt.text.splitlines() if line[:1].isdigit()]


def test_the_newest_liked_titles_are_shown_oldest_first():
    queries = ODD.queries([0, 1])
    for i, prompt in enumerate(asking().asked(queries, "folder", 7)):
        part = slice(*queries.history.offsets[i : i + 2])
        rows = queries.history.item[part][queries.history.liked[part]][-3:]
        assert listed(prompt) == ODD.catalog.titles[rows].tolist()
        assert (prompt.adapter, prompt.seed, prompt.sample.max_tokens) == ("folder", 7, 8)


def test_the_oldest_events_go_where_the_window_is_small_and_the_cue_stays():
    queries = DATA.queries([0])
    whole = asking(history=8).asked(queries)[0]
    words = len(whole.text.split())
    cut = asking(Narrow(words + 8 + FORMAT - 5), history=8).asked(queries)[0]
    assert listed(cut) == listed(whole)[-len(listed(cut)) :] and 0 < len(listed(cut)) < 8
    assert cut.text.splitlines()[-1] == whole.text.splitlines()[-1]
    least = asking(Narrow(10), history=8).asked(queries)[0]
    assert listed(least) == listed(whole)[-1:], "the newest is never left out"


def test_what_is_taught_is_what_is_asked():
    queries, items = cases(DATA, 20, 0)
    ask = asking()
    prompts, answers = ask.taught(queries, items)
    assert prompts == ask.asked(queries) and answers == DATA.catalog.titles[items].tolist()


def test_items_of_which_nothing_reads_teach_nothing():
    data = DATA.with_items([Item("\u200b", "\u200b")])  # neither title nor id
    queries, _ = cases(data, 2, 0)
    row = data.catalog.rows(["\u200b"]).repeat(2)
    row[1] = 0
    assert [len(one) for one in asking().taught(queries, row)] == [1, 1]


def test_cases_are_new_likes_with_a_like_before_them():
    queries, items = cases(ODD, 10_000, 0)
    assert (items % 2 == 1).all() and len(items) > 50
    assert (np.diff(queries.now) >= 0).all()
    for i in range(len(items)):
        part = slice(*queries.history.offsets[i : i + 2])
        assert queries.history.liked[part].any() and items[i] not in queries.history.item[part]
    some, _ = cases(ODD, 8, 0)
    other, _ = cases(ODD, 8, 1)
    assert len(some) == 8 and some.user_ids() != other.user_ids()


REPEATS = [(0, 0, 1.0), (0, 1, 2.0), (0, 1, 3.0), (0, 2, 4.0), (0, 0, 5.0), (0, 2, 6.0), (1, 3, 1.0), (1, 4, 1.0),
           (1, 4, 2.0), (1, 1, 3.0)]  # fmt: skip


def test_an_item_met_before_is_no_next_one_whether_it_was_liked_or_not():
    data = data_of(REPEATS, liked=[True, False, *[True] * 8])
    queries, items = cases(data, 10, 0)
    assert items.tolist() == [1, 2] and queries.user.tolist() == [1, 0] and queries.now.tolist() == [3.0, 4.0]
    other = liked_next(data)
    assert other.item.tolist() == items.tolist() and other.queries.now.tolist() == queries.now.tolist()


def test_held_questions_lie_after_what_is_learned():
    held = Held.of(DATA, 0.2, 10, 0)
    assert 0 < len(held.queries) <= 10 and (held.truth.lengths > 0).all()
    assert held.train.interactions.time.max() < held.queries.now.min()
    assert Held.of(DATA, 0.2, 0, 0).train is DATA
    ordered = DATA.with_log(replace(DATA.interactions, clock=False))
    cut = Held.of(ordered, 0.2, 10, 0)
    assert len(cut.train.interactions) == len(DATA.interactions) - DATA.n_users and len(cut.queries) == 10


RECIPE = Recipe(1, 8, 4, 8.0, 0.0, ("q_proj",), 4, 1e-3, 0, "answer", "")


def test_nothing_is_learned_in_no_epoch_and_start_serves():
    held = Held.of(DATA, 0.2, 4, 0)
    none = replace(RECIPE, epochs=0, start="folder")
    assert none.learn(asking(), held, {}, 0) is None and none.adapter(None) == "folder"
    assert replace(none, start="").adapter(None) == ""


def test_a_log_in_which_nothing_follows_is_refused():
    alone = DATA.with_log(DATA.interactions.where(DATA.interactions.time == DATA.interactions.time.max()))
    with pytest.raises(DataError, match="one after the other") as caught:
        RECIPE.learn(asking(), Held.of(alone, 0.2, 0, 0), {}, 0)
    assert "epochs=0" in caught.value.hint


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"examples": 0}, {"r": 0}, {"batch": 0}, {"loss_on": "most"}])
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(OptionError):
        replace(RECIPE, **{"epochs": 0, **wrong}).check(Overlap(), "x")


def test_a_model_without_weights_is_refused_with_what_to_use_instead():
    with pytest.raises(CapabilityError, match="needs weights") as caught:
        RECIPE.check(Overlap(), "x")
    assert "epochs=0" in caught.value.hint and "hf:" in caught.value.hint
    with pytest.raises(CapabilityError, match="needs weights"):
        replace(RECIPE, epochs=0, start="folder").check(Overlap(), "x")
    replace(RECIPE, epochs=0).check(Overlap(), "x")
