"""Users to arms: shares kept, nobody moves who need not, layers do not know each other; lost users are noticed."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from hexarec.core import DataError, OptionError
from hexarec.metrics import assign, sample_ratio
from hexarec.metrics.assignment import ALARM, BUCKETS, bucket

USERS = [f"user-{n}" for n in range(20_000)]


def counts(arms, shares, salt="s", layer=""):
    found = [assign(salt, user, arms, shares, layer) for user in USERS]
    return [found.count(arm) for arm in arms]


def test_the_bucket_is_the_documented_hash():
    text = b"\0\0\0\2s1" + b"\0\0\0\1L" + b"\0\0\0\6" + "用户".encode()
    assert bucket("s1", "用户", "L") == int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % BUCKETS
    assert bucket("ab", "c") != bucket("a", "c", "b")  # the parts do not run into each other
    assert assign("s", "u", ["only"], [1.0]) == "only"


def test_buckets_are_even():
    places = np.array([bucket("even", user) for user in USERS])
    assert stats.chisquare(np.bincount(places // 100, minlength=100)).pvalue > 0.001


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.9, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.4, 0.2, 0.3, 0.1), (0.7, 0.0, 0.3)]
)
def test_arms_get_their_shares(shares):
    arms = [f"arm{n}" for n in range(len(shares))]
    assert sample_ratio(counts(arms, shares), shares) > ALARM


def test_all_users_get_the_same_arm_again_and_order_does_not_matter():
    arms, shares = ("control", "new"), (0.5, 0.5)
    first = {user: assign("s", user, arms, shares) for user in USERS[:500]}
    assert first == {user: assign("s", user, arms, shares) for user in reversed(USERS[:500])}
    assert set(first.values()) == set(arms)


def test_a_growing_arm_takes_from_control_alone():
    arms = ("control", "x", "y")
    before = [assign("s", user, arms, (0.8, 0.1, 0.1)) for user in USERS]
    after = [assign("s", user, arms, (0.5, 0.4, 0.1)) for user in USERS]
    moved = {pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]}
    assert moved == {("control", "x")}
    assert 0.27 < np.mean([b != a for b, a in zip(before, after, strict=True)]) < 0.33


def test_layers_and_salts_are_independent():
    arms, shares, rows = ("control", "new"), (0.5, 0.5), []
    for salt, layer in (("s", "page"), ("s", "ranker"), ("t", "page")):
        rows.append(np.array([assign(salt, user, arms, shares, layer) == "new" for user in USERS]))
    for one, other in ((0, 1), (0, 2)):
        table = np.array([[np.sum((rows[one] == x) & (rows[other] == y)) for x in (0, 1)] for y in (0, 1)])
        assert stats.chi2_contingency(table).pvalue > 0.001
    same = np.array([assign("s", user, arms, shares, "page") == "new" for user in USERS])
    np.testing.assert_array_equal(same, rows[0])


@pytest.mark.parametrize(
    ("arms", "shares"),
    [([], []), (["a", "a"], [0.5, 0.5]), (["a"], [0.5, 0.5]), (["a", "b"], [0.5, 0.6]), (["a", "b"], [1.5, -0.5]),
     (["a", "b", "c"], [0.2, 0.6, 0.2])],
)  # fmt: skip
def test_impossible_shares_are_refused(arms, shares):
    with pytest.raises(OptionError):
        assign("s", "u", arms, shares)


def test_a_leak_of_one_per_cent_is_seen_at_a_hundred_thousand_users():
    assert sample_ratio([51_000, 49_000], [0.5, 0.5]) < ALARM
    assert sample_ratio([50_100, 49_900], [0.5, 0.5]) > 0.5
    assert sample_ratio([510, 490], [0.5, 0.5]) > ALARM  # too few users to see it
    assert sample_ratio([50_000, 50_000], [0.51, 0.49]) < ALARM


def test_the_alarm_is_as_rare_as_it_says_and_its_p_is_scipys():
    rng = np.random.default_rng(0)
    tables = rng.multinomial(100_000, [0.5, 0.3, 0.2], size=4000)
    p = np.array([sample_ratio(row, [0.5, 0.3, 0.2]) for row in tables])
    assert (p < ALARM).mean() < 0.003
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert p[0] == pytest.approx(stats.chisquare(tables[0], 100_000 * np.array([0.5, 0.3, 0.2])).pvalue)


def test_sample_ratio_at_its_borders():
    assert np.isnan(sample_ratio([0, 0], [0.5, 0.5]))
    assert sample_ratio([5, 5, 1], [0.5, 0.5, 0.0]) == 0.0
    assert sample_ratio([50, 50, 0], [0.5, 0.5, 0.0]) == 1.0
    assert sample_ratio([9], [1.0]) == 1.0
    with pytest.raises(DataError):
        sample_ratio([1, 2, 3], [0.5, 0.5])
    with pytest.raises(OptionError):
        sample_ratio([1, 2], [0.5, 0.6])
