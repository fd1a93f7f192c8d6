"""Matching of ragged batches: every path gives the same pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import DataError, Lists
from hexarec.metrics import match as M

ROWS = st.lists(st.lists(st.integers(0, 12), unique=True, max_size=9), min_size=1, max_size=8)


def pairs(found):
    return list(zip(found.row.tolist(), found.place.tolist(), found.theirs.tolist(), strict=True))


@given(ROWS, st.data(), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_both_paths_give_what_a_loop_gives(rows, data, width):
    others = data.draw(
        st.lists(st.lists(st.integers(0, 12), unique=True, max_size=9), min_size=len(rows), max_size=len(rows))
    )
    one, other = Lists.of("c", rows), Lists.of("c", others)
    want = [
        (r, p, int(other.offsets[r]) + others[r].index(item))
        for r, row in enumerate(rows)
        for p, item in enumerate(row[:width])
        if item in others[r]
    ]
    assert pairs(M.match(one, other, width)) == want
    if len(one.items) and len(other.items):
        inside = min(width, int(one.lengths.max()))
        assert pairs(M._by_key(one, other, inside)) == want
        assert pairs(M._by_compare(one, other, inside)) == want


@pytest.mark.parametrize("budget", [1, 7, 100, 10_000])
def test_blocks_cover_all_rows_once(budget):
    weight = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(0, 20, 200))])
    parts = list(M.blocks(weight, budget))
    assert [low for low, _ in parts] + [200] == [0] + [high for _, high in parts]
    heaviest = int(np.diff(weight).max())
    assert all(weight[high] - weight[low] <= budget + 2 * heaviest for low, high in parts)


def test_many_blocks_equal_one(monkeypatch):
    rng = np.random.default_rng(1)
    one = Lists.of("c", [rng.permutation(30)[: rng.integers(0, 20)].tolist() for _ in range(300)])
    other = Lists.of("c", [rng.permutation(30)[: rng.integers(0, 9)].tolist() for _ in range(300)])
    whole = pairs(M.match(one, other, 10))
    monkeypatch.setattr(M, "BUDGET", 50)
    assert pairs(M.match(one, other, 10)) == whole


@pytest.mark.parametrize("path", [M._by_key, M._by_compare])
def test_repeats_are_refused_on_both_paths(path, monkeypatch):
    monkeypatch.setattr(M, "_by_compare", path)
    with pytest.raises(DataError):
        M.match(Lists.of("c", [[1, 1]]), Lists.of("c", [[1]]), 2)
    with pytest.raises(DataError):
        M.match(Lists.of("c", [[1]]), Lists.of("c", [[1, 1]]), 2)


def test_reach_sees_a_straddling_group_whole():
    lists = Lists.of("c", [list(range(6)), [1, 2]], [[5, 4, 3, 3, 3, 1], [1, 1]])
    starts = M.tie_starts(lists)
    assert M.reach(lists, starts, 3) == 5
    assert M.reach(lists, starts, 2) == 2
    assert M.reach(lists, starts, 5) == 5
