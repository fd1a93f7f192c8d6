import numpy as np
import pytest

from hexarec.core import CapabilityError, Catalog, Item, ragged
from hexarec.parts.attributes import indicators, variety

CATALOG = Catalog.of(
    [
        Item("a", "A", attributes={"genres": ("x", "y", "x"), "year": 1990.0}),
        Item("b", "B", attributes={"genres": ("z",), "year": 1991.0}),
        Item("c", "C", attributes={"genres": None, "year": float("nan")}),
        Item("d", "D", attributes={"genres": ("",)}),
    ]
)


def test_indicators_of_tuples_numbers_and_gaps():
    table, values = indicators(CATALOG, "genres")
    assert values == ["x", "y", "z"] and table.toarray().tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    table, values = indicators(CATALOG, "year")
    assert values == ["1990.0", "1991.0"] and table.toarray().sum(1).tolist() == [1, 1, 0, 0]


def test_given_values_stay_and_others_are_dropped():
    table, values = indicators(CATALOG, "genres", ["z", "x", "new"])
    assert values == ["z", "x", "new"] and table.toarray()[:2].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_a_missing_attribute_names_those_there_are():
    with pytest.raises(CapabilityError) as error:
        indicators(CATALOG, "brand")
    assert "genres, year" in error.value.hint


GENRES = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]], np.float32)


def of(*rows, recent=10):
    offsets = ragged.offsets_of(np.array([len(row) for row in rows], np.int64))
    return variety(offsets, np.array([i for row in rows for i in row], np.int32), GENRES, recent)


def test_variety_by_hand():
    one, two, half = of([0, 0, 0], [0, 1], [2])
    assert one == 0.0 and two == pytest.approx(0.5) and half == pytest.approx(0.5), "log 2 of log 4"
    mixed = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(4)
    assert of([0, 2])[0] == pytest.approx(mixed), "an item of two genres gives half to each"


def test_what_has_no_genre_or_no_item_says_nothing():
    made = of([], [3, 99], [0, 3, 99])
    assert np.isnan(made[:2]).all() and made[2] == 0.0
    assert of().shape == (0,)


def test_variety_is_the_mean_of_windows_counted_from_the_newest():
    """Five of one kind, then five of another: every window is of one kind, the whole is not."""
    row = [0] * 5 + [1] * 5
    assert of(row, recent=5)[0] == 0.0 and of(row)[0] == pytest.approx(0.5)
    # windows of four from the end: 1 1 1 1 | 0 0 0 1 | 0 0, weighted by their events
    mixed = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(4)
    assert of(row, recent=4)[0] == pytest.approx((4 * 0 + 4 * mixed + 2 * 0) / 10)


def test_segments_do_not_touch_each_other():
    rows = [[0, 1, 0], [], [1, 1, 2, 0, 1, 2, 2], [3], [2]]
    together = of(*rows, recent=3)
    alone = np.concatenate([of(row, recent=3) for row in rows])
    np.testing.assert_allclose(together, alone)


def test_more_recent_than_any_number_of_an_array_is_all_of_them():
    assert of([0, 1], [2], recent=10**30).tolist() == of([0, 1], [2], recent=2).tolist()
