"""Run metrics by hand on a tiny world."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import DataError, LineageError, Lists, OptionError
from hexarec.metrics import Reference, avg_popularity, coverage, entropy, gini, measure, novelty, popularity_lift
from hexarec.metrics.runs import MEASURES

from .worlds import reference, world


def lists_of(ref, rows):
    return Lists.of(ref.queries.catalog.key, rows)


def test_by_hand():
    ref = reference()
    lists = lists_of(ref, [[2, 1], [1, 3], []])
    assert coverage(lists, ref, 2).value == 3 / 5
    assert coverage(lists, ref, 1).value == 2 / 5
    shown = np.array([0, 0, 1, 1, 2])
    want = sum(abs(a - b) for a in shown for b in shown) / (2 * 25 * shown.mean())
    assert gini(lists, ref, 2).value == pytest.approx(want)
    assert entropy(lists, ref, 2).value == pytest.approx(1.5)
    found = novelty(lists, ref, 2)  # p = (count + 1) / (3 + 5)
    np.testing.assert_allclose(found.values, [(3 + math.log2(8 / 3)) / 2] * 2 + [np.nan])
    np.testing.assert_allclose(avg_popularity(lists, ref, 2).values, [1.0, 1.0, np.nan])
    # histories: u has 1 and 2 events per item = 1.5, v 2, w none; lists 1 and 1
    lift = popularity_lift(lists, ref, 2)
    assert lift.value == pytest.approx(1.0 / 1.75) and lift.counted == 2


def test_even_exposure_has_gini_zero_and_full_entropy_one_item_the_other_way():
    ref = reference()
    even = lists_of(ref, [[0, 1, 2, 3, 4]] * 3)
    assert gini(even, ref, 5).value == pytest.approx(0) and entropy(even, ref, 5).value == pytest.approx(math.log2(5))
    one = lists_of(ref, [[3]] * 3)
    assert gini(one, ref, 5).value == pytest.approx(1 - 1 / 5) and entropy(one, ref, 5).value == 0


def test_tombstones_are_no_part_of_the_catalog():
    data = world()
    data = replace(data, catalog=data.catalog.remove(["i4"]))
    ref = reference(data)
    assert coverage(lists_of(ref, [[0, 1], [2, 3], []]), ref, 2).value == 1.0


def test_items_newer_than_the_training_data_count_as_unseen():
    ref = reference()
    ref = replace(ref, counts=ref.counts[:2])
    assert avg_popularity(lists_of(ref, [[4], [0], []]), ref, 1).value == 0.5


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_nothing_shown_is_nan_or_zero_coverage(name):
    ref = reference()
    found = MEASURES[name](lists_of(ref, [[], [], []]), ref, 3)
    assert found.value == 0 if name in ("coverage", "tag_coverage") else math.isnan(found.value)


@given(st.lists(st.lists(st.integers(0, 4), unique=True, max_size=5), min_size=3, max_size=3), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_the_cut_hides_what_follows_and_value_is_the_mean(rows, k):
    ref = reference()
    for name, metric in MEASURES.items():
        found = metric(lists_of(ref, rows), ref, k)
        cut = metric(lists_of(ref, [row[:k] for row in rows]), ref, k)
        assert found.value == pytest.approx(cut.value, nan_ok=True), name
        if found.values is not None and found.counted:
            assert found.value == pytest.approx(np.nanmean(found.values))


def test_measure_by_name_and_refusals():
    ref = reference()
    lists = lists_of(ref, [[0], [1], [2]])
    found = measure(lists, ref, ["Coverage@1", "ILD@1"])
    assert found["coverage@1"].value == 3 / 5 and math.isnan(found["ild@1"].value)
    with pytest.raises(OptionError):
        measure(lists, ref, ["ndcg@10"])
    with pytest.raises(OptionError):
        measure(lists, ref, ["coverage@10[cold]"])
    bare = Reference.of(world(), ref.queries)
    for name in ("ild@3", "ild_tags@3", "calibration@3"):
        with pytest.raises(DataError):
            measure(lists, bare, [name])
    with pytest.raises(LineageError):
        coverage(Lists.of("other", [[0], [1], [2]]), ref, 1)
    with pytest.raises(DataError):
        coverage(lists_of(ref, [[0]]), ref, 1)
    with pytest.raises(DataError, match="text"):
        Reference.of(world(), ref.queries, vectors="nope")


def test_how_much_of_the_places_is_new_and_how_much_goes_to_three_items():
    ref = reference()
    lists = lists_of(ref, [[2, 1], [1, 3], [1]])  # places: 1 three times, 2 and 3 once, one empty
    made = {name: one.value for name, one in measure(lists, ref, ["DivRatio@2", "ORRatio@2", "or_ratio@1"]).items()}
    assert made == {"div_ratio@2": 3 / 6, "or_ratio@2": 5 / 6, "or_ratio@1": 1.0}
    four = lists_of(ref, [[0, 1, 2, 3], [0, 1], [0]])
    assert measure(four, ref, ["or_ratio@4"])["or_ratio@4"].value == 6 / 12
    assert all(
        math.isnan(one.value)
        for one in measure(lists_of(ref, [[], [], []]), ref, ["div_ratio@2", "or_ratio@2"]).values()
    )
