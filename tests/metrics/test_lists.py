"""List metrics: hand-worked tables, exact ties by enumeration, an outside judge, and properties."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Lists, OptionError
from hexarec.core.errors import DataError, LineageError
from hexarec.metrics import lists as L
from hexarec.metrics.slices import evaluate

NAMES = list(L.MEASURES)


def truth_of(rows, gains=None):
    made = Lists.of("c", rows)
    flat = np.ones(len(made.items)) if gains is None else np.array([g for row in gains for g in row], float)
    return made.with_field("gain", flat.astype(np.float32))


def values(lists, truth, k, name, ties="expected", depth=None):
    return L.MEASURES[name](L.hits(lists, truth, depth or k, ties), k)


def slow(items, relevant, k, name):
    """The definitions, one list at a time, without ties; relevant: item -> gain."""
    good = [i in relevant for i in items[:k]]
    if not relevant:
        return math.nan
    if name == "hit":
        return float(any(good))
    if name in ("recall", "recall_capped", "precision"):
        return sum(good) / {"recall": len(relevant), "recall_capped": min(k, len(relevant)), "precision": k}[name]
    if name == "mrr":
        return next((1 / (p + 1) for p, g in enumerate(good) if g), 0.0)
    if name == "map":
        return sum(sum(good[: p + 1]) / (p + 1) for p, g in enumerate(good) if g) / min(k, len(relevant))
    ideal = sorted(relevant.values(), reverse=True)[:k]
    found = sum(relevant.get(i, 0.0) / math.log2(p + 2) for p, i in enumerate(items[:k]))
    return found / sum(g / math.log2(p + 2) for p, g in enumerate(ideal))


HAND = [  # list, relevant, k, name, value
    ([1, 2, 3, 4], [3], 3, "hit", 1.0),
    ([1, 2, 3, 4], [3], 2, "hit", 0.0),
    ([1, 2, 3, 4], [1, 3], 3, "recall", 1.0),
    ([1, 2, 3, 4], [1, 9, 8], 3, "recall", 1 / 3),
    ([1, 2, 3, 4], [1, 2, 9, 8], 2, "recall_capped", 1.0),
    ([1, 2], [1, 2, 9], 5, "precision", 2 / 5),
    ([1, 2, 3, 4], [2, 9], 4, "mrr", 0.5),
    ([1, 2, 3, 4], [1, 3], 4, "map", (1 + 2 / 3) / 2),
    ([1, 2, 3, 4], [1, 3, 7, 8], 3, "map", (1 + 2 / 3) / 3),
    ([1, 2, 3, 4], [2], 4, "ndcg", 1 / math.log2(3)),
    ([1, 2, 3, 4], [1, 3], 4, "ndcg", 1.5 / (1 + 1 / math.log2(3))),
    ([], [1], 4, "ndcg", 0.0),
]


@pytest.mark.parametrize("items, relevant, k, name, value", HAND)
def test_hand_worked(items, relevant, k, name, value):
    found = values(Lists.of("c", [items]), truth_of([relevant]), k, name)
    assert found[0] == pytest.approx(value, abs=1e-12)


def test_graded_gain_by_hand():
    found = values(Lists.of("c", [[5, 6, 7]]), truth_of([[6, 7, 8]], [[1, 3, 2]]), 3, "ndcg")
    ideal = 3 + 2 / math.log2(3) + 1 / 2
    assert found[0] == pytest.approx((1 / math.log2(3) + 3 / 2) / ideal)


def test_gain_of_zero_below_zero_or_nan_is_not_relevant():
    truth = truth_of([[1, 2, 3, 4]], [[1, 0, -1, np.nan]])
    assert values(Lists.of("c", [[2, 3, 4, 1]]), truth, 4, "mrr")[0] == 0.25
    assert L.hits(Lists.of("c", [[2]]), truth, 1).relevant[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_relevant_item_is_nan_and_no_list_is_zero(name):
    lists, truth = Lists.of("c", [[1, 2], [], [3]]), truth_of([[], [1], [3]])
    found = values(lists, truth, 2, name)
    assert np.isnan(found[0]) and found[1] == 0 and found[2] > 0


@pytest.mark.parametrize("name", NAMES)
def test_empty_batches(name):
    assert values(Lists.empty("c", 0), truth_of([]), 3, name).shape == (0,)
    assert np.isnan(values(Lists.empty("c", 2), truth_of([[], []]), 3, name)).all()


# ---- ties ----


def brute(items, scores, relevant, k, name):
    """The mean over all orders inside tie groups."""
    groups = [[items[i] for i in run] for _, run in itertools.groupby(range(len(items)), key=lambda i: scores[i])]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    return float(np.mean([slow([i for part in one for i in part], relevant, k, name) for one in orders]))


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_expected_ties_are_the_mean_over_all_orders(data):
    n = data.draw(st.integers(1, 7))
    scores = sorted(data.draw(st.lists(st.sampled_from([3.0, 2.0, 1.0]), min_size=n, max_size=n)), reverse=True)
    items = list(range(n))
    relevant = data.draw(st.dictionaries(st.integers(0, 8), st.sampled_from([1.0, 2.0, 5.0]), min_size=1, max_size=6))
    k = data.draw(st.integers(1, 8))
    lists = Lists.of("c", [items], [scores])
    truth = truth_of([list(relevant)], [list(relevant.values())])
    for name in NAMES:
        found = values(lists, truth, k, name)[0]
        assert found == pytest.approx(brute(items, scores, relevant, k, name), abs=1e-12), name


def test_all_tied_is_the_random_ranking():
    lists = Lists.of("c", [list(range(100))], [[0.0] * 100])
    truth = truth_of([[42]])
    assert values(lists, truth, 10, "hit")[0] == pytest.approx(0.1)
    assert values(lists, truth, 10, "mrr")[0] == pytest.approx(sum(1 / r for r in range(1, 11)) / 100)
    assert values(lists, truth, 1, "ndcg")[0] == pytest.approx(0.01)


def test_order_keeps_the_list_and_nan_ties_with_nothing():
    truth = truth_of([[2]])
    tied = Lists.of("c", [[1, 2]], [[1.0, 1.0]])
    assert values(tied, truth, 2, "mrr", "order")[0] == 0.5
    assert values(tied, truth, 2, "mrr")[0] == 0.75
    assert values(Lists.of("c", [[1, 2]], [[np.nan, np.nan]]), truth, 2, "mrr")[0] == 0.5


def test_ties_do_not_cross_lists_not_even_empty_ones():
    lists = Lists.of("c", [[], [1], [], [2, 3], []], [[], [0.5], [], [0.5, 0.1], []])
    assert L.hits(lists, truth_of([[1], [1], [1], [3], [3]]), 2).size is None


def test_dense_agrees_with_ndcg():
    rng = np.random.default_rng(0)
    rows = [rng.permutation(12).tolist() for _ in range(50)]
    scores = [np.sort(rng.integers(0, 4, 12))[::-1].astype(float).tolist() for _ in range(50)]
    truth = truth_of([rng.permutation(20)[:3].tolist() for _ in range(50)])
    for ties in ("expected", "order"):
        found = L.hits(Lists.of("c", rows, scores), truth, 6, ties)
        gain = (found.dense() / np.log2(np.arange(2, 8))).sum(axis=1) / (1 / np.log2(np.arange(2, 5))).sum()
        np.testing.assert_allclose(gain, L.ndcg(found, 6), atol=1e-12)


# ---- against others ----


def cases(n, seed, graded=False, most=12, items=40):
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(items)[: rng.integers(1, 26)].tolist() for _ in range(n)]
    relevant = [rng.permutation(items)[: rng.integers(1, most + 1)].tolist() for _ in range(n)]
    gains = [rng.integers(1, 4 if graded else 2, len(r)).astype(float).tolist() for r in relevant]
    return rows, relevant, gains


@pytest.mark.parametrize("graded", [False, True])
def test_ten_thousand_cases_against_ir_measures(graded):
    ir = pytest.importorskip("ir_measures")
    n, k = 10_000, 10
    rows, relevant, gains = cases(n, 1, graded)
    qrels = {str(q): {str(i): int(g) for i, g in zip(relevant[q], gains[q], strict=True)} for q in range(n)}
    run = {
        str(q): {str(i): 100.0 - p for p, i in enumerate(rows[q])} for q in range(n)
    }  # no ties: trec breaks by docno
    theirs = {"ndcg": ir.nDCG @ k, "mrr": ir.RR @ k, "precision": ir.P @ k, "recall": ir.R @ k, "hit": ir.Success @ k}
    theirs |= {"map": ir.AP @ k}
    lists, truth = Lists.of("c", rows), truth_of(relevant, gains)
    found = {name: values(lists, truth, k, name, depth=15) for name in theirs}
    size = np.array([len(r) for r in relevant])
    found["map"] = found["map"] * np.minimum(size, k) / size  # trec divides by all relevant items
    names = {str(measure): name for name, measure in theirs.items()}
    seen = 0
    for one in ir.iter_calc(list(theirs.values()), qrels, run):
        assert abs(found[names[str(one.measure)]][int(one.query_id)] - one.value) < 1e-9, (one, rows[int(one.query_id)])
        seen += 1
    assert seen == n * len(theirs)


@pytest.mark.parametrize("most, items, name", [(1, 30, "single"), (12, 40, "ragged"), (39, 40, "keys")])
def test_definitions_on_every_path(most, items, name):
    rows, relevant, gains = cases(400, 2, graded=True, most=most, items=items)
    lists, truth = Lists.of("c", rows), truth_of(relevant, gains)
    for metric in NAMES:
        want = [slow(r, dict(zip(t, g, strict=True)), 7, metric) for r, t, g in zip(rows, relevant, gains, strict=True)]
        np.testing.assert_allclose(values(lists, truth, 7, metric, depth=20), want, atol=1e-12)


# ---- properties ----


@st.composite
def questions(draw):
    n = draw(st.integers(1, 4))
    pool = st.integers(0, 15)
    rows = [draw(st.lists(pool, unique=True, max_size=12)) for _ in range(n)]
    relevant = [draw(st.lists(pool, unique=True, max_size=8)) for _ in range(n)]
    return rows, relevant, draw(st.integers(1, 12))


@given(questions())
@settings(max_examples=80, deadline=None)
def test_bounds_monotone_and_cut(question):
    rows, relevant, k = question
    lists, truth = Lists.of("c", rows), truth_of(relevant)
    for name in NAMES:
        found = values(lists, truth, k, name, depth=k + 1)
        there = ~np.isnan(found)
        assert ((found[there] >= 0) & (found[there] <= 1 + 1e-12)).all()
        if name in ("hit", "recall", "mrr"):
            assert (values(lists, truth, k + 1, name)[there] >= found[there] - 1e-12).all()
        np.testing.assert_array_equal(values(lists.top_k(k), truth, k, name), found)


@given(questions())
@settings(max_examples=60, deadline=None)
def test_perfect_is_one_and_irrelevant_items_are_interchangeable(question):
    rows, relevant, k = question
    truth = truth_of(relevant)
    best = Lists.of("c", [r + [i for i in row if i not in r] for r, row in zip(relevant, rows, strict=True)])
    some = np.array([len(r) > 0 for r in relevant])
    for name in ("hit", "ndcg", "mrr", "map", "recall_capped"):
        assert values(best, truth, k, name)[some] == pytest.approx(1.0)
    swapped = [[i if i in r else 100 + i for i in row] for r, row in zip(relevant, rows, strict=True)]
    for name in NAMES:
        one, other = (values(Lists.of("c", x), truth, k, name) for x in (rows, swapped))
        np.testing.assert_array_equal(one, other)


def test_batch_equals_single():
    rows, relevant, _ = cases(60, 5)
    scores = [np.round(np.linspace(1, 0, len(r)), 1).tolist() for r in rows]
    lists, truth = Lists.of("c", rows, scores), truth_of(relevant)
    for name in NAMES:
        alone = [values(lists.take(np.array([i])), truth.take(np.array([i])), 5, name)[0] for i in range(60)]
        np.testing.assert_allclose(values(lists, truth, 5, name), alone, atol=1e-15)


# ---- refusals ----


def test_refusals():
    lists, truth = Lists.of("c", [[1, 2]]), truth_of([[1]])
    with pytest.raises(OptionError):
        L.hits(lists, truth, 0)
    with pytest.raises(OptionError):
        L.hits(lists, truth, 3, "random")
    with pytest.raises(OptionError):
        L.recall(L.hits(lists, truth, 3), 4)
    with pytest.raises(DataError):
        L.hits(Lists.of("c", [[1, 1]]), truth, 3)
    with pytest.raises(DataError):
        L.hits(lists, truth_of([[1, 1]]), 3)
    with pytest.raises(DataError):
        L.hits(lists, truth_of([[1], [2]]), 3)
    with pytest.raises(LineageError):
        L.hits(Lists.of("d", [[1]]), truth, 3)


def test_evaluate_shares_one_set_of_hits():
    lists, truth = Lists.of("c", [[1, 2, 3]]), truth_of([[2]])
    found = evaluate(lists, truth, ["NDCG@2", "HR@1", "mrr@3"])
    assert list(found) == ["ndcg@2", "hit@1", "mrr@3"]
    assert found["hit@1"][0] == 0 and found["mrr@3"][0] == 0.5
