import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import DataError, LineageError, Lists, best, fuse, ragged, rescored
from hexarec.testing import strategies

from .makers import cut, data_of

N, ITEMS = 3, 7
LISTS = strategies.lists(N, ITEMS)
SCORES = st.lists(st.sampled_from([float("-inf"), float("nan"), 0.0, 0.5, 1.0]), min_size=N * ITEMS, max_size=N * ITEMS)


def rows_of(lists):
    return cut(lists.offsets, lists.items)


def marks_follow(lists):
    return np.array_equal(lists.fields["mark"], 7 * lists.items.astype(int) + 1)


@given(LISTS, st.integers(0, 8))
def test_top_k_is_a_slice(lists, k):
    made = lists.top_k(k)
    assert rows_of(made) == [row[:k] for row in rows_of(lists)] and marks_follow(made)


@given(LISTS, st.lists(st.lists(st.integers(0, ITEMS + 3), max_size=4), min_size=N, max_size=N))
def test_without_drops_the_set_of_the_same_question(lists, sets):
    offsets = ragged.offsets_of(np.array([len(one) for one in sets]))
    made = lists.without(np.array([i for one in sets for i in one], np.int32), offsets)
    assert rows_of(made) == [[i for i in row if i not in gone] for row, gone in zip(rows_of(lists), sets, strict=True)]
    assert marks_follow(made)


@given(LISTS, st.data())
def test_where_and_take_are_list_operations(lists, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lists.items), max_size=len(lists.items))), bool)
    marks = cut(lists.offsets, keep)
    expected = [[i for i, kept in zip(row, mark, strict=True) if kept]
                for row, mark in zip(rows_of(lists), marks, strict=True)]  # fmt: skip
    assert rows_of(lists.where(keep)) == expected and marks_follow(lists.where(keep))
    wanted = data.draw(st.lists(st.integers(0, N - 1), max_size=5))
    assert rows_of(lists.take(np.array(wanted, np.int64))) == [rows_of(lists)[i] for i in wanted]


@given(LISTS, SCORES)
def test_scored_sorts_best_first_keeps_ties_in_place_and_nan_last(lists, drawn):
    scores = np.array(drawn[: len(lists.items)], np.float32)
    made = lists.scored(scores, "x")
    for row, own, values in zip(rows_of(made), rows_of(lists), cut(lists.offsets, scores), strict=True):
        order = sorted(
            range(len(own)), key=lambda j: (values[j] != values[j], -values[j] if values[j] == values[j] else 0)
        )
        assert row == [own[j] for j in order]
    assert marks_follow(made) and np.array_equal(made.fields["score.x"], made.scores, equal_nan=True)


@given(LISTS, st.integers(1, 8))
def test_padded_is_the_list_and_minus_one(lists, k):
    assert lists.padded(k).tolist() == [(row + [-1] * k)[:k] for row in rows_of(lists)]


def score_with(dense):
    return lambda queries: dense[queries.user]


@given(SCORES, st.integers(0, ITEMS + 2), st.integers(1, 4))
def test_best_is_a_sort_by_score_then_row_without_what_is_not_permitted(drawn, k, block):
    dense = np.array(drawn, np.float32).reshape(N, ITEMS)
    queries = data_of([(0, 1, 1), (0, 2, 1), (2, 6, 1)], n_items=ITEMS).queries()
    made = best(queries, score_with(dense), k, block=block)
    for i, row in enumerate(rows_of(made)):
        allowed = [j for j in range(ITEMS) if j not in queries[i].exclude and dense[i, j] > -np.inf]
        assert row == sorted(allowed, key=lambda j, i=i: (-dense[i, j], j))[:k]
        assert made[i].scores.tolist() == [dense[i, j] for j in row]


def test_best_of_equal_scores_falls_by_row_whatever_the_batch():
    queries = data_of([], n_users=4, n_items=ITEMS).queries()
    flat = np.zeros((4, ITEMS), np.float32)
    for block in (1, 3, 100):
        assert rows_of(best(queries, score_with(flat), 3, block=block)) == [[0, 1, 2]] * 4


def test_best_of_no_questions_and_of_a_narrow_scorer():
    data = data_of([], n_items=ITEMS)
    assert len(best(data.queries([]), lambda q: np.zeros((0, ITEMS), np.float32), 3)) == 0
    narrow = best(data.queries([0]), lambda q: np.zeros((1, 2), np.float32), 5)
    assert rows_of(narrow) == [[0, 1]]


def test_best_does_not_write_into_the_scorers_array():
    dense = np.ones((3, ITEMS), np.float32)
    best(data_of([(0, 1, 1)], n_items=ITEMS).queries(), lambda q: dense, 3)
    assert (dense == 1).all()


@given(LISTS, SCORES, st.integers(1, 4))
def test_rescored_looks_every_candidate_up_and_leaves_unknown_items_last(lists, drawn, block):
    dense = np.array(drawn, np.float32).reshape(N, ITEMS)[:, : ITEMS - 2]
    queries = data_of([], n_items=ITEMS, key="k").queries()
    made = rescored(queries, lists, score_with(dense), "x", block=block)
    assert [sorted(row) for row in rows_of(made)] == [sorted(row) for row in rows_of(lists)] and marks_follow(made)
    for i, one in enumerate(made):
        expected = [dense[i, j] if j < ITEMS - 2 else np.nan for j in one.items]
        assert np.array_equal(one.scores, np.array(expected, np.float32), equal_nan=True)


@given(st.lists(LISTS, min_size=1, max_size=3), st.data(), st.integers(0, 8))
def test_fuse_is_the_sum_of_reciprocal_ranks(parts, data, k):
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=len(parts), max_size=len(parts)))
    made = fuse(parts, weights, k)
    for i, row in enumerate(rows_of(made)):
        total, found = {}, {}
        for code, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            for rank, item in enumerate(rows_of(part)[i], 1):
                total[item] = total.get(item, 0.0) + weight / (60 + rank)
                found[item] = found.get(item, 0) | 1 << code
        assert row == sorted(total, key=lambda item, total=total: (-round(total[item], 12), item))[:k]
        np.testing.assert_allclose(made[i].scores, [total[item] for item in row], rtol=1e-6)
        if row:
            assert made[i].fields["source"].tolist() == [found[item] for item in row]


def test_fuse_wants_as_many_weights_as_lists_and_one_lineage():
    one = Lists.of("a", [[0]])
    with pytest.raises(DataError, match="as many weights"):
        fuse([one], [1.0, 2.0], 3)
    with pytest.raises(LineageError):
        fuse([one, Lists.of("b", [[0]])], [1.0, 1.0], 3)
    with pytest.raises(DataError, match="2 lists where 1"):
        fuse([one, Lists.of("a", [[0], [1]])], [1.0, 1.0], 3)


@given(st.lists(LISTS, min_size=1, max_size=3))
def test_join_puts_batches_one_after_another(parts):
    made = Lists.join(parts)
    assert rows_of(made) == [row for part in parts for row in rows_of(part)]
    assert not len(made.items) or marks_follow(made)


def test_join_moves_pointers_to_evidence_and_keeps_notes():
    one = Lists.of("k", [[0, 1]]).with_field("why", np.array([0, -1]))
    two = Lists.of("k", [[2]]).with_field("why", np.array([1]))
    one = Lists(one.key, one.offsets, one.items, one.scores, one.fields, ({"n": 1},), ("a",))
    two = Lists(two.key, two.offsets, two.items, two.scores, two.fields, (), ("b", "c"))
    made = Lists.join([one, two])
    assert [None if w < 0 else made.evidence[w] for w in made.fields["why"]] == ["a", None, "c"]
    assert made.notes == ({"n": 1}, {}) and made.take(np.array([1, 0])).notes == ({}, {"n": 1})


def test_join_drops_a_field_that_not_all_parts_have_but_ignores_empty_parts():
    marked = Lists.of("k", [[0]]).with_field("mark", np.array([1]))
    assert "mark" not in Lists.join([marked, Lists.of("k", [[1]])]).fields
    assert "mark" in Lists.join([Lists.empty("k", 2), marked]).fields


def test_permitted_takes_out_what_the_question_excludes():
    queries = data_of([(0, 1, 1), (1, 2, 1)]).queries([0, 1])
    assert rows_of(Lists.of("k", [[0, 1, 2], [0, 1, 2]]).permitted(queries)) == [[0, 2], [0, 1]]
    with pytest.raises(LineageError):
        Lists.of("other", [[0], [1]]).permitted(queries)


def test_lists_of_python_sequences_score_by_place_unless_scores_are_given():
    made = Lists.of("k", [[3, 1], [], [2]])
    assert made.scores.tolist() == [1.0, 0.5, 1.0] and made.lengths.tolist() == [2, 0, 1]
    assert Lists.of("k", [[3, 1]], [[5, 4]])[0].scores.tolist() == [5.0, 4.0]
    assert [len(one.items) for one in made] == [2, 0, 1] and made[0].note == {}
    with pytest.raises(DataError, match="1 scores for 2 items"):
        Lists.of("k", [[3, 1]], [[5]])


def test_columns_of_another_length_are_refused():
    made = Lists.of("k", [[3, 1]])
    for call in (lambda: made.scored(np.zeros(3)), lambda: made.with_field("x", np.zeros(1))):
        with pytest.raises(DataError, match="for 2 items"):
            call()


def test_dropping_a_field_leaves_the_others():
    made = Lists.of("k", [[3]]).with_field("a", np.array([1])).with_field("b", np.array([2]))
    assert set(made.dropping("a", "unknown").fields) == {"b"}
