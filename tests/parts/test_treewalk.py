from types import SimpleNamespace

import pytest

from hexarec.parts.itemtree import NOWHERE
from hexarec.parts.treewalk import WAYS, side_by_side

LEAF = 3


def tree(leaves, branch, leaf=6):
    """A root over that many leaves of three items; item 3 j and the two after it stand in node j + 1."""
    nodes = list(range(1, leaves + 1))
    items = {node: [LEAF * (node - 1) + i for i in range(LEAF)] for node in nodes}
    return SimpleNamespace(
        branch=branch,
        leaf=leaf,
        any=lambda: True,
        children=lambda node: nodes if node == 0 else [],
        items=lambda node: items.get(node, []),
    )


def walked(search, view, n, per_leaf, width, seen=None):
    """The items found by one who likes high numbers."""

    def answer(asked):
        if seen is not None:
            seen.extend(page for _, page in asked)
        return [sorted(page.options, reverse=True) for _, page in asked]

    return side_by_side([WAYS[search](view, n, per_leaf, width)], answer)[0]


@pytest.mark.parametrize("pool", [3, 9, 10, 12, 13, 14, 26, 27, 100])
@pytest.mark.parametrize(("branch", "width"), [(12, 10), (12, 5), (4, 5), (2, 3), (12, 12), (4, 30), (5, 1)])
def test_a_beam_keeps_as_many_as_it_is_wide_and_no_page_is_larger_than_a_page(pool, branch, width):
    seen = []
    found = walked("beam", tree(pool, branch), LEAF * pool, 1, width, seen)
    leaves = {leaf for _, leaf in found}
    assert len(leaves) == min(width, pool) and len(found) == LEAF * len(leaves)
    assert all(len(page.options) <= branch for page in seen if not page.items)
    best = LEAF * pool - 1, pool  # wins every heat; of several last pages each has a first
    assert best in found and (found[0] == best or width > branch)


def test_a_beam_takes_so_many_items_of_a_leaf_before_it_takes_the_rest_in_turns():
    found = walked("beam", tree(4, 4), 8, 2, 3)
    assert [item for item, _ in found] == [11, 10, 8, 7, 5, 4, 9, 6]


@pytest.mark.parametrize("n", [1, 4, 5, 6, 20])
def test_a_beam_that_finds_more_than_is_asked_for_orders_it_in_heats(n):
    seen = []
    found = walked("beam", tree(8, 4), n, LEAF, 8, seen)
    assert len(found) == n and all(leaf == item // LEAF + 1 for item, leaf in found)
    assert {item for item, _ in found} >= set(range(24 - min(n, 6), 24)), "the best are in no heat's lower half"
    assert n > 6 or [item for item, _ in found] == list(range(23, 23 - n, -1))
    heats = [page.options for page in seen if page.items and len({item // LEAF for item in page.options}) > 1]
    assert heats and max(map(len, heats)) <= 6, "a heat is a page, as large as a leaf at most"
    several = [page for page in seen if page.items and page.node == NOWHERE]
    assert {page.options for page in several} >= set(heats), "and is told from the items of one leaf"


def test_a_beam_that_finds_as_many_as_asked_asks_nothing_more():
    seen = []
    walked("beam", tree(4, 4), 8, 2, 4, seen)
    assert all(len({item // LEAF for item in page.options}) == 1 for page in seen if page.items)


def test_depth_first_opens_so_many_children_before_it_takes_what_opened_leaves_have_left():
    found = [item for item, _ in walked("depth", tree(4, 4), 6, 1, 2)]
    assert found == [11, 8, 10, 9, 7, 6]
    assert [item for item, _ in walked("depth", tree(4, 4), 6, 1, 4)] == [11, 8, 5, 2, 10, 9]


def test_in_proportion_the_best_branch_gives_most_and_others_their_least():
    assert [leaf for _, leaf in walked("proportional", tree(4, 4), 5, 1, 3)] == [4, 4, 4, 3, 2]
    assert [leaf for _, leaf in walked("depth", tree(4, 4), 5, 1, 3)] == [4, 3, 2, 4, 4]
