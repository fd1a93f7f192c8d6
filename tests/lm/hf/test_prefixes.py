"""Prefixes kept warm: found by their tokens alone, bounded, never lost while they take memory."""

import torch

from hexarec.lm.hf.attention import Prefix
from hexarec.lm.hf.prefixes import Prefixes

SCOPE = ("model", "", "tenant", "")


def prefix(n):
    made = Prefix(1)
    made.add(0, torch.ones(1, n, 8), torch.ones(1, n, 8))
    made.length = n
    return made


def test_what_is_kept_is_found_also_when_what_shared_its_beginning_is_gone():
    kept = Prefixes(1.0)
    shared = list(range(32))
    first, second = [*shared, *range(100, 140)], [*shared, *range(200, 240)]
    kept.keep(SCOPE, first, prefix(72))
    kept.keep(SCOPE, second, prefix(72))
    kept._drop(next(iter(kept._kept)))  # the oldest gives way
    found = kept.find(SCOPE, [*second, 1])
    assert found is not None and found.length == 72


def test_of_two_with_a_common_beginning_the_one_that_goes_further_is_found():
    kept = Prefixes(1.0)
    shared = list(range(20))  # longer than a step, shorter than two
    first, second = [*shared, 100, 101], [*shared, 7, 8, 9]
    kept.keep(SCOPE, first, prefix(22))
    kept.keep(SCOPE, second, prefix(23))
    assert kept.find(SCOPE, [*second, 5]).length == 23
    assert kept.find(SCOPE, [*first, 5]).length == 22


def test_nothing_is_left_in_the_index_of_what_was_dropped():
    kept = Prefixes(0.01)
    for n in range(20):
        kept.keep(SCOPE, [n, *range(40)], prefix(41))
    kept.forget()
    assert kept.size == 0 and not kept._index
    kept = Prefixes(0.01)
    for n in range(20):
        kept.keep(SCOPE, [n, *range(40)], prefix(41))
    assert {name for names in kept._index.values() for name in names} == set(kept._kept)


def test_what_goes_on_behind_a_kept_prefix_leaves_it_as_it_was():
    kept, made = Prefixes(1.0), prefix(40)
    kept.keep(SCOPE, list(range(40)), made)
    found = kept.find(SCOPE, [*range(40), 7])
    assert found.keys[0].data_ptr() == made.keys[0].data_ptr(), "it is kept without a copy"
    for one in (made, found):
        one.room = 64
        one.add(0, torch.zeros(1, 5, 8), torch.zeros(1, 5, 8))
    again = kept.find(SCOPE, [*range(40), 7])
    assert again.length == 40 and bool((again.layer(0)[0] == 1).all())
