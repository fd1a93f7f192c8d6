from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core.errors import ModelError, OptionError
from hexarec.lm.tokentrie import Allowed, TokenTrie

END = 9
TEXTS = st.lists(st.lists(st.integers(0, 4), max_size=6).map(tuple), min_size=1, max_size=40, unique=True)


def closed(texts):
    return [(*text, END) for text in texts]


def walk(allowed, node=0):
    """Every end that can be reached, by its number."""
    number = int(allowed.trie.item[node])
    found = [number] if number >= 0 else []
    for child in allowed.children(node):
        found += walk(allowed, int(child))
    return found


@given(TEXTS)
def test_every_sequence_is_a_path_and_nothing_else_is(texts):
    trie = TokenTrie.build(closed(texts))
    assert [tuple(trie.sequence(n)) for n in range(len(texts))] == closed(texts)
    assert sorted(walk(Allowed(trie))) == list(range(len(texts)))
    prefixes = {text[:n] for text in closed(texts) for n in range(len(text) + 1)}
    assert len(trie.token) == len(prefixes), "one node for each distinct beginning"


@given(TEXTS)
def test_children_are_neighbours_in_token_order(texts):
    trie = TokenTrie.build(closed(texts))
    for node in range(len(trie.token)):
        children = np.arange(trie.first[node], trie.first[node + 1])
        assert np.all(trie.parent[children] == node)
        assert np.all(np.diff(trie.token[children]) > 0)


@given(TEXTS)
def test_counts_are_those_of_the_ends_below(texts):
    trie = TokenTrie.build(closed(texts))
    seen = Counter()
    for number in range(len(texts)):
        seen.update([0, *trie.path(number)])
    assert trie.count.tolist() == [seen[node] for node in range(len(trie.token))]


@given(TEXTS, st.data())
def test_bans_take_out_what_they_name_and_nothing_else(texts, data):
    trie = TokenTrie.build(closed(texts))
    banned = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=len(texts)))
    allowed = Allowed(trie, banned)
    assert sorted(walk(allowed)) == sorted(set(range(len(texts))) - set(banned))
    assert allowed.left == len(texts) - len(set(banned))
    assert sorted(walk(Allowed(trie))) == list(range(len(texts))), "a ban is of one list"


@given(TEXTS, st.data())
def test_remove_and_add_keep_the_numbers_of_the_rest(texts, data):
    trie = TokenTrie.build(closed(texts), key="k")
    gone = data.draw(st.sets(st.integers(0, len(texts) - 1)))
    less = trie.remove(gone)
    assert sorted(walk(Allowed(less))) == sorted(set(range(len(texts))) - gone)
    more = less.add([(7, 7, END), (8, END)])
    assert sorted(walk(Allowed(more))) == sorted({*range(len(texts) + 2)} - gone)
    assert more.sequence(len(texts)) == [7, 7, END] and more.key == "k"
    for number in set(range(len(texts))) - gone:
        assert more.sequence(number) == trie.sequence(number)


def test_one_title_may_begin_another_when_both_are_closed():
    trie = TokenTrie.build([(1, END), (1, 2, END)])
    assert sorted(walk(Allowed(trie))) == [0, 1]


@pytest.mark.parametrize(
    ("sequences", "says"),
    [([(1, 2), (1, 2)], "0 and 1 are equal"), ([(1, 2, 3), (1, 2)], "beginning"), ([(1,), ()], "sequence 1 is empty")],
)
def test_sequences_that_cannot_be_told_apart_are_refused(sequences, says):
    with pytest.raises(OptionError, match=says):
        TokenTrie.build(sequences)


def test_a_saved_trie_is_the_same_and_a_foreign_or_damaged_one_is_refused(tmp_path):
    trie = TokenTrie.build([(1, 2, END), (3, END)], key="tokenizer")
    file = tmp_path / "films.npz"
    trie.save(file)
    again = TokenTrie.load(file, "tokenizer")
    assert [again.sequence(n) for n in range(2)] == [[1, 2, END], [3, END]]
    with pytest.raises(ModelError, match="another tokenizer"):
        TokenTrie.load(file, "else")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ModelError, match="no token trie"):
        TokenTrie.load(file)
    np.savez(file, token=trie.token, first=trie.first[:-1], leaf=trie.leaf, key=np.array(""))
    with pytest.raises(ModelError, match="fit together"):
        TokenTrie.load(file)
    assert [path.name for path in tmp_path.iterdir()] == ["films.npz"], "nothing half-written is left"


@pytest.mark.parametrize("number", [-1, 3, 99])
def test_a_number_that_is_none_is_refused(number):
    trie = TokenTrie.build([[1, 9], [2, 9], [3, 4, 9]])
    with pytest.raises(OptionError, match="there is no sequence"):
        trie.remove([number])
    with pytest.raises(OptionError, match="there is no sequence"):
        Allowed(trie, [number])


def test_adding_equals_building_anew_also_after_removals():
    first = [[5, 6, 9], [5, 9], [7, 8, 8, 9], [2, 9]]
    trie = TokenTrie.build(first, "key").remove([1])
    grown = trie.add([[5, 6, 7, 9], [300000, 9]])
    whole = TokenTrie.build([first[0], first[2], first[3], [5, 6, 7, 9], [300000, 9]], "key")
    assert np.array_equal(grown.token, whole.token) and np.array_equal(grown.first, whole.first)
    assert [grown.sequence(n) for n in (0, 2, 3, 4, 5)] == [whole.sequence(n) for n in range(5)]
    assert grown.leaf[1] == -1 and grown.depth == whole.depth == 4


def test_what_is_forced_goes_on_while_there_is_one_way_and_leaves_the_end_out():
    trie = TokenTrie.build([[1, 2, 3, 4, 9], [1, 2, 3, 5, 9], [6, 9]])
    free = Allowed(trie)
    start = int(free.children(0)[0])
    ways = free.forced(start, 10)
    assert trie.token[ways].tolist() == [1, 2, 3] and free.forced(start, 2) == ways[:2]
    assert trie.token[Allowed(trie, [1]).forced(start, 10)].tolist() == [1, 2, 3, 4]
    assert free.forced(int(free.children(0)[1]), 10) == [int(free.children(0)[1])]
