import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import DataError, MissingExtraError, rng
from hexarec.parts.vectors import Nearest, unit, whiten


def drawn(n, d, name="v"):
    return rng(0, name).normal(size=(n, d)).astype(np.float32)


def test_unit_rows_have_length_1_and_zero_rows_stay():
    made = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert made.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]] and made.dtype == np.float32


def test_whitened_rows_have_mean_zero_and_unit_covariance():
    rows = drawn(200, 4) @ np.diag([5.0, 1.0, 0.3, 2.0]).astype(np.float32) + 7
    mean, axes = whiten(rows, np.ones(200, bool))
    made = (rows - mean) @ axes
    np.testing.assert_allclose(made.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(made.T), np.eye(4), atol=1e-3)


def test_whitening_keeps_the_widest_axes_and_leaves_out_those_without_width():
    rows = np.hstack([drawn(50, 2), np.zeros((50, 3), np.float32)])
    assert whiten(rows, np.ones(50, bool))[1].shape == (5, 2) and whiten(rows, np.ones(50, bool), 1)[1].shape == (5, 1)


def test_whitening_looks_only_at_the_masked_rows_and_needs_two():
    rows = drawn(20, 3)
    mask = np.arange(20) < 10
    poisoned = np.where(mask[:, None], rows, 1e6).astype(np.float32)
    assert np.array_equal(whiten(rows, mask)[1], whiten(poisoned, mask)[1])
    mean, axes = whiten(rows, np.zeros(20, bool), 2)
    assert not mean.any() and np.array_equal(axes, np.eye(3, 2))


def test_whitening_has_fixed_signs():
    rows = drawn(30, 3)
    _, axes = whiten(rows, np.ones(30, bool))
    _, again = whiten(rows[::-1].copy(), np.ones(30, bool))
    np.testing.assert_allclose(axes, again, atol=1e-3)


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 14), st.integers(1, 3), st.data())
def test_search_is_a_sort_by_cosine_then_row(n, m, k, block, data):
    rows = data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 2), min_size=n, max_size=n))
    rows = np.array(rows, np.float32)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    queries = drawn(m, 2, "queries")
    found, cosines = Nearest().build(rows, mask).search(queries, k, block=block)
    size = min(k, int(mask.sum()))
    assert found.shape == cosines.shape == (m, size)
    near = unit(queries) @ unit(rows).T
    for i in range(m):
        expected = sorted(np.flatnonzero(mask), key=lambda j, i=i: -near[i, j])[:size]
        np.testing.assert_allclose(cosines[i], near[i][expected], atol=1e-6)
        assert len(set(found[i].tolist())) == size and mask[found[i]].all()
        np.testing.assert_allclose(near[i][found[i]], cosines[i], atol=1e-6)


def test_nothing_known_is_nothing_found():
    found, cosines = Nearest().build(np.zeros((3, 2), np.float32), np.zeros(3, bool)).search(np.ones((2, 2)), 5)
    assert found.shape == (2, 0) and cosines.shape == (2, 0)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(DataError, match="1 axes, not 2"):
        Nearest().build(np.zeros(3, np.float32))


def test_the_approximate_index_names_the_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtraError, match="usearch.*\n.*hexarec\\[scale\\]"):
        Nearest(approximate=True).build(drawn(3, 2))


def test_approximate_neighbours_are_nearly_all_the_true_ones():
    pytest.importorskip("usearch")
    rows = drawn(20_000, 32, "rows")
    asked = drawn(300, 32, "asked")
    exact, near = Nearest().build(rows), Nearest(exact_up_to=10_000).build(rows)
    assert exact._index is None and near._index is not None
    true, _ = exact.search(asked, 10)
    found, cosines = near.search(asked, 10)
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(true.tolist(), found.tolist(), strict=True)])
    assert recall >= 0.95
    # best first, and each cosine is that of the row it stands beside
    assert (np.diff(cosines, axis=1) <= 1e-6).all()
    np.testing.assert_allclose(cosines, np.einsum("qd,qkd->qk", unit(asked), unit(rows)[found]), atol=1e-5)


def test_the_approximate_index_holds_only_masked_rows_and_serves_one_question():
    pytest.importorskip("usearch")
    rows, mask = drawn(500, 16), np.arange(500) % 7 == 0
    near = Nearest(approximate=True).build(rows, mask)
    found, cosines = near.search(rows[:1], 10)
    assert found.shape == cosines.shape == (1, 10) and mask[found].all() and found[0, 0] == 0
    few = Nearest(approximate=True).build(rows, np.arange(500) < 3)
    assert sorted(few.search(rows[:2], 10)[0][1].tolist()) == [0, 1, 2]
    none = Nearest(approximate=True).build(rows, np.zeros(500, bool))
    assert none.search(rows[:2], 10)[0].shape == (2, 0)
