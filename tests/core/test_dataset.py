import sys
from bisect import bisect_left
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import Catalog, DataError, Dataset, Features, IdTable, Interactions, Item, Users, strings
from hexarec.testing.strategies import datasets

from .makers import catalog_of, cut, data_of


@given(datasets(), st.lists(st.integers(0, 3), max_size=6), st.integers(-1, 11))
def test_a_question_knows_exactly_what_came_before_its_moment(data, users, now):
    queries = data.queries(users, now=float(now))
    log = data.interactions
    for i, user in enumerate(users):
        low, high = log.offsets[user : user + 2]
        n = bisect_left(log.time[low:high].tolist(), now)
        assert queries[i].items == tuple(log.item[low : low + n].tolist())
        assert queries[i].exclude == frozenset(queries[i].items) and queries[i].user == f"u{user}"
    assert queries.now.tolist() == [float(now)] * len(users)


def test_each_question_may_have_its_own_moment_and_a_user_may_ask_twice():
    data = data_of([(0, 0, 1), (0, 1, 2), (0, 2, 3)])
    queries = data.queries([0, 0, 1], now=np.array([2.0, 9.0, 9.0]))
    assert [q.items for q in queries] == [(0,), (0, 1, 2), ()]


def test_by_default_everybody_asks_at_the_end_in_the_catalogs_language():
    data = data_of([(0, 0, 1), (2, 1, 2)])
    queries = data.queries(seed=7)
    assert [q.items for q in queries] == [(0,), (), (1,)] and queries[1].now == np.inf
    assert queries[0].lang == "en" and queries[0].seed == 7 and data.queries(lang="zh")[0].lang == "zh"


@pytest.mark.parametrize("users", [[-1], [3]])
def test_a_user_row_that_does_not_exist_is_refused(users):
    with pytest.raises(DataError, match="user row"):
        data_of([]).queries(users)


def test_the_key_follows_everything_a_stage_may_learn_from():
    data = data_of([(0, 0, 1)])
    assert data.key == data_of([(0, 0, 1)]).key
    rows = Features(np.zeros((5, 2), np.float32), np.ones(5, bool))
    others = (
        data_of([(0, 1, 1)]), data.with_items([Item("new", "New")]), data.with_features("f", rows),
        replace(data, catalog=data.catalog.remove(["i0"])),
        replace(data, users=Users(IdTable.of(["a", "b", "c"]))),
    )  # fmt: skip
    keys = [one.key for one in others]
    assert len({data.key, *keys}) == len(others) + 1


@given(datasets(), st.lists(st.sampled_from([f"i{n}" for n in range(10)] + ["x", "y"]), unique=True, max_size=10))
def test_onto_maps_items_by_id_and_appends_what_is_unknown(data, ids):
    table = IdTable.of(ids, "other")
    moved = data.onto(table)
    assert moved.catalog.key == "other" and moved.catalog.items.ids[: len(ids)].tolist() == ids
    before, after = data.catalog.items.ids, moved.catalog.items.ids
    assert [before[row] for row in data.interactions.item] == [after[row] for row in moved.interactions.item]
    for item in data.catalog:
        assert moved.catalog[item.id] == item
    for one in ids:
        if one not in data.catalog.items:
            assert not moved.catalog.alive[moved.catalog.rows([one])[0]]
    assert sorted(after) == sorted({*before, *ids})


def test_onto_the_same_lineage_is_free_and_features_follow_their_items():
    data = data_of([(0, 0, 1)], n_items=2)
    assert data.onto(data.catalog.items) is data
    rows = Features(np.array([[1.0], [2.0]], np.float32), np.array([True, True]))
    users = Features(np.ones((3, 1), np.float32), np.ones(3, bool))
    moved = data.with_features("f", rows).with_features("users", users).onto(IdTable.of(["x", "i1"], "o"))
    assert moved.features["f"].rows.ravel().tolist() == [0.0, 2.0, 1.0]
    assert moved.features["f"].mask.tolist() == [False, True, True]


def test_with_log_and_with_items_share_the_rest():
    data = data_of([(0, 0, 1)])
    assert data.with_log(data.interactions.before(0.0)).catalog is data.catalog
    assert data.with_items([Item("i9", "Nine")]).n_items == 6 and data.n_items == 5 and data.n_users == 3


class Calls:
    """Counts Python function calls while it is open."""

    def __enter__(self):
        self.n = 0
        sys.setprofile(self._seen)
        return self

    def _seen(self, frame, event, argument):
        self.n += event == "call"

    def __exit__(self, *failure):
        sys.setprofile(None)


def test_a_million_questions_are_built_and_cut_without_a_python_loop():
    n, events = 1_000_000, 2_000_000
    draw = np.random.default_rng(0)
    columns = {"user": draw.integers(0, n, events), "item": draw.integers(0, 50, events), "time": draw.random(events)}
    ids = IdTable(strings(np.arange(n).astype(str).tolist()), "many")
    data = Dataset(catalog_of(50), Interactions.of(columns, n), Users(ids))
    data.queries([0]).history.matrix(50)  # the first call imports scipy, which is not what is counted
    with Calls() as calls:
        queries = data.queries(now=0.5)
        some = queries.take(np.arange(0, n, 2))
        some.history.last(3)
        made = some.history.matrix(50)
        queries.permits(queries.history.offsets, queries.history.item)
    assert len(some) == n // 2 and made.shape == (n // 2, 50) and made.nnz > 0
    assert (queries.history.time < 0.5).all()
    assert calls.n < 5_000


def test_the_call_counter_sees_a_loop():
    with Calls() as calls:
        for _ in range(6_000):
            cut([0, 0], [])
    assert calls.n >= 5_000


def test_simulated_data_says_so():
    log = Interactions.of({"user": [], "item": [], "time": []}, 0)
    assert not Dataset(Catalog.of([]), log, Users(IdTable.of([]))).simulated


def test_hashes_of_texts_follow_their_items_onto_another_lineage():
    import numpy as np

    from hexarec.core import Catalog, Dataset, Features, IdTable, Interactions, Item, Users

    catalog = Catalog.of([Item(one, one) for one in "abc"])
    data = Dataset(catalog, Interactions.of({"user": [], "item": [], "time": []}, 0), Users(IdTable.of([])))
    rows = np.arange(3, dtype=np.float32)[:, None]
    data = data.with_features("f", Features(rows, np.ones(3, bool), {"maker": "m", "hashes": "ha\nhb\nhc"}))
    moved = data.onto(IdTable.of(["new", "c", "a"], "other")).features["f"]
    assert moved.provenance == {"maker": "m", "hashes": "\nhc\nha\nhb"}
    assert moved.rows[:, 0].tolist() == [0.0, 2.0, 0.0, 1.0] and moved.mask.tolist() == [False, True, True, True]
