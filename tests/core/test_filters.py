import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import Catalog, Filter, Item, OptionError
from hexarec.core.filters import MAX_DEPTH, column_mask

from .makers import catalog_of

CATALOG = catalog_of(
    6,
    year=[1990.0, 1995.0, None, 2001.0, 1995.0, 2010.0],
    genres=[("drama",), ("drama", "war"), None, (), ("comedy",), ("war", "comedy")],
    country=["USA", "China", "USA", None, "France", "China"],
)


def mask(tree):
    return CATALOG.mask(Filter.parse(tree)).tolist()


def rows(tree):
    return [row for row, passes in enumerate(mask(tree)) if passes]


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("year", "=", 1995, [1, 4]),
        ("year", "!=", 1995, [0, 3, 5]),
        ("year", "<", 1995, [0]),
        ("year", "<=", 1995, [0, 1, 4]),
        ("year", ">", 1995, [3, 5]),
        ("year", ">=", 2001.0, [3, 5]),
        ("year", "in", [1990, 2010], [0, 5]),
        ("year", "not in", [1990, 2010], [1, 3, 4]),
        ("year", "exists", None, [0, 1, 3, 4, 5]),
        ("genres", "=", "war", [1, 5]),
        ("genres", "!=", "war", [0, 3, 4]),
        ("genres", "in", ["war", "drama"], [0, 1, 5]),
        ("genres", "not in", ["war", "drama"], [3, 4]),
        ("genres", "has", ["war", "comedy"], [5]),
        ("genres", "exists", None, [0, 1, 4, 5]),
        ("country", "=", "China", [1, 5]),
        ("country", "<", "D", [1, 5]),
        ("country", ">=", "France", [0, 2, 4]),
        ("country", "!=", "USA", [1, 4, 5]),
        ("country", "exists", None, [0, 1, 2, 4, 5]),
    ],
)
def test_a_comparison_passes_these_rows_and_never_a_missing_value(field, op, value, expected):
    assert rows({"field": field, "op": op, "value": value}) == expected


TREES = st.recursive(
    st.sampled_from([
        {"field": "year", "op": ">=", "value": 1995}, {"field": "genres", "op": "has", "value": ["war"]},
        {"field": "country", "op": "=", "value": "USA"}, {"field": "year", "op": "exists"},
    ]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)  # fmt: skip


def naive(tree):
    if "and" in tree:
        return [all(row) for row in zip(*map(naive, tree["and"]), strict=True)]
    if "or" in tree:
        return [any(row) for row in zip(*map(naive, tree["or"]), strict=True)]
    if "not" in tree:
        return [not one for one in naive(tree["not"])]
    return mask(tree)


@given(TREES)
def test_joins_are_all_any_and_not(tree):
    assert mask(tree) == naive(tree)
    assert Filter.parse(tree) == Filter.parse(tree) and hash(Filter.parse(tree)) == hash(Filter.parse(tree))


def test_a_mask_is_computed_once_per_catalog():
    where = Filter.parse({"field": "year", "op": "exists"})
    assert CATALOG.mask(where) is CATALOG.mask(Filter.parse({"field": "year", "op": "exists"}))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "is an object, not list"),
        ({}, "not a filter"),
        ({"field": "year"}, "not a filter"),
        ({"field": "year", "op": "~", "value": 1}, "unknown operator '~'"),
        ({"and": []}, "at least one part"),
        ({"not": [{"field": "a", "op": "="}, {"field": "b", "op": "="}]}, "one part"),
        ({"field": "year", "op": "=", "value": {"a": 1}}, "a list of these"),
        ({"field": "year", "op": "=", "value": 1, "more": 2}, "not a filter"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(tree, words):
    with pytest.raises(OptionError, match=words):
        Filter.parse(tree)


def test_a_filter_nested_too_deep_is_refused_instead_of_overflowing():
    tree = {"field": "year", "op": "exists"}
    for _ in range(MAX_DEPTH + 1):
        tree = {"not": tree}
    with pytest.raises(OptionError, match="nested deeper"):
        Filter.parse(tree)


def test_an_unknown_field_suggests_the_one_meant():
    with pytest.raises(OptionError, match="did you mean 'genres'"):
        rows({"field": "genre", "op": "=", "value": "war"})
    with pytest.raises(OptionError, match="fields: none"):
        column_mask(Filter("=", "x", 1), {}, 3)


@pytest.mark.parametrize("value", ["1995", True, None])
def test_a_number_field_takes_only_numbers(value):
    with pytest.raises(OptionError, match="holds numbers"):
        rows({"field": "year", "op": "=", "value": value})


def test_words_and_numbers_are_not_compared():
    with pytest.raises(OptionError, match="cannot be compared"):
        rows({"field": "country", "op": "<", "value": 3})


def test_lists_become_tuples_so_that_filters_can_be_shared():
    assert Filter.parse({"field": "year", "op": "in", "value": [1, 2]}).value == (1, 2)
    assert np.array_equal(CATALOG.mask(Filter("in", "year", (1990, 1995))), [1, 1, 0, 0, 1, 0])


def test_one_odd_value_in_a_column_spoils_no_comparison():
    items = [Item("a", "A", attributes={"year": 1999.0}), Item("b", "B", attributes={"year": "soon"}), Item("c", "C")]
    catalog = Catalog.of(items)
    assert catalog.mask(Filter.parse({"field": "year", "op": ">=", "value": 1990})).tolist() == [True, False, False]
    with pytest.raises(OptionError, match="cannot be compared"):
        catalog.mask(Filter.parse({"field": "year", "op": ">=", "value": None}))
