"""Slices: who counts and which truth is left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import DataError, Lists, OptionError
from hexarec.metrics import evaluate, item_classes, slice_of

from .worlds import world

COUNTS = np.array([50, 30, 10, 10, 0])


def test_item_classes_by_hand():
    made = item_classes(COUNTS)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in made.items()} == {
        "cold": [4], "warm": [0, 1, 2, 3], "head": [0], "tail": [1, 2, 3]
    }  # fmt: skip
    assert np.flatnonzero(item_classes(np.array([4, 4, 4, 1]))["head"]).tolist() == [0, 1, 2]  # equals stay together
    assert not item_classes(np.zeros(3, np.int64))["head"].any()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_item_classes_split_the_catalog_and_the_head_holds_half(counts):
    made = item_classes(np.array(counts))
    assert (made["head"].astype(int) + made["tail"] + made["cold"] == 1).all()
    assert 2 * np.array(counts)[made["head"]].sum() >= sum(counts)


def test_item_slices_keep_the_list_and_cut_the_truth():
    lists, truth = Lists.of("c", [[4, 0], [1, 4], [2, 3]]), Lists.of("c", [[0, 4], [4], [2]])
    found = evaluate(lists, truth, ["recall@1", "recall@1[cold]", "mrr@2[cold]", "hit@2[head]"], counts=COUNTS)
    np.testing.assert_array_equal(found["recall@1"], [0.5, 0, 1])
    np.testing.assert_array_equal(found["recall@1[cold]"], [1, 0, np.nan])
    np.testing.assert_array_equal(found["mrr@2[cold]"], [1, 0.5, np.nan])
    np.testing.assert_array_equal(found["hit@2[head]"], [1, np.nan, np.nan])
    short = slice_of("cold", truth, counts=COUNTS[:2])  # items newer than the counts are cold
    assert short.truth.lengths.tolist() == [1, 1, 1]


def test_user_slices():
    data = world()  # histories of 2, 1 and 0 events
    queries, key = data.queries(), data.catalog.key
    truth = Lists.of(key, [[2], [2], [2]])
    masks = {
        "cold_users:2": [0, 1, 1], "warm_users:2": [1, 0, 0], "history:1-1": [0, 1, 0], "history:1-": [1, 1, 0],
        "cold_users": [1, 1, 1], "warm_users": [0, 0, 0], "": [1, 1, 1],
    }  # fmt: skip
    for name, mask in masks.items():
        assert slice_of(name, truth, queries=queries).mask.tolist() == [bool(m) for m in mask], name
    found = evaluate(truth, truth, ["hit@1[cold_users:2]"], queries=queries)
    np.testing.assert_array_equal(found["hit@1[cold_users:2]"], [np.nan, 1, 1])


def test_refusals():
    truth = Lists.of("c", [[1]])
    for name in ("cool", "history:", "cold_users:x", "history"):
        with pytest.raises(OptionError, match="item slices"):
            slice_of(name, truth, queries=world().queries(), counts=COUNTS)
    with pytest.raises(DataError):
        slice_of("cold", truth)
    with pytest.raises(DataError):
        slice_of("cold_users", truth)
    with pytest.raises(DataError):
        slice_of("cold_users", truth, queries=world().queries())
    with pytest.raises(OptionError):
        evaluate(truth, truth, ["coverage@1"])
