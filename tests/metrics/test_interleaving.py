"""Team draft: fair, symmetric to the last bit, and worth many times the users of an A/B test."""

import numpy as np
import pytest
from scipy import stats

from hexarec.core import DataError, OptionError, rng
from hexarec.metrics import credit, interleave, preference
from hexarec.metrics.trial import welch

K, CHANCE = 6, 1.0 / np.log2(2.0 + np.arange(6))  # how likely each place is looked at


def ranked(draw, truth, noise):
    """The items by relevance as a ranker sees it, one list per row of `truth`."""
    return np.argsort(-(truth + noise * draw.normal(size=truth.shape)), axis=1)


def clicks(draw, truth, shown, activity=1.0):
    """Clicks on what is shown, by place, relevance and how active the user is."""
    return draw.random(len(shown)) < activity * CHANCE[: len(shown)] / (1 + np.exp(-truth[shown]))


def played(a, b, truth, seed):
    """Credits of each impression, (n,) of a and (n,) of b; `truth` says what is clicked, seeds say how."""
    made = []
    for row, (left, right) in enumerate(zip(a, b, strict=True)):
        shown, teams = interleave(left, right, K, rng(seed, "draft", row))
        made.append(credit(teams, clicks(rng(seed, "clicks", row), truth[row], shown)))
    return np.array(made).T


def test_each_round_gives_both_their_best_item_left():
    a, b = np.array([1, 2, 3, 4]), np.array([5, 2, 1, 6])
    seen = set()
    for seed in range(40):
        shown, teams = interleave(a, b, 4, rng(seed))
        seen.add(tuple(shown.tolist()))
        assert len(set(shown.tolist())) == 4 and sorted(teams[:2]) == sorted(teams[2:]) == [0, 1]
        assert set(shown[:2].tolist()) == {1, 5}
        left, right = shown[teams == 0].tolist(), shown[teams == 1].tolist()
        assert left in ([1, 2], [1, 3]) and right in ([5, 2], [5, 6])  # 2 goes to who picks first in the second round
        assert (left == [1, 2]) == (teams[2] == 0)
    assert len(seen) == 4  # both coins fall both ways


def test_what_both_begin_with_is_nobodys_and_comes_first():
    a, b = np.array([7, 8, 1, 2]), np.array([7, 8, 3, 1])
    for seed in range(10):
        shown, teams = interleave(a, b, 4, rng(seed))
        assert shown[:2].tolist() == [7, 8] and teams[:2].tolist() == [-1, -1] and sorted(teams[2:]) == [0, 1]
    shown, teams = interleave(a, a, 3, rng(0))
    assert shown.tolist() == [7, 8, 1] and teams.tolist() == [-1, -1, -1]
    assert (shown.dtype, teams.dtype) == (np.int32, np.int8)


def test_a_list_that_ends_gives_the_rest_to_nobody():
    shown, teams = interleave(np.array([1, 2, 3, 4, 5]), np.array([9]), 5, rng(0))
    assert sorted(shown.tolist()) == [1, 2, 3, 4, 9] and sorted(teams.tolist()) in (
        [-1, -1, -1, 0, 1],
        [-1, -1, 0, 0, 1],
    )
    assert interleave(np.array([], int), np.array([4, 5]), 3, rng(0))[0].tolist() == [4, 5]
    assert len(interleave(np.array([], int), np.array([], int), 3, rng(0))[0]) == 0
    assert interleave(np.array([1, 1, 2]), np.array([1, 2]), 3, rng(0))[0].tolist() == [1, 2]  # no item twice


def test_both_teams_are_shown_as_often_and_as_high():
    draw = np.random.default_rng(0)
    places = np.zeros((2, K))
    for row in range(3000):
        a, b = draw.permutation(12), draw.permutation(12)
        _, teams = interleave(a, b, K - row % 2, rng(row))
        for team in (0, 1):
            places[team, : len(teams)] += teams == team
    for place in range(K):
        assert stats.binomtest(int(places[0, place]), int(places[:, place].sum()), 0.5).pvalue > 0.001
    assert abs(places[0].sum() / places.sum() - 0.5) < 0.005


def test_a_shared_item_goes_to_either_team_alike():
    won = [
        int(teams[shown == 2][0]) for shown, teams in (interleave([1, 2, 3], [4, 2, 5], 4, rng(s)) for s in range(1000))
    ]
    assert abs(np.mean(won) - 0.5) < 0.05


def test_swapping_the_rankers_turns_the_sign_exactly():
    draw = np.random.default_rng(1)
    truth = draw.normal(size=(400, 15))
    a, b = ranked(draw, truth, 0.5), ranked(draw, truth, 1.5)
    a[:40] = b[:40]  # equal lists too: they are ties whoever stands first
    user = np.arange(400) // 2
    one, other = played(a, b, truth, 3), played(b, a, truth, 3)
    np.testing.assert_array_equal(one, other[::-1])
    there, back = preference(*one, user, seed=1), preference(*other, user, seed=1)
    assert there.value == -back.value != 0.0
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low)) and there.p == back.p
    shown, teams = interleave(a[50], b[50], K, rng(9))
    swapped, sides = interleave(b[50], a[50], K, rng(9))
    np.testing.assert_array_equal(shown, swapped)
    np.testing.assert_array_equal(teams, 1 - sides)


def test_equal_rankers_are_preferred_alike():
    draw, inside = np.random.default_rng(2), []
    truth = draw.normal(size=(2000, 12))
    won, lost = played(ranked(draw, truth, 1.0), ranked(draw, truth, 1.0), truth, 4)
    whole = preference(won, lost, np.arange(2000))
    assert whole.low <= 0.0 <= whole.high and whole.high - whole.low < 0.05
    for part in np.arange(2000).reshape(40, 50):
        made = preference(won[part], lost[part], part, rounds=300)
        inside.append(made.low <= 0.0 <= made.high)
    assert np.mean(inside) > 0.88
    assert preference(won + 1, lost, np.arange(2000)).low > 0.1  # the interval would see a bias


def users_needed(difference, spread):
    """Users for a power of 80 % at 5 %, from the mean and standard deviation per user."""
    return (1.96 + 0.84) ** 2 * spread**2 / difference**2


def shop(users, visits):
    """The same users under an A/B test and under interleaving: (users, arms) clicks, (visits, teams) credits, and how
    many users either way needs."""
    draw, n = np.random.default_rng(3), users * visits
    truth, activity = draw.normal(size=(n, 20)), np.repeat(draw.beta(1.0, 2.0, users), visits)
    a, b = ranked(draw, truth, 0.8), ranked(draw, truth, 1.6)
    apart, together = np.zeros((n, 2)), np.zeros((n, 2))
    for row in range(n):
        for arm, lists in enumerate((a, b)):  # what the user would do in either arm
            apart[row, arm] = clicks(draw, truth[row], lists[row, :K], activity[row]).sum()
        shown, teams = interleave(a[row], b[row], K, draw)
        together[row] = credit(teams, clicks(draw, truth[row], shown, activity[row]))
    arms = apart.reshape(users, visits, 2).sum(1)
    sign = np.sign(together[:, 0] - together[:, 1]).reshape(users, visits).mean(1)
    ab = 2 * users_needed(arms[:, 0].mean() - arms[:, 1].mean(), np.sqrt(arms.var(axis=0).sum()))
    return arms, together, ab, users_needed(sign.mean(), sign.std())


def test_interleaving_needs_fewer_users_than_an_ab_test():
    users, visits = 600, 8
    arms, together, ab, mixed = shop(users, visits)
    assert mixed < ab / 5
    draw, found = np.random.default_rng(4), []  # and the tests themselves say so, with as many users as needed
    for _ in range(100):
        few = draw.integers(0, users, int(mixed))
        rows = (few[:, None] * visits + np.arange(visits)).ravel()
        seen = preference(*together[rows].T, np.repeat(np.arange(len(few)), visits), rounds=200)
        found.append([seen.low > 0, welch(arms[few[::2], 0], arms[few[1::2], 1])[1] > 0])
    power = np.mean(found, 0)
    assert power[0] > 0.7 and power[1] < 0.4


def test_with_one_visit_per_user_little_is_saved():
    _, _, ab, mixed = shop(2500, 1)
    assert 1 < ab / mixed < 4


def test_users_and_not_impressions_are_drawn():
    draw = np.random.default_rng(4)
    user = np.repeat(np.arange(50), 40)
    taste = np.repeat(draw.choice([0.2, 0.8], 50), 40)  # each user has a side
    won = draw.random(2000) < taste
    by_user, by_row = preference(won, ~won, user), preference(won, ~won, np.arange(2000))
    assert by_user.value == by_row.value and (by_user.users, by_user.impressions) == (50, 2000)
    assert by_user.high - by_user.low > 3 * (by_row.high - by_row.low)


def test_preference_by_hand_and_without_impressions():
    made = preference([2, 1, 0, 0], [0, 0, 1, 0], ["u", "v", "w", "x"])
    assert made.value == pytest.approx((2 + 0.5) / 4 - 0.5) and made.low < made.value < made.high and made.p > 0.05
    none = preference([], [], [])
    assert np.isnan([none.value, none.low, none.high, none.p]).all() and none.impressions == none.users == 0
    assert preference([0, 0], [0, 0], [1, 2]).p == 1.0


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError):
        interleave([1], [2], 0, rng(0))
    for bad in ([1.5], [[1, 2]]):
        with pytest.raises(DataError):
            interleave(bad, [2], 2, rng(0))
    with pytest.raises(DataError):
        credit(np.zeros(3, np.int8), [True])
    with pytest.raises(DataError):
        preference([1], [1, 2], [1, 2])
