from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Lists, OptionError, rng
from hexarec.parts.constraints import Quotas, Tally
from hexarec.parts.greedy import blocks, greedy


class ByRelevance:
    """The plainest objective."""

    def __init__(self, block):
        self.block = block

    def value(self):
        return self.block.relevance.copy()

    def take(self, pick):
        pass


VALUES = ["a", "b", "c"]


def picked(labels, k, at_least=None, at_most=None):
    """Places picked from one list whose place i is of the categories labels[i], and what is told of the quotas."""
    quotas = Quotas.of(VALUES, at_least or {}, at_most or {})
    lists = Lists.of("k", [list(range(len(labels)))], [[1.0 - i / 100 for i in range(len(labels))]])
    block = next(blocks(lists, 10**6))
    of = np.zeros((1, block.items.shape[1], len(quotas.columns)), bool)
    of[0, : len(labels)] = [[VALUES[column] in label for column in quotas.columns] for label in labels] or False
    rule = Tally(quotas, block, of, k)
    made = rule.mended(greedy(block, k, ByRelevance(block), rule))[0]
    return made[made >= 0].tolist(), quotas.told(rule.count[0])


def test_floors_and_ceilings_by_hand():
    labels = ["a", "a", "a", "b", "a", "c"]
    assert picked(labels, 3) == ([0, 1, 2], [])
    assert picked(labels, 3, at_most={"a": 1}) == ([0, 3, 5], [])
    assert picked(labels, 3, at_least={"c": 1}) == ([0, 1, 5], [])
    assert picked(labels, 3, at_least={"c": 1, "b": 1}) == ([0, 3, 5], [])
    assert picked(labels, 4, at_most={"*": 2}) == ([0, 1, 3, 5], [])
    assert picked(labels, 4, at_most={"*": 1, "a": 2}) == ([0, 1, 3, 5], [])
    assert picked(labels, 3, at_least={"*": 1}) == ([0, 3, 5], [])


def test_what_cannot_be_is_mended_and_told():
    labels = ["a", "a", "a", "b"]
    assert picked(labels, 3, at_least={"b": 2}) == (
        [0, 1, 3],
        [{"category": "b", "rule": "at least", "asked": 2, "got": 1}],
    )
    assert picked(labels, 4, at_most={"a": 1}) == (
        [0, 3, 1, 2],
        [{"category": "a", "rule": "at most", "asked": 1, "got": 3}],
    )
    # more floors than places: some are kept, the rest is told
    places, told = picked(["a", "b", "c"], 2, at_least={"a": 1, "b": 1, "c": 1})
    assert places == [0, 1] and [one["category"] for one in told] == ["c"]
    assert picked([], 3, at_least={"a": 1}) == ([], [{"category": "a", "rule": "at least", "asked": 1, "got": 0}])


def test_an_item_of_two_categories_counts_in_both():
    labels = ["a", "a", "ab", "b", "c"]
    assert picked(labels, 2, at_least={"a": 1, "b": 1, "c": 1})[0] == [2, 4]
    assert picked(labels, 3, at_most={"a": 1, "b": 1}) == ([0, 3, 4], [])
    places, told = picked(["ab", "ab", "ab"], 2, at_most={"a": 1})
    assert places == [0, 1] and told == [{"category": "a", "rule": "at most", "asked": 1, "got": 2}]


def test_a_quota_needs_a_category_and_sense():
    for least, most, words in (
        ({}, {"zzz": 1}, "there are a, b, c"),
        ({"a": -1}, {}, "0 or more"),
        ({"a": 3}, {"*": 2}, "lower the one"),
    ):
        with pytest.raises(OptionError) as error:
            Quotas.of(VALUES, least, most)
        assert words in error.value.hint
    with pytest.raises(OptionError, match="drama") as error:
        Quotas.of(["Comedy", "Drama"], {"drama": 1}, {})
    assert "did you mean 'Drama'" in error.value.hint
    assert Quotas.of(VALUES, {}, {}).names == ()


def best_sets(labels, k, least, most):
    """All largest relevance sums of k places that keep the quotas, by trying everything."""
    best, sums = -1.0, set()
    for some in {tuple(sorted(p)) for p in permutations(range(len(labels)), k)}:
        count = {v: sum(labels[i] == v for i in some) for v in VALUES}
        if all(count[v] >= n for v, n in least.items()) and all(count[v] <= n for v, n in most.items()):
            worth = sum(1.0 - i / 100 for i in some)
            if worth > best + 1e-9:
                best, sums = worth, {some}
    return sums


numbers = st.dictionaries(st.sampled_from(VALUES), st.integers(0, 3), max_size=2)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=7), st.integers(1, 4), numbers, numbers)
def test_with_one_category_each_the_best_list_that_keeps_the_quotas_is_found(labels, k, least, most):
    if any(least.get(v, 0) > most[v] for v in most):
        return
    k = min(k, len(labels))
    wanted = best_sets(labels, k, least, most)
    places, told = picked(labels, k, least, most)
    assert len(set(places)) == k
    if wanted:
        assert told == [] and tuple(sorted(places)) in wanted
    else:
        assert told, "a quota that no list can keep is told"


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(["", "a", "b", "ab", "bc", "abc"]), max_size=8), st.integers(0, 5), numbers, numbers)
def test_with_any_categories_lists_are_full_and_what_is_told_is_true(labels, k, least, most):
    if any(least.get(v, 0) > most[v] for v in most):
        return
    places, told = picked(labels, k, least, most)
    assert len(places) == min(k, len(labels)) and len(set(places)) == len(places)
    count = {v: sum(v in labels[i] for i in places) for v in VALUES}
    broken = {v for v in VALUES if not least.get(v, 0) <= count[v] <= most.get(v, 99)}
    assert {one["category"] for one in told} == broken
    assert all(one["got"] == count[one["category"]] for one in told)


def possible(labels, k, least, most):
    """Whether any k places keep the quotas."""
    for some in combinations(range(len(labels)), k):
        count = {v: sum(v in labels[i] for i in some) for v in VALUES}
        if all(least.get(v, 0) <= count[v] <= most.get(v, 99) for v in VALUES):
            return True
    return False


def test_what_is_told_could_nearly_always_not_be_helped():
    """Greedy picking alone breaks quotas of items with several categories that exchanges keep."""
    told = needless = 0
    for case in range(400):
        draw = rng(0, "quotas", case)
        labels = ["".join(v for v in VALUES if draw.random() < 0.5) for _ in range(9)]
        most, least = {v: int(draw.integers(1, 4)) for v in VALUES}, {VALUES[int(draw.integers(3))]: 1}
        if picked(labels, 5, least, most)[1]:
            told += 1
            needless += possible(labels, 5, least, most)
    assert told > 60 and needless <= 0.02 * 400


def test_an_exchange_puts_the_newcomer_last():
    labels = ["ab", "c", "ab", "b", "a", "c"]
    places, told = picked(labels, 3, at_most={"a": 1, "b": 1, "c": 1})
    assert told == [] and sorted(places) == [1, 3, 4] and places[-1] == max(places)
