import numpy as np
import pytest

from hexarec.core import History, OptionError, Queries
from hexarec.data.worlds import world
from hexarec.parts.nexts import Nexts, liked_next
from hexarec.parts.softmax import SoftmaxPolicy, Weights, _gap, _imitation, _preference

PLACE = world("checkerboard")
PAIRS = liked_next(PLACE.data)
ZIPF = 1 / np.arange(1, 21)
ZIPF /= ZIPF.sum()


def policy(width=6, beta=0.1, seed=0, **options):
    return SoftmaxPolicy(Weights.drawn(PLACE.data, width, 5, seed), beta, **options)


def test_log_odds_are_those_of_the_mean_of_the_newest_liked_items():
    weights, queries = policy().weights, PLACE.queries.take(slice(0, 3))
    past = queries.history.item[slice(*queries.history.offsets[1:3])][-5:]
    values = weights.read[past].mean(0) @ weights.said.T + weights.bias
    want = values - np.log(np.exp(values).sum())
    assert np.allclose(weights.log_odds(queries)[1], want, atol=1e-5)
    nobody = Queries.one(PLACE.data.catalog)
    assert np.allclose(weights.log_odds(nobody), np.log(1 / 24), atol=1e-6)


def numeric(loss, arrays):
    slopes = []
    for array in arrays:
        slope = np.zeros_like(array, np.float64)
        for place in np.ndindex(array.shape):
            old = array[place]
            array[place] = old + 1e-2
            up = loss()
            array[place] = old - 1e-2
            slope[place] = (up - loss()) / 2e-2
            array[place] = old
        slopes.append(slope)
    return slopes


@pytest.mark.parametrize("what", ["imitation", "preference"])
def test_slopes_are_those_of_the_loss(what):
    weights, pairs = policy(width=2).weights, PAIRS.take(np.arange(12))
    now, means = [weights.read, weights.said, weights.bias], weights.means(pairs.queries)
    rejected = ((pairs.item + 3) % 24).astype(np.int32)
    given = np.random.default_rng(0).normal(size=12).astype(np.float32)
    if what == "imitation":
        loss = lambda: _imitation(means, now, pairs.item)  # noqa: E731
    else:
        loss = lambda: _preference(means, now, pairs.item, rejected, given, 0.7)  # noqa: E731
    for ours, theirs in zip(loss()[1], numeric(lambda: loss()[0], now), strict=True):
        assert np.allclose(ours, theirs, atol=2e-3)


def test_the_preference_loss_begins_at_log_2_and_is_that_of_the_exact_probabilities():
    made = policy(beta=0.5)
    pairs, rejected = PAIRS.take(np.arange(30)), ((PAIRS.item[:30] + 1) % 24).astype(np.int32)
    now, means = [made.weights.read, made.weights.said, made.weights.bias], made.weights.means(pairs.queries)
    odds, rows = made.weights.log_odds(pairs.queries), np.arange(30)
    gap = _gap(means, now, pairs.item, rejected)
    assert np.allclose(gap, odds[rows, pairs.item] - odds[rows, rejected], atol=1e-5)
    assert _preference(means, now, pairs.item, rejected, gap, 0.5)[0] == pytest.approx(np.log(2))
    wanted = np.log1p(np.exp(-0.5 * (gap - 0.25))).mean()
    assert _preference(means, now, pairs.item, rejected, np.full(30, 0.25, np.float32), 0.5)[0] == pytest.approx(
        wanted, rel=1e-5
    )


@pytest.mark.parametrize(("beta", "top"), [(1.0, 0.627), (0.5, 0.833)])
def test_against_uniform_negatives_the_optimum_is_sharper_than_the_data(beta, top):
    """Chosen ~ p, rejected uniform, reference = p: the optimum is p^(1 + 1 / beta), as the theory says."""
    n = 20
    counts = np.round(ZIPF * 400).astype(int)
    pairs = [(i, j) for i in range(n) for _ in range(counts[i]) for j in range(n)]
    chosen, rejected = (np.array(one, np.int32) for one in zip(*pairs, strict=True))
    base = Weights(np.zeros((n, 1), np.float32), np.zeros((n, 1), np.float32), np.log(ZIPF).astype(np.float32), 1)
    queries = Queries.one(PLACE.data.catalog).take(np.zeros(len(chosen), int))
    blank = Nexts(queries.with_history(History.empty(len(chosen))), chosen)
    means, now = base.means(blank.queries), [base.read, base.said, base.bias.copy()]
    given = _gap(means, now, chosen, rejected)
    squares = np.zeros(n, np.float32)
    for _ in range(600):
        slope = _preference(means, now, chosen, rejected, given, beta)[1][2]
        squares += slope**2
        now[2] -= 0.5 * slope / (np.sqrt(squares) + 1e-8)
    share = np.exp(now[2]) / np.exp(now[2]).sum()
    assert ZIPF[0] == pytest.approx(0.278, abs=1e-3) and share[0] == pytest.approx(top, abs=0.02)


def test_it_imitates_what_came_next():
    made = policy(rate=0.1, batch=32)
    before = (
        made._learn(PAIRS, None, 0, 0.1, 0),
        -made.weights.log_odds(PAIRS.queries)[np.arange(len(PAIRS)), PAIRS.item].mean(),
    )
    made.begin(PAIRS, 20, 0)
    after = -made.weights.log_odds(PAIRS.queries)[np.arange(len(PAIRS)), PAIRS.item].mean()
    assert before[0] == 0.0 and after < np.log(12) + 0.2 < before[1]


def test_answers_are_permitted_and_drawn_by_probability():
    made = policy()
    made.begin(PAIRS, 5, 0)
    greedy = made.answers(PLACE.queries, 0.0, 0)
    odds = made.weights.log_odds(PLACE.queries)
    odds[PLACE.queries.forbidden(24)] = -np.inf
    assert np.array_equal(greedy, odds.argmax(1))
    many = PLACE.queries.take(np.zeros(4000, int))
    drawn = np.bincount(made.answers(many, 1.0, 3), minlength=24) / 4000
    share = np.exp(odds[0]) / np.exp(odds[0]).sum()
    assert np.abs(drawn - share).max() < 0.03
    assert not np.array_equal(made.answers(many, 1.0, 3), made.answers(many, 1.0, 4))
    banned = PLACE.queries.take([0]).excluding(np.arange(24, dtype=np.int32), np.array([0, 24]))
    assert made.answers(banned, 0.0, 0).tolist() == made.answers(banned, 1.0, 0).tolist() == [-1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_learning_that_ends_in_no_numbers_is_an_error():
    with pytest.raises(OptionError, match="diverged"):
        policy(rate=1e38).begin(PAIRS, 3, 0)
