"""Position bias, popularity by rank, Kendall's tau against scipy, rank variance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import DataError, Lists, OptionError
from hexarec.metrics import kendall, mean_kendall, popularity_by_rank, position_bias, prompt_order, rank_variance
from hexarec.metrics import position as P


def test_bias_of_a_ranker_that_keeps_the_prompt_order_is_total():
    shown = Lists.of("c", [[3, 1, 2], [5, 4, 6], [7, 8]])
    made = position_bias(shown, shown, 1)
    np.testing.assert_allclose(made.rate, [1, 0, 0])
    assert made.counted.tolist() == [3, 3, 2] and made.spread == 1
    other = position_bias(Lists.of("c", [[1, 3, 2], [5, 6, 4], [8]]), shown, 2)
    np.testing.assert_allclose(other.rate, [2 / 3, 2 / 3, 1 / 2])


def test_a_blind_shuffler_is_flat():
    rng = np.random.default_rng(0)
    n, m, k = 20_000, 10, 3
    shown = Lists.of("c", rng.permuted(np.tile(np.arange(m), (n, 1)), axis=1).tolist())
    ranked = Lists.of("c", rng.permuted(np.tile(np.arange(m), (n, 1)), axis=1).tolist())
    made = position_bias(ranked, shown, k)
    np.testing.assert_allclose(made.rate, k / m, atol=0.02)
    assert made.spread < 0.03


def test_prompt_order_comes_from_the_notes():
    lists = replace(Lists.of("c", [[1, 2], [3], [4]]), notes=({"order": [2, 1]}, {}, {"order": np.array([4, 9])}))
    shown = prompt_order(lists)
    assert [one.items.tolist() for one in shown] == [[2, 1], [], [4, 9]]
    np.testing.assert_allclose(position_bias(lists, shown, 1).rate, [1 / 2, 1 / 2])
    with pytest.raises(DataError):
        prompt_order(Lists.of("c", [[1]]))
    with pytest.raises(DataError):
        prompt_order(lists, "other")


def test_popularity_by_rank():
    made = popularity_by_rank(Lists.of("c", [[0, 1], [1], [9, 0]]), np.array([10, 4]), 3)
    np.testing.assert_allclose(made.rate, [14 / 3, 7, np.nan])
    assert made.counted.tolist() == [3, 2, 0] and made.spread == pytest.approx(7 - 14 / 3)


@given(st.lists(st.tuples(st.permutations(range(7)), st.permutations(range(9)), st.integers(0, 7)), min_size=1))
@settings(max_examples=60, deadline=None)
def test_kendall_against_scipy(rows):
    from scipy.stats import kendalltau

    ours = [list(a)[:cut] for a, _, cut in rows]
    theirs = [list(b) for _, b, _ in rows]
    want = [kendalltau(range(len(a)), [b.index(i) for i in a]).statistic if len(a) > 1 else np.nan
            for a, b in zip(ours, theirs, strict=True)]  # fmt: skip
    np.testing.assert_allclose(kendall(Lists.of("c", ours), Lists.of("c", theirs)).values, want, atol=1e-12)


def test_kendall_ends_symmetry_and_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    one = Lists.of("c", [rng.permutation(8).tolist() for _ in range(50)])
    other = Lists.of("c", [rng.permutation(8).tolist() for _ in range(50)])
    turned = Lists.of("c", [row.items[::-1].tolist() for row in one])
    assert kendall(one, one).value == 1 and kendall(one, turned).value == -1
    whole = kendall(one, other).values
    np.testing.assert_allclose(whole, kendall(other, one).values)
    monkeypatch.setattr(P, "BUDGET", 20)
    np.testing.assert_array_equal(whole, kendall(one, other).values)


def test_mean_kendall_is_over_all_pairs_of_runs_that_share_items():
    runs = [
        Lists.of("c", [[1, 2, 3], [4, 5], [6]]),
        Lists.of("c", [[3, 2, 1], [4, 5], [7]]),
        Lists.of("c", [[1, 2, 3], [], [6]]),
    ]
    made = mean_kendall(runs)
    assert made.values[:2].tolist() == pytest.approx([(-1 + 1 - 1) / 3, 1.0]) and np.isnan(made.values[2])
    assert made.value == pytest.approx((-1 / 3 + 1) / 2)
    with pytest.raises(OptionError):
        mean_kendall(runs[:1])


def test_rank_variance():
    runs = [Lists.of("c", rows) for rows in ([[1, 2, 3], [4], [5]], [[2, 1, 3], [4], [6]], [[1, 2], [4], [5]])]
    made = rank_variance(runs)
    np.testing.assert_allclose(made.values, [np.var([0, 1, 0]), 0, np.nan])
    assert rank_variance([runs[0], runs[0]]).value == 0
    with pytest.raises(OptionError):
        rank_variance(runs[:1])
