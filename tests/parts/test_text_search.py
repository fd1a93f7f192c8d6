import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import Catalog, Item, OptionError, load, save
from hexarec.lm.open import open_encoder
from hexarec.parts.text_search import TextSearch, shared_out

ITEMS = [
    Item("a", "red lamp", attributes={"brand": "Sun"}),
    Item("b", "blue lamp of the sea", attributes={"brand": "Oak"}),
    Item("c", ""),
    Item("d", "chair", attributes={"brand": "Sun"}, titles={"zh": "红色椅子"}),
]
CATALOG = Catalog.of(ITEMS)
FREE = np.zeros(4, bool)


def test_words_find_items_and_silent_items_are_never_found():
    search = TextSearch().build(CATALOG)
    assert search.found(["lamp", "blue lamp", "c", "nothing"], FREE, 5) == [[0, 1], [1, 0], [], []]
    assert search.scores([]).shape == (0, 4)


def test_what_is_forbidden_is_not_found():
    assert TextSearch().build(CATALOG).found(["lamp"], np.array([True, False, False, False]), 5) == [[1]]


def test_titles_of_every_language_and_other_fields_are_searched():
    search = TextSearch(("title", "brand", "colour")).build(CATALOG)
    assert search.found(["椅子", "sun"], FREE, 5) == [[3], [0, 3]]


def test_other_weights_of_the_same_words():
    search = TextSearch().build(CATALOG)
    other = search.weighed(0.0, 0.0)
    assert (other.k1, other.b, search.k1) == (0.0, 0.0, 1.5)
    row = other.scores(["lamp"])[0]
    assert row[0] == row[1] and search.scores(["lamp"])[0][0] > search.scores(["lamp"])[0][1]
    assert np.allclose(TextSearch(k1=0.0, b=0.0).build(CATALOG).scores(["lamp"]), other.scores(["lamp"]))


@pytest.mark.parametrize("encoder", [None, "tfidf"])
def test_new_items_are_found_and_all_comes_back(encoder, tmp_path):
    search = TextSearch(encoder=encoder and open_encoder(encoder)).build(CATALOG)
    larger = search.extend(CATALOG.extend([Item("e", "red chair"), Item("f", "")]))
    assert larger.found(["red chair"], np.zeros(6, bool), 1) == [[4]] and len(search.known_) == 4
    assert 5 not in larger.found(["red chair"], np.zeros(6, bool), 9)[0]
    save(larger, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: open_encoder(spec))
    assert np.allclose(again.scores(["red lamp"]), larger.scores(["red lamp"]), atol=1e-6)


def test_vectors_order_every_item_that_says_something():
    search = TextSearch(encoder=open_encoder("tfidf")).build(CATALOG)
    found = search.found(["a red lamp"], FREE, 9)[0]
    assert found[0] == 0 and sorted(found) == [0, 1, 3] and search.scores([]).shape == (0, 4)


def test_a_catalog_without_words_is_refused():
    with pytest.raises(OptionError, match="no item has words") as caught:
        TextSearch().build(Catalog.of([Item("a", "", attributes={"brand": "Sun"})]))
    assert "brand" in caught.value.hint


def test_each_query_gets_its_share_and_then_one_in_turn():
    ranked = [[1, 2, 3, 4], [2, 5], [9]]
    assert shared_out(ranked, 6, 3) == [(1, 0), (2, 0), (5, 1), (9, 2), (3, 0), (4, 0)]
    assert shared_out(ranked, 3, 3) == [(1, 0), (2, 1), (9, 2)]
    assert shared_out(ranked, 1, 3) == [(1, 0)] and shared_out(ranked, 0, 3) == [] and shared_out([], 3, 2) == []
    assert shared_out(ranked[:1], 4, 1) == [(1, 0), (2, 0), (3, 0), (4, 0)]


@given(st.lists(st.lists(st.integers(0, 9), unique=True, max_size=8), max_size=5), st.integers(0, 9), st.integers(1, 6))
def test_shares_hold_whatever_was_found(ranked, k, m):
    made = shared_out(ranked, k, m)
    items = [item for item, _ in made]
    assert len(set(items)) == len(items) == min(k, len({item for own in ranked for item in own}))
    assert all(item in ranked[number] for item, number in made)
    if ranked and ranked[0] and k:
        first = ranked[0][: min(-(-k // m), k)]
        assert items[: len(first)] == first
