from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from hexarec.core import IdTable, PerUser, Queries

from .makers import catalog_of, data_of

TABLE = PerUser.of(IdTable.of(["a", "b", "c"]), np.array([[1.0], [2.0], [3.0]]))


def asking(names):
    """Questions of these users, in a user table of their own ("" for nobody)."""
    queries = data_of([]).queries([0] * len(names))
    table = IdTable.of(dict.fromkeys(name for name in names if name))
    rows = [int(table.rows([name])[0]) if name else -1 for name in names]
    return replace(queries, users=table, user=np.array(rows, np.int32))


@given(st.lists(st.sampled_from(["a", "b", "c", "x", ""]), max_size=6), st.booleans())
def test_dense_is_the_row_of_each_known_user_and_zero_otherwise(names, sparse):
    table = replace(TABLE, values=csr_array(TABLE.values)) if sparse else TABLE
    values, known = table.dense(asking(names))
    assert known.tolist() == [name in ("a", "b", "c") for name in names]
    assert values.ravel().tolist() == [{"a": 1.0, "b": 2.0, "c": 3.0}.get(name, 0.0) for name in names]


def test_reading_does_not_write_into_the_table():
    TABLE.dense(asking(["x", "a"]))
    assert TABLE.values.ravel().tolist() == [1.0, 2.0, 3.0]


def test_a_row_marked_unknown_reads_as_zero():
    values, known = replace(TABLE, known=np.array([True, False, True])).dense(asking(["b", "c"]))
    assert values.ravel().tolist() == [0.0, 3.0] and known.tolist() == [False, True]


def test_an_empty_table_serves_strangers():
    table = PerUser.of(IdTable.of([]), np.zeros((0, 4), np.float32))
    values, known = table.dense(Queries.one(catalog_of(), user="x"))
    assert values.shape == (1, 4) and not known.any() and values.dtype == np.float32


@given(st.lists(st.sampled_from(["a", "b", "c", "x"]), max_size=4), st.booleans())
def test_forgetting_empties_exactly_those_rows_and_keeps_the_others_reachable(gone, sparse):
    table = replace(TABLE, values=csr_array(TABLE.values)) if sparse else TABLE
    after = table.forget(gone)
    values, known = after.dense(asking(["a", "b", "c"]))
    assert known.tolist() == [name not in gone for name in "abc"]
    assert values.ravel().tolist() == [
        0.0 if name in gone else n for name, n in zip("abc", (1.0, 2.0, 3.0), strict=True)
    ]
    assert not set(gone) & set(after.users.ids.tolist()) and len(after.users) == 3
    assert table.dense(asking(["a", "b", "c"]))[0].ravel().tolist() == [1.0, 2.0, 3.0]
    raw = after.values.toarray() if sparse else after.values
    assert raw.ravel().tolist() == values.ravel().tolist()


def test_forgetting_strangers_gives_the_same_table():
    assert TABLE.forget(["x"]) is TABLE


def test_questions_of_the_old_user_lineage_find_the_right_rows_after_forgetting():
    queries = replace(asking(["a", "b", "c"]), users=TABLE.users)
    values, known = TABLE.forget(["a"]).dense(queries)
    assert values.ravel().tolist() == [0.0, 2.0, 3.0] and known.tolist() == [False, True, True]


@given(st.lists(st.sampled_from(["a", "b", "c", "x"]), max_size=4), st.booleans())
def test_resetting_empties_the_same_rows_but_keeps_the_ids(gone, sparse):
    table = replace(TABLE, values=csr_array(TABLE.values)) if sparse else TABLE
    after, forgotten = table.reset(gone), table.forget(gone)
    assert after.users.ids.tolist() == ["a", "b", "c"] and after.users.key == table.users.key
    for one, other in zip(after.dense(asking(["a", "b", "c"])), forgotten.dense(asking(["a", "b", "c"])), strict=True):
        assert np.array_equal(one, other)
    assert table.dense(asking(["a"]))[0].tolist() == [[1.0]]


def test_new_users_get_rows_of_their_own_and_old_ones_stay():
    assert TABLE.with_users(["b", "a"]) is TABLE
    after = TABLE.with_users(["x", "b", "y", "x"])
    assert after.users.ids.tolist() == ["a", "b", "c", "x", "y"] and after.values.ravel().tolist() == [1, 2, 3, 0, 0]
    values, known = after.dense(asking(["x", "c", "nobody"]))
    assert known.tolist() == [False, True, False] and values.ravel().tolist() == [0.0, 3.0, 0.0]


def test_a_grown_table_does_not_line_up_with_the_log_that_grew_otherwise():
    """Row 3 is x here and z in a user table of the same lineage: who is asked for counts, not the row."""
    after = replace(TABLE.with_users(["x"]), known=np.ones(4, bool))
    queries = replace(asking(["a"]), users=TABLE.users.extend(["z"]), user=np.array([3], np.int32))
    assert not after.dense(queries)[1][0]
