import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Lists, rng
from hexarec.parts.determinant import COPY, Determinant
from hexarec.parts.greedy import blocks, greedy


def gram(seed, m, d, words="kernel"):
    """A positive semi-definite kernel (m, m) of rank d with ones on the diagonal."""
    rows = rng(seed, words).normal(size=(m, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = rows @ rows.T
    np.fill_diagonal(made, 1.0)
    return made


def looked_up(kernel):
    return lambda picked, items: kernel[picked[:, None], items]


def block_of(*scores):
    """One list per row of scores, each of the items 0, 1, ...; scores best first."""
    lists = Lists.of("k", [list(range(len(row))) for row in scores], scores)
    return next(blocks(lists, 10**6))


def falling(seed, m):
    return np.sort(rng(seed, "scores").random(m))[::-1].tolist()


def picked(kernel, block, strength, k, **more):
    s = np.full(len(block.items), float(strength))
    return greedy(block, k, Determinant(block, looked_up(kernel), s, **more))


def log_det(kernel, some):
    return np.linalg.slogdet(kernel[np.ix_(some, some)])[1] if len(some) else 0.0


def naive(kernel, relevance, strength, k, window=None):
    """Greedy by determinants computed anew for every candidate: O(k^4 m)."""
    picks = []
    for _ in range(k):
        held = picks if window is None else picks[len(picks) - min(window, len(picks)) :]
        left = [i for i in range(len(relevance)) if i not in picks]
        gain = [
            (1 - strength) * relevance[i] + strength * (log_det(kernel, [*held, i]) - log_det(kernel, held))
            for i in left
        ]
        picks.append(left[int(np.argmax(gain))])
    return picks


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14), st.integers(1, 8), st.floats(0.01, 1.0))
def test_greedy_equals_naive_greedy_by_log_determinants(seed, m, k, strength):
    kernel, block = gram(seed, m, m + 2), block_of(falling(seed, m))
    made = picked(kernel, block, strength, min(k, m))
    assert made[0].tolist() == naive(kernel, block.relevance[0], strength, min(k, m))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 12), st.integers(1, 4))
def test_marginal_gains_are_ratios_of_determinants(seed, m, k):
    kernel, block = gram(seed, m, m + 2), block_of(falling(seed, m))
    made = Determinant(block, looked_up(kernel), np.array([1.0]))
    picks = []
    for pick in rng(seed, "picks").permutation(m)[:k].tolist():
        made.take(np.array([pick]))
        picks.append(pick)
        rest = [i for i in range(m) if i not in picks]
        want = [log_det(kernel, [*picks, i]) - log_det(kernel, picks) for i in rest]
        np.testing.assert_allclose(made.value()[0, rest], want, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 14), st.integers(1, 4), st.floats(0.05, 1.0))
def test_a_window_looks_at_the_newest_picks_only(seed, m, window, strength):
    kernel, block = gram(seed, m, m + 2), block_of(falling(seed, m))
    made = picked(kernel, block, strength, m, window=window)
    assert made[0].tolist() == naive(kernel, block.relevance[0], strength, m, window)


def test_a_window_as_long_as_the_list_changes_nothing():
    kernel, block = gram(3, 12, 15), block_of(falling(3, 12))
    assert picked(kernel, block, 0.5, 6, window=6).tolist() == picked(kernel, block, 0.5, 6).tolist()


def test_it_is_the_kernel_of_the_paper():
    """Diag(q) S Diag(q) with q = exp(theta * relevance / 2) and theta = (1 - strength) / strength: the same picks."""
    for seed, strength in ((0, 0.4), (1, 0.66), (2, 0.9)):
        similar, block = gram(seed, 10, 12), block_of(falling(seed, 10))
        quality = np.exp((1 - strength) / strength * block.relevance[0].astype(float) / 2)
        whole = quality[:, None] * similar * quality[None, :]
        want = naive(whole, np.zeros(10), 1.0, 5)
        assert picked(similar, block, strength, 5)[0].tolist() == want


def test_the_extremes():
    kernel, block = gram(5, 9, 12), block_of(falling(5, 9))
    assert picked(kernel, block, 0.0, 9)[0].tolist() == list(range(9))
    assert picked(kernel, block, 1.0, 4)[0].tolist() == naive(kernel, np.zeros(9), 1.0, 4)


def test_copies_come_last_and_the_list_goes_on():
    """The released code stops where nothing new is left: its list of 6 would hold 3 items (fast-map-dpp, issue 1)."""
    base = gram(0, 3, 5)
    kernel = np.tile(base, (2, 2))  # item i + 3 is a copy of item i
    made = picked(kernel, block_of([1.0, 0.9, 0.8, 0.99, 0.5, 0.1][:6]), 0.3, 6)[0].tolist()
    assert {i % 3 for i in made[:3]} == {0, 1, 2} and sorted(made) == list(range(6))
    assert made[3:] == sorted(made[3:]), "what is left comes by relevance"
    one = np.ones((5, 5))
    assert picked(one, block_of(falling(1, 5)), 0.5, 5)[0].tolist() == [0, 1, 2, 3, 4]


def test_without_strength_a_copy_is_nothing_special():
    assert picked(np.ones((4, 4)), block_of(falling(1, 4)), 0.0, 4)[0].tolist() == [0, 1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 10), st.sampled_from([1.0, 0.3]))
def test_a_table_that_is_no_kernel_gives_whole_lists_of_distinct_items(seed, m, scale):
    """Cut similarity tables have negative determinants; the released code then repeats an item or ends the list."""
    odd = rng(seed, "odd").uniform(-1, 1, size=(m, m)) * scale
    made = picked(odd, block_of(falling(seed, m)), 0.7, m)[0].tolist()
    assert sorted(made) == list(range(m))


def test_no_pick_stands_twice_where_the_released_code_repeats_one():
    """As released: what is left of a pick is never set aside, so rounding of large kernels lets it win again."""
    rank_two = gram(4, 6, 2)
    made = picked(rank_two, block_of(falling(4, 6)), 0.999, 6)[0].tolist()
    assert len(set(made)) == 6


def test_a_ridge_lets_copies_in_at_a_price():
    kernel, block = np.ones((3, 3)), block_of([1.0, 0.9, 0.0])
    made = Determinant(block, looked_up(kernel), np.array([0.5]), ridge=0.1)
    made.take(np.array([0]))
    np.testing.assert_allclose(made.left[0, 1:], 1 - 0.9**2)
    assert made.left[0, 0] == pytest.approx(0.0, abs=COPY)


def test_lists_of_a_block_do_not_touch_each_other():
    kernel = gram(7, 10, 12)
    rows, strengths = [falling(1, 10), falling(2, 7), falling(3, 1)], np.array([0.9, 0.2, 0.5])
    block = block_of(*rows)
    made = greedy(block, 5, Determinant(block, looked_up(kernel), strengths, window=3))
    for i, row in enumerate(rows):
        alone = picked(kernel, block_of(row), strengths[i], 5, window=3)[0]
        assert made[i][made[i] >= 0].tolist() == alone.tolist()
