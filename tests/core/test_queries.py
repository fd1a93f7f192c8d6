from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import DataError, Event, IdTable, Item, OptionError, Queries, ragged, strings
from hexarec.testing import strategies

from .makers import catalog_of, cut, data_of

YEARS = catalog_of(4, year=[1990.0, 1995.0, 2000.0, None])


def may_answer(query, catalog, row):
    """Whether one item may be answered, by a plain reading of the rules."""
    passes = query.where is None or bool(catalog.mask(query.where)[row])
    return bool(catalog.alive[row]) and catalog.since[row] <= query.now and row not in query.exclude and passes


def with_since(queries, finite):
    """The questions over a catalog some of whose items come out at 5."""
    since = np.where(np.arange(len(queries.catalog)) % 3 == 1, 5.0, -np.inf)
    return replace(queries, catalog=replace(queries.catalog, since=since)) if finite else queries


@given(strategies.queries(), st.booleans())
def test_permits_and_forbidden_agree_with_a_loop_over_the_rules(queries, finite):
    queries = with_since(queries, finite)
    n = len(queries.catalog)
    naive = np.array([[may_answer(query, queries.catalog, row) for row in range(n)] for query in queries], bool)
    naive = naive.reshape(len(queries), n)
    assert np.array_equal(~queries.forbidden(n), naive)
    offsets = np.arange(len(queries) + 1) * n
    assert np.array_equal(queries.permits(offsets, np.tile(np.arange(n, dtype=np.int32), len(queries))), naive.ravel())


@given(strategies.queries(), st.integers(0, 8))
def test_a_stage_that_knows_fewer_items_gets_a_narrower_mask(queries, width):
    width = min(width, len(queries.catalog))
    assert np.array_equal(queries.forbidden(width), queries.forbidden(len(queries.catalog))[:, :width])


def test_an_item_that_never_comes_out_is_forbidden_as_it_is_not_permitted():
    queries = data_of([], n_items=2).queries([0], now=1.0)
    queries = replace(queries, catalog=replace(queries.catalog, since=np.array([-np.inf, np.inf])))
    assert queries.permits(np.array([0, 2]), np.array([0, 1], np.int32)).tolist() == [True, False]
    assert queries.forbidden(2).tolist() == [[False, True]]


def same(one, other):
    assert one.items == other.items and one.user == other.user and one.exclude == other.exclude
    assert (one.now, one.where, one.lang, one.seed, one.text) == (
        other.now,
        other.where,
        other.lang,
        other.seed,
        other.text,
    )


@given(strategies.queries(), st.data())
def test_take_takes_by_index_mask_and_slice(queries, data):
    n = len(queries)
    wanted = data.draw(st.lists(st.integers(0, n - 1), max_size=5)) if n else []
    for one, i in zip(queries.take(np.array(wanted, np.int64)), wanted, strict=True):
        same(one, queries[i])
    mask = np.arange(n) % 2 == 0
    assert [q.user for q in queries.take(mask)] == [q.user for q in queries][::2]
    assert [q.user for q in queries.take(slice(1, 3))] == [q.user for q in queries][1:3]


@given(strategies.queries(), st.integers(1, 4))
def test_blocks_cover_the_batch_once_in_order(queries, size):
    places, parts = zip(*queries.blocks(size), strict=True) if len(queries) else ((), ())
    assert [q.user for part in parts for q in part] == [q.user for q in queries]
    assert all(len(part) <= size for part in parts)
    assert [i for place in places for i in range(place.start, place.stop)] == list(range(len(queries)))


def test_one_question_for_somebody_never_seen():
    catalog = YEARS
    query = Queries.one(catalog, user="new", history=["i2", "i0"], text="something calm", lang="zh", seed=3,
                        where={"field": "year", "op": ">=", "value": 1995}, context={"scene": "home"})[0]  # fmt: skip
    assert query.items == (2, 0) and query.user == "new" and query.exclude == {0, 2} and query.lang == "zh"
    assert query.text == "something calm" and query.context == {"scene": "home"} and query.where.field == "year"
    assert (query.kinds, query.liked, query.seed) == (("click", "click"), (True, True), 3)
    assert Queries.one(catalog)[0].user is None


def test_one_question_drops_what_comes_later_and_sorts_the_rest():
    events = [Event("u", "i1", 5.0), Event("u", "i0", 1.0), Event("u", "i2", 9.0), Event("u", "i3", 7.0)]
    query = Queries.one(YEARS, user="u", history=events, now=7.0)[0]
    assert query.items == (0, 1) and query.times == (1.0, 5.0)


def test_what_somebody_hid_or_rated_low_is_history_but_not_liked():
    events = [Event("u", "i0", 1, "hide"), Event("u", "i1", 2, "rate", 2.0), Event("u", "i2", 3, "rate", 5.0),
              Event("u", "i3", 4, "no such kind")]  # fmt: skip
    query = Queries.one(YEARS, user="u", history=events, like=4.0)[0]
    assert query.liked == (False, False, True, True) and query.kinds == ("hide", "rate", "rate", "click")


def test_exclusions_given_replace_those_of_the_history():
    assert Queries.one(YEARS, history=["i0"], exclude=["i1", "gone"])[0].exclude == {1}
    assert Queries.one(YEARS, history=["i0"], exclude=[])[0].exclude == frozenset()


def test_a_history_with_an_unknown_item_is_refused_by_name():
    with pytest.raises(DataError, match="'nope'"):
        Queries.one(YEARS, history=["i0", "nope"])


def test_a_filter_that_does_not_fit_the_catalog_is_refused_when_it_is_set():
    with pytest.raises(OptionError, match="did you mean 'year'"):
        Queries.one(YEARS, where={"field": "yeer", "op": "=", "value": 1})


@given(strategies.queries(), st.permutations(["u3", "u1", "x", "u0"]))
def test_users_are_found_by_id_in_any_other_table(queries, ids):
    table = IdTable.of(ids)
    expected = [ids.index(q.user) if q.user in ids else -1 for q in queries]
    assert queries.user_rows(table).tolist() == expected


def test_nobody_is_in_no_table_and_newer_users_are_unknown_to_an_older_one():
    old = IdTable.of(["a"])
    new = old.extend(["b"])
    queries = data_of([]).queries([0, 1, 2])
    queries = replace(queries, users=new, user=np.array([0, 1, -1], np.int32))
    assert queries.user_rows(old).tolist() == [0, -1, -1] and queries.user_ids() == ["a", "b", ""]
    assert queries.user_rows(IdTable.of(["b", "a"])).tolist() == [1, 0, -1]


def test_excluding_and_with_history_change_nothing_else():
    queries = data_of([(0, 0, 1), (1, 1, 1)]).queries([0, 1])
    other = queries.excluding(np.array([4, 3, 2], np.int32), np.array([0, 1, 3]))
    assert cut(other.exclude_offsets, other.exclude) == [[4], [3, 2]] and other[0].items == (0,)
    silent = queries.with_history(replace(queries.history, item=queries.history.item[::-1]))
    assert silent[0].items == (1,) and silent[0].exclude == {0}


def test_each_question_may_have_its_own_filter():
    queries = replace(data_of([]).queries([0, 1, 2]), catalog=YEARS)
    both = queries.filtered({"field": "year", "op": "=", "value": 1990})
    both = replace(both, where=np.array([0, -1, 0], np.int32), text=strings([None, "x", None]))
    assert (~both.forbidden(4)).tolist() == [[True, False, False, False], [True] * 4, [True, False, False, False]]
    assert both[1].where is None and both.take(np.array([1]))[0].text == "x"


def test_an_exclusion_of_an_item_added_later_does_no_harm_to_an_older_stage():
    data = data_of([], n_items=2).with_items([Item("new", "New")])
    queries = Queries.one(data.catalog, history=["new", "i1"])
    assert queries.forbidden(2).tolist() == [[False, True]]
    assert ragged.offsets_of(queries.history.lengths).tolist() == [0, 2]
