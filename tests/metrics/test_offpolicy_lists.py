"""Whole lists: every estimator is right where its assumption holds, and the doubly robust one has least variance."""

import itertools

import numpy as np
import pytest

from hexarec.core import DataError, OptionError
from hexarec.metrics import estimate_lists
from hexarec.metrics.offpolicy_lists import LIST_METHODS

SLOTS, ITEMS = 3, 4


class World:
    """Lists of three of four items, drawn without replacement; a slot's reward depends on the item above it, or not."""

    def __init__(self, together):
        draw = np.random.default_rng(0)
        alone = draw.uniform(0.2, 0.6, ITEMS)
        pair = draw.uniform(-0.2, 0.4, (ITEMS + 1, ITEMS)) * together
        self.lists = np.array(list(itertools.permutations(range(ITEMS), SLOTS)))
        above = np.concatenate([np.full((len(self.lists), 1), ITEMS), self.lists[:, :-1]], 1)
        self.chance = np.clip(alone[self.lists] + pair[above, self.lists], 0.0, 1.0)
        self.odds = {"logger": draw.uniform(0.5, 2.0, ITEMS), "policy": np.array([4.0, 2.0, 1.0, 0.5])}
        self.down = {name: self._down(odds) for name, odds in self.odds.items()}
        self.value = float((self.down["policy"].prod(1) * self.chance.sum(1)).sum())

    def _down(self, odds):
        """(lists, slots) chance of each item given those above it: Plackett and Luce."""
        left = odds.sum() - np.cumsum(odds[self.lists], 1) + odds[self.lists]
        return odds[self.lists] / left

    def marginal(self, name):
        """(lists, slots) chance of each item in that slot, whatever stands above."""
        whole = self.down[name].prod(1)
        at = np.stack([np.bincount(self.lists[:, slot], whole, minlength=ITEMS) for slot in range(SLOTS)])
        return at[np.arange(SLOTS), self.lists]

    def q(self):
        """Reward of a slot and all below given the list down to it, and its mean over the policy's choice there."""
        later = np.cumsum(self.chance[:, ::-1], 1)[:, ::-1]
        of_rest = self.down["policy"].prod(1)

        def mean(depth, slot):
            keys = [tuple(row[:depth]) for row in self.lists]
            group = np.unique(np.array(keys).reshape(len(keys), depth), axis=0, return_inverse=True)[1].ravel()
            return (np.bincount(group, of_rest * later[:, slot]) / np.bincount(group, of_rest))[group]

        return (np.stack([mean(slot + shift, slot) for slot in range(SLOTS)], 1) for shift in (1, 0))

    def runs(self, method, *, n=500, times=200, q=None, wrong=False, normalised=False):
        draw, q, v = np.random.default_rng(2), *(q or (None, None))
        whole, made = self.down["logger"].prod(1), []
        for _ in range(times):
            row = draw.choice(len(whole), n, p=whole)
            reward = draw.random((n, SLOTS)) < self.chance[row]
            tables = [self.marginal(x) if method == "independent" else self.down[x] for x in ("policy", "logger")]
            logger = np.full((n, SLOTS), 0.4) if wrong else tables[1][row]
            extra = {} if q is None else {"q": q[row], "v": v[row]}
            made.append(
                estimate_lists(tables[0][row], logger, reward, method, rounds=1, normalised=normalised, **extra).value
            )
        return np.array(made)

    def off(self, values):
        return abs(values.mean() - self.value) / (values.std(ddof=1) / len(values) ** 0.5)


def test_users_who_read_from_the_top_want_the_prefix():
    world = World(together=True)
    right = tuple(world.q())
    made = {method: world.runs(method, q=right if method == "cascade" else None) for method in LIST_METHODS}
    assert all(world.off(made[method]) < 2 for method in ("standard", "interaction", "cascade"))
    assert world.off(made["independent"]) > 4  # the items above matter, and it does not look at them
    assert made["cascade"].var() < 0.8 * made["interaction"].var() < 0.8 * made["standard"].var()


def test_slots_that_stand_alone_want_their_own_weight():
    world = World(together=False)
    made = {method: world.runs(method) for method in LIST_METHODS[:3]}
    assert all(world.off(values) < 2 for values in made.values())
    assert made["independent"].var() < made["interaction"].var() < made["standard"].var()


def test_the_cascade_is_doubly_robust():
    world = World(together=True)
    right = tuple(world.q())
    nonsense = (np.full_like(right[0], 0.7), np.full_like(right[1], 0.7))
    assert world.off(world.runs("cascade", q=right, wrong=True)) < 2
    assert world.off(world.runs("cascade", q=nonsense)) < 2
    assert world.off(world.runs("cascade", q=(right[0] * 0.3, right[1] * 0.5), wrong=True)) > 5


def test_normalised_slots_bear_a_shift_and_save_variance():
    world = World(together=True)
    plain, divided = (world.runs("interaction", normalised=flag) for flag in (False, True))
    assert world.off(divided) < 2.5 and divided.var() < plain.var()
    draw = np.random.default_rng(2)
    row = draw.choice(len(world.lists), 300, p=world.down["logger"].prod(1))
    given = world.down["policy"][row], world.down["logger"][row]
    low, high = (
        estimate_lists(*given, world.chance[row] + shift, "interaction", normalised=True) for shift in (0.0, 5.0)
    )
    assert high.value == pytest.approx(low.value + 15) and high.low == pytest.approx(low.low + 15)
    one, other = (estimate_lists(*given, world.chance[row] + shift, "interaction").value for shift in (0.0, 5.0))
    assert abs(other - one - 15) > 0.05


def test_intervals_cover_as_often_as_they_say():
    world, inside = World(together=True), []
    draw, whole = np.random.default_rng(3), world.down["logger"].prod(1)
    q, v = world.q()
    for seed in range(250):
        row = draw.choice(len(whole), 250, p=whole)
        reward = draw.random((250, SLOTS)) < world.chance[row]
        given = world.down["policy"][row], world.down["logger"][row], reward
        made = [estimate_lists(*given, "interaction", normalised=True, seed=seed, rounds=150),
                estimate_lists(*given, "cascade", q=q[row], v=v[row], seed=seed, rounds=150)]  # fmt: skip
        inside.append([one.low <= world.value <= one.high for one in made])
    assert ((0.92 <= np.mean(inside, 0)) & (np.mean(inside, 0) <= 0.98)).all()


def test_the_formulas_by_hand():
    policy, logger = np.array([[0.5, 1.0], [1.0, 0.5]]), np.array([[1.0, 0.5], [0.5, 0.5]])
    reward, q, v = np.array([[1.0, 2.0], [0.0, 3.0]]), np.full((2, 2), 0.5), np.full((2, 2), 0.25)
    each, down = np.array([[0.5, 2.0], [2.0, 1.0]]), np.array([[0.5, 1.0], [2.0, 2.0]])
    want = {
        "standard": (down[:, 1:] * reward).sum(1).mean(),
        "independent": (each * reward).sum(1).mean(),
        "interaction": (down * reward).sum(1).mean(),
        "cascade": (down * (reward - q) + np.array([[1.0, 0.5], [1.0, 2.0]]) * v).sum(1).mean(),
    }
    for method, value in want.items():
        extra = {"q": q, "v": v} if method == "cascade" else {}
        assert estimate_lists(policy, logger, reward, method, **extra, rounds=5).value == pytest.approx(value), method
    divided = estimate_lists(policy, logger, reward, "interaction", normalised=True, rounds=5)
    assert divided.value == pytest.approx(((down * reward).sum(0) / down.sum(0)).sum())
    assert divided.ess == pytest.approx(2.5**2 / 4.25)  # the first slot is the thinner


def test_a_shorter_list_is_filled_and_long_lists_warn():
    short = estimate_lists([[0.5, 1.0], [0.5, 0.5]], [[0.5, 1.0], [0.5, 0.5]], [[1.0, 0.0], [1.0, 1.0]], "standard")
    assert short.value == 1.5
    draw = np.random.default_rng(4)
    long = estimate_lists(
        draw.uniform(0.1, 1.0, (500, 12)), draw.uniform(0.1, 1.0, (500, 12)), np.ones((500, 12)), "standard", rounds=5
    )
    assert any(text.startswith("overlap") for text in long.diagnostics.warnings)


ONE = np.ones((3, 2))


@pytest.mark.parametrize(
    ("change", "error"),
    [({"method": "dr"}, OptionError), ({"method": "cascade"}, OptionError),
     ({"method": "cascade", "q": ONE, "v": ONE, "normalised": True}, OptionError),
     ({"method": "cascade", "q": ONE, "v": ONE[:2]}, DataError), ({"method": "cascade", "q": ONE * np.nan, "v": ONE}, DataError),
     ({"policy": ONE * 2}, DataError), ({"propensity": ONE * 0}, DataError), ({"reward": ONE[:2]}, DataError),
     ({"reward": ONE * np.nan}, DataError), ({"reward": ONE[0]}, DataError), ({"user": np.arange(2)}, DataError)],
)  # fmt: skip
def test_what_cannot_be_estimated_is_refused(change, error):
    with pytest.raises(error):
        estimate_lists(**({"policy": ONE, "propensity": ONE, "reward": ONE, "rounds": 5} | change))
