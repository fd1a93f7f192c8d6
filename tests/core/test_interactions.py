from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import KINDS, DataError, Event, History, Interactions
from hexarec.testing.strategies import logs

from .makers import cut

EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 4)), max_size=12)


def log_of(events, n_users=4, **more):
    user, item, time = (np.array(column) for column in zip(*events, strict=True)) if events else (np.zeros(0),) * 3
    return Interactions.of({"user": user, "item": item, "time": time, **more}, n_users)


@given(EVENTS)
def test_the_log_is_sorted_by_user_and_time_and_equal_times_keep_their_order(events):
    log = log_of(events)
    expected = [[(e[1], float(e[2])) for e in sorted((e for e in events if e[0] == u), key=lambda e: e[2])]
                for u in range(4)]  # fmt: skip
    assert [list(zip(*pair, strict=True)) for pair in zip(cut(log.offsets, log.item), cut(log.offsets, log.time),
                                                          strict=True)] == expected  # fmt: skip
    assert log.n_users == 4 and len(log) == len(events) and log.liked.all()


@given(logs(4, 5), st.data())
def test_where_keeps_the_marked_events_of_the_same_users(log, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(log), max_size=len(log))), bool)
    made = log.where(keep)
    assert made.item.tolist() == log.item[keep].tolist() and made.n_users == log.n_users
    assert np.array_equal(np.repeat(np.arange(4), np.diff(made.offsets)), made.user)


@given(logs(4, 5), st.integers(-1, 11))
def test_before_is_strict(log, moment):
    made = log.before(float(moment))
    assert (made.time < moment).all() and len(made) == int((log.time < moment).sum())


@given(logs(4, 5), st.booleans())
def test_matrix_and_counts_sum_what_a_loop_sums(log, liked):
    dense = np.zeros((4, 5), np.float32)
    counts = np.zeros(5, np.int64)
    for user, item, weight, like in zip(log.user, log.item, log.weight, log.liked, strict=True):
        if like or not liked:
            dense[user, item] += weight
            counts[item] += 1
    assert np.array_equal(log.matrix(5, liked=liked).toarray(), dense)
    assert np.array_equal(log.counts(5, liked=liked), counts)


def test_columns_left_out_have_their_defaults_and_text_follows_its_event():
    log = log_of([(1, 0, 2), (0, 1, 1)], text=np.array(["later", "first"], object))
    assert log.kind.tolist() == [KINDS.index("click")] * 2 and np.isnan(log.value).all()
    assert log.text.tolist() == ["first", "later"] and log.where(np.array([False, True])).text.tolist() == ["later"]
    assert Event("u", "i", 1.0).kind == "click"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"user": [0], "item": [0, 1], "time": [0.0]}, "unequal length"),
        ({"user": [9], "item": [0], "time": [0.0]}, "does not exist"),
        ({"user": [-1], "item": [0], "time": [0.0]}, "does not exist"),
        ({"user": [0], "item": [-1], "time": [0.0]}, "does not exist"),
        ({"user": [0], "item": [0], "time": [np.nan]}, "not a finite"),
        ({"user": [0], "item": [0], "time": [np.inf]}, "not a finite"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, words):
    with pytest.raises(DataError, match=words):
        Interactions.of({name: np.array(column) for name, column in columns.items()}, 2)


def test_events_of_one_source():
    log = log_of([(0, 0, 0), (0, 1, 1), (1, 2, 0)], source=np.array([0, 1, 1]), sources=("log", "sim:x"))
    assert log.of_source("log").item.tolist() == [0] and log.of_source("sim:x").item.tolist() == [1, 2]
    assert len(log.of_source("unknown")) == 0


@pytest.mark.parametrize("name", ["item", "time", "kind", "value", "liked", "weight"])
def test_the_digest_sees_every_column(name):
    log = log_of([(0, 0, 0), (0, 1, 1)])
    column = getattr(log, name).copy()
    column[0] = not column[0] if column.dtype == bool else 3
    assert replace(log, **{name: column}).digest != log.digest == log_of([(0, 0, 0), (0, 1, 1)]).digest


def history_of(rows):
    flat = [item for row in rows for item in row]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    n = len(flat)
    return History(offsets, np.array(flat, np.int32), np.arange(n, dtype=float), np.zeros(n, np.int8),
                   np.zeros(n, np.float32), np.array([item % 2 == 0 for item in flat], bool))  # fmt: skip


ROWS = st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=5)


@given(ROWS, st.integers(0, 6))
def test_last_keeps_the_newest_oldest_first(rows, n):
    made = history_of(rows).last(n)
    assert cut(made.offsets, made.item) == [row[len(row) - n :] if n < len(row) else row for row in rows]


@given(ROWS, st.data())
def test_take_and_where_of_histories_are_list_operations(rows, data):
    history = history_of(rows)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5))
    taken = history.take(np.array(wanted, np.int64))
    assert cut(taken.offsets, taken.item) == [rows[i] for i in wanted]
    liked = history.where(history.liked)
    assert cut(liked.offsets, liked.item) == [[item for item in row if item % 2 == 0] for row in rows]
    assert history.lengths.tolist() == [len(row) for row in rows]


@given(ROWS, st.booleans())
def test_a_history_matrix_has_one_for_each_item_and_drops_newer_items(rows, liked):
    dense = np.zeros((len(rows), 4))
    for i, row in enumerate(rows):
        for item in row:
            if item < 4 and (item % 2 == 0 or not liked):
                dense[i, item] = 1
    assert np.array_equal(history_of(rows).matrix(4, liked=liked).toarray(), dense)


def test_an_empty_history_is_empty_for_each_query():
    made = History.empty(3)
    assert len(made) == 3 and made.lengths.tolist() == [0, 0, 0] and made.matrix(2).nnz == 0


def test_last_takes_a_number_too_large_for_an_array():
    assert history_of([[1, 2], [3]]).last(10**30).item.tolist() == [1, 2, 3]
