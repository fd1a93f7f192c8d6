from bisect import bisect_left

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import ragged

from .makers import cut

SEGMENTS = st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=6)


def flat_of(rows):
    offsets = ragged.offsets_of(np.array([len(row) for row in rows], np.int64))
    return offsets, np.array([value for row in rows for value in row], np.int64)


@given(SEGMENTS)
def test_segments_and_positions_are_those_of_lists(rows):
    offsets, flat = flat_of(rows)
    assert cut(offsets, flat) == rows
    assert ragged.segments(offsets).tolist() == [i for i, row in enumerate(rows) for _ in row]
    assert ragged.positions(offsets).tolist() == [j for row in rows for j in range(len(row))]


@given(SEGMENTS, st.data())
def test_gather_takes_segments_in_any_order_and_repeats_them(rows, data):
    offsets, flat = flat_of(rows)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6)) if rows else []
    made, index = ragged.gather(offsets, np.array(wanted, np.int64))
    assert cut(made, flat[index]) == [rows[i] for i in wanted]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_spans_are_ranges_and_backward_spans_are_empty(pairs):
    starts, stops = (
        (np.array(side, np.int64) for side in zip(*pairs, strict=True)) if pairs else (np.zeros(0, int),) * 2
    )
    made, index = ragged.spans(starts, stops)
    assert cut(made, index) == [list(range(a, b)) for a, b in pairs]


@given(SEGMENTS, st.data())
def test_kept_cuts_what_a_mask_leaves(rows, data):
    offsets, flat = flat_of(rows)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(flat), max_size=len(flat))), bool)
    marks = cut(offsets, keep)
    expected = [[v for v, kept in zip(row, mark, strict=True) if kept] for row, mark in zip(rows, marks, strict=True)]
    assert cut(ragged.kept(offsets, keep), flat[keep]) == expected


@given(SEGMENTS)
def test_order_within_sorts_each_segment_and_is_stable(rows):
    offsets, flat = flat_of(rows)
    order = ragged.order_within(offsets, flat)
    assert cut(offsets, flat[order]) == [sorted(row) for row in rows]
    expected = [sorted(range(len(row)), key=row.__getitem__) for row in rows]
    assert cut(offsets, ragged.positions(offsets)[order]) == expected


def test_order_within_puts_nan_last():
    offsets = np.array([0, 3, 5])
    order = ragged.order_within(offsets, np.array([np.nan, 2.0, 1.0, np.nan, 0.0]))
    assert order.tolist() == [2, 1, 0, 4, 3]


@given(SEGMENTS, st.data())
def test_count_before_is_bisect_left(rows, data):
    rows = [sorted(row) for row in rows]
    offsets, flat = flat_of(rows)
    asked = (
        data.draw(st.lists(st.tuples(st.integers(0, len(rows) - 1), st.integers(-1, 6)), max_size=6)) if rows else []
    )
    wanted = np.array([i for i, _ in asked], np.int64)
    now = np.array([t for _, t in asked], np.float64)
    made = ragged.count_before(offsets, flat.astype(np.float64), wanted, now)
    assert made.tolist() == [bisect_left(rows[i], t) for i, t in asked]


def test_count_before_an_endless_moment_counts_everything_and_in_an_empty_log_nothing():
    offsets = np.array([0, 2, 2])
    assert ragged.count_before(offsets, np.array([1.0, 2.0]), np.array([0, 1]), np.full(2, np.inf)).tolist() == [2, 0]
    assert ragged.count_before(np.zeros(3, np.int64), np.zeros(0), np.array([0, 1]), np.ones(2)).tolist() == [0, 0]


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_member_is_in(pairs, of):
    made = ragged.member(np.array(pairs, np.int64), np.array(of, np.int64))
    assert made.tolist() == [pair in of for pair in pairs]
