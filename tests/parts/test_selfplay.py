import numpy as np
import pytest

from hexarec.classic import ItemKNN
from hexarec.data.worlds import world
from hexarec.parts.nexts import liked_next
from hexarec.parts.selfplay import Sampler, play

PLACE = world("trap")
PAIRS = liked_next(PLACE.data)
COUNTS = PLACE.data.interactions.counts(42, liked=True).astype(float)


class Telling:
    """A policy that tells what is done to it; says the item `say`, or nothing where `say` is -1."""

    def __init__(self, say=7):
        self.say, self.done = say, []

    def answers(self, queries, temperature, seed):
        self.done.append(("answers", temperature, len(queries)))
        return np.full(len(queries), self.say, np.int32)

    def imitate(self, pairs, seed):
        self.done.append(("imitate", len(pairs), seed))
        return 0.5

    def prefer(self, pairs, rejected, seed):
        self.done.append(("prefer", pairs.item.tolist(), rejected.tolist()))
        return 0.25


def sampler(kind, **more):
    return Sampler(kind, COUNTS, **more)


def test_a_round_asks_before_it_learns_and_imitates_before_it_prefers():
    policy = Telling()
    told = play(policy, PAIRS, sampler("self"), rounds=2, size=20, seed=1)
    assert [one[0] for one in policy.done] == ["answers", "imitate", "prefer"] * 2
    assert [one["number"] for one in told] == [0, 1] and told[0]["pairs"] == 20
    assert told[0]["imitation"] == 0.5 and told[0]["preference"] == 0.25


def test_equal_and_missing_answers_are_left_out_and_their_share_is_told():
    policy = Telling(say=int(np.bincount(PAIRS.item).argmax()))
    told = play(policy, PAIRS, sampler("self"), rounds=1, size=200, seed=0)[0]
    _, chosen, rejected = policy.done[-1]
    assert 0 < told["same"] < 1 and len(chosen) == round(200 * (1 - told["same"])) and policy.say not in chosen
    assert set(rejected) == {policy.say}
    silent = Telling(say=-1)
    told = play(silent, PAIRS, sampler("self"), rounds=1, size=10, seed=0)[0]
    assert told["missing"] == 1.0 and told["preference"] is None and silent.done[-1][0] == "imitate"


def test_draws_of_a_seed_are_equal_and_of_two_rounds_are_not():
    one, same, other = (Telling() for _ in range(3))
    for policy, seed in ((one, 1), (same, 1), (other, 2)):
        play(policy, PAIRS, sampler("uniform", seed=seed), rounds=2, size=30, seed=seed)
    assert one.done == same.done != other.done and one.done[1] != one.done[3]


def test_each_kind_of_rejected_answer():
    policy, some = Telling(), PAIRS.take(np.arange(240) % len(PAIRS))
    uniform, popular = (sampler(kind)(policy, some, 0) for kind in ("uniform", "popular"))
    assert policy.done == []  # these do not ask the policy
    hits = np.arange(36, 42)  # what everybody met
    banned = some.queries.forbidden(42)
    for made in (uniform, popular):
        assert (made >= 0).all() and not banned[np.arange(240), made].any()
    assert np.isin(popular, hits).mean() > 2 * np.isin(uniform, hits).mean()
    knn = ItemKNN().fit(PLACE.data)
    found = knn.retrieve(some.queries, 2).padded(2)
    hard = sampler("hard", retriever=knn)(policy, some, 0)
    assert not (hard == some.item).any() and np.array_equal(
        hard[found[:, 0] != some.item], found[found[:, 0] != some.item, 0]
    )
    mix = sampler("mix", rho=0.25)(policy, some, 0)
    assert 0.1 < (mix == 7).mean() < 0.4 and policy.done == [("answers", 0.0, 240)]
    sampler("self", temperature=0.7)(policy, some, 0)
    assert policy.done[-1] == ("answers", 0.7, 240)


def test_where_nothing_is_permitted_nothing_is_rejected():
    queries = PAIRS.queries.take([0]).excluding(np.arange(42, dtype=np.int32), np.array([0, 42]))
    pairs = type(PAIRS)(queries, PAIRS.item[:1])
    assert [sampler(kind)(Telling(), pairs, 0).tolist() for kind in ("uniform", "popular")] == [[-1], [-1]]


class Table:
    """A distribution over 20 items for all questions; each step of a round is the damped exact one.

    imitate: log-odds go a half of the way to the data. prefer: alpha / beta of the log-ratio of data and rejected.
    """

    def __init__(self, alpha, data):
        self.alpha, self.data, self.odds, self.curve = alpha, data, 2 * np.log(data), []

    def share(self):
        made = np.exp(self.odds - self.odds.max())
        return made / made.sum()

    def answers(self, queries, temperature, seed):
        whole = np.cumsum(self.share())
        return np.searchsorted(whole, (np.arange(len(queries)) + 0.5) / len(queries) * whole[-1]).astype(np.int32)

    def imitate(self, pairs, seed):
        self.odds = 0.5 * self.odds + 0.5 * np.log(self.data)
        return 0.0

    def prefer(self, pairs, rejected, seed):
        said = self.said
        self.odds = self.odds + self.alpha / 0.1 * (np.log(self.data) - np.log(said))
        self.curve.append(0.5 * np.abs(self.share() - self.data).sum())
        return 0.0


@pytest.mark.parametrize(
    ("alpha", "curve"),
    [
        (0.05, [0.0, 0.0, 0.0]),
        (0.10, [0.212, 0.107, 0.055]),
        (0.02, [0.127, 0.039, 0.012]),
        (0.15, [0.385, 0.366, 0.385]),
    ],
)
def test_damped_rounds_come_to_the_data_and_long_steps_swing_for_ever(alpha, curve):
    """The error in log-odds is multiplied by 1 - lambda - alpha / beta: stable below 2 - lambda."""
    data = 1 / np.arange(1, 21)
    table = Table(alpha, data / data.sum())

    def rejected(policy, pairs, number):
        policy.said = policy.share()  # what it says before it learns, exactly
        return policy.answers(pairs.queries, 0.0, 0)

    play(table, PAIRS, rejected, rounds=3, size=50, seed=0)
    assert table.curve == pytest.approx(curve, abs=1e-3)
