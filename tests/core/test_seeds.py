from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import rng, seed_words

WORDS = st.lists(st.text(max_size=5) | st.integers(), max_size=3)


@given(st.integers(), WORDS, st.integers(), WORDS)
def test_a_seed_belongs_to_exactly_its_words(seed, words, other_seed, other_words):
    same = (seed, words) == (other_seed, other_words)
    assert (seed_words(seed, *words) == seed_words(other_seed, *other_words)) == same


def test_a_seed_is_the_same_on_every_machine():
    assert seed_words(0, "user", 3) == 120413228956162782617650888635188571878
    assert 0 <= seed_words(0) < 2**128


def test_a_number_is_not_its_text_and_words_do_not_run_together():
    assert seed_words(0, 1) != seed_words(0, "1")
    assert seed_words(0, "ab", "c") != seed_words(0, "a", "bc")


def test_draws_do_not_depend_on_the_order_of_calls():
    first = rng(1, "a").random(3).tolist()
    rng(1, "b").random(100)
    assert rng(1, "a").random(3).tolist() == first != rng(1, "b").random(3).tolist()
