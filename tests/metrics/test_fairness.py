"""Exposure of item groups and gaps between user groups, by hand."""

import math

import numpy as np
import pytest

from hexarec.core import DataError, Lists
from hexarec.metrics import dgu, group_exposure, group_shifts, mgu, user_gap

from .worlds import reference


def test_group_exposure_by_hand():
    ref = reference()
    made = group_exposure(Lists.of(ref.queries.catalog.key, [[0, 1], [2], [4]]), ref, 2)
    second = 1 / math.log2(3)
    first = np.array([1 + second / 2, second / 2, 0]) / (1 + second)
    assert made.names == ("x", "y", "z")
    np.testing.assert_allclose(made.values.T, [first, [0, 1, 0], [np.nan] * 3])
    np.testing.assert_allclose(made.share, (first + [0, 1, 0]) / 2)
    np.testing.assert_allclose(made.catalog, [1.5 / 4, 1.5 / 4, 1 / 4])
    assert made.ratio == math.inf and made.share.sum() == pytest.approx(1)


def test_even_exposure_has_ratio_one():
    ref = reference()
    made = group_exposure(Lists.of(ref.queries.catalog.key, [[0], [2], [3]]), ref, 1)
    np.testing.assert_allclose(made.share, [1 / 3] * 3)
    assert made.ratio == pytest.approx((1 / 3 / 0.25) / (1 / 3 / 0.375))
    assert math.isnan(group_exposure(Lists.empty(ref.queries.catalog.key, 3), ref, 1).ratio)


def test_user_gap():
    groups = np.array(["f", "m", None, "f", "m", "d"], object)
    made = user_gap(np.array([1.0, 0.2, 0.0, 0.5, np.nan, np.nan]), groups)
    assert made.names == ("d", "f", "m") and made.worst() == "m"
    np.testing.assert_allclose(made.means, [np.nan, 0.75, 0.2])
    assert made.counted.tolist() == [0, 2, 1] and made.gap == pytest.approx(0.55)
    assert math.isnan(user_gap(np.array([1.0, 0.2, 0.0, 0.5, np.nan, np.nan]), groups, least=2).gap)
    ages = user_gap(np.array([0.0, 1.0, 1.0]), np.array([18.0, 25.0, np.nan]))
    assert ages.gap == 1.0 and ages.names == ("18.0", "25.0")
    nobody = user_gap(np.zeros(2), np.array([None, None], object))
    assert math.isnan(nobody.gap) and nobody.worst() == ""
    with pytest.raises(DataError):
        user_gap(np.zeros(2), groups)


def test_groups_that_are_favoured_and_slighted_against_the_histories():
    """Histories: 0 1, 1 -> x 1 + 1/2 + 1/2, y 1/2 + 1/2, of 3. Places: 1, 2, 3, 4 -> x 1/2, y 3/2, z 1, of 3."""
    ref = reference()
    lists = Lists.of(ref.queries.catalog.key, [[1, 2], [3], [4]])
    np.testing.assert_allclose(group_shifts(lists, ref, 2), np.array([0.5, 1.5, 1]) / 3 - np.array([2, 1, 0]) / 3)
    assert mgu(lists, ref, 2).value == pytest.approx((0.5 + 1 / 6 + 1 / 3) / 3)
    assert dgu(lists, ref, 2).value == pytest.approx(1 / 3 + 0.5)
    same = Lists.of(ref.queries.catalog.key, [[0, 1], [1], []])
    assert mgu(same, ref, 2).value == dgu(same, ref, 2).value == 0
    for rows in ([[4], [], []], [[], [], []]):
        assert math.isnan(mgu(Lists.of(ref.queries.catalog.key, rows), ref, 1).value)
