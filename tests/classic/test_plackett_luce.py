import itertools
from dataclasses import replace

import numpy as np
import pytest

from hexarec.classic import PlackettLuce, Popular
from hexarec.core import Lists, OptionError, strings
from hexarec.data.worlds import world
from hexarec.metrics.offpolicy import Logged, estimate

DATA = world("checkerboard").data


def many(n, requests=True):
    """The question of one user, n times, each under a request of its own."""
    queries = DATA.queries(np.zeros(n, int))
    return replace(queries, context=strings({"request": f"r{i}"} for i in range(n))) if requests else queries


def ranked(queries, m=4):
    return Lists.of(DATA.catalog.key, [list(range(m))] * len(queries))


def drawn(n, k=4, m=4, **options):
    queries = many(n)
    return PlackettLuce(**options).fit(DATA).control(queries, ranked(queries, m), k)


def exact(m, k, temperature):
    """The probability of every ordered list, from the definition."""
    weight = (np.arange(m) + 1.0) ** (-1.0 / temperature)
    made = {}
    for order in itertools.permutations(range(m), k):
        left, chance = weight.sum(), 1.0
        for place in order:
            chance *= weight[place] / left
            left -= weight[place]
        made[order] = chance
    return made


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_lists_come_as_often_as_the_model_says(temperature):
    n = 6000
    lists = drawn(n, k=3, m=4, temperature=temperature)
    rows, counts = np.unique(lists.items.reshape(n, 3), axis=0, return_counts=True)
    seen = {tuple(row): count / n for row, count in zip(rows.tolist(), counts, strict=True)}
    for order, chance in exact(4, 3, temperature).items():
        assert abs(seen.get(order, 0.0) - chance) < 5 * np.sqrt(chance / n) + 1e-3


def test_propensities_are_those_of_the_definition():
    lists = drawn(200, k=3, m=4, temperature=0.7)
    wanted = exact(4, 3, 0.7)
    made = lists.fields["propensity"].reshape(200, 3).prod(1)
    for row, chance in zip(lists.items.reshape(200, 3).tolist(), made, strict=True):
        assert chance == pytest.approx(wanted[tuple(row)], rel=1e-5)


def test_long_lists_have_propensities_of_small_remainders():
    chance = drawn(20, k=50, m=50 if DATA.n_items >= 50 else DATA.n_items, temperature=0.05).fields["propensity"]
    assert np.isfinite(chance).all() and (chance > 0).all() and (chance <= 1).all()


def test_temperature_0_and_a_window_of_one_keep_the_order():
    for options in ({"temperature": 0.0}, {"window": 1}, {"keep": 4}):
        lists = drawn(5, **options)
        assert lists.items.reshape(5, 4).tolist() == [[0, 1, 2, 3]] * 5
        assert (lists.fields["propensity"] == 1).all()


def test_the_head_and_the_tail_keep_their_places():
    lists = drawn(200, k=8, m=8, temperature=5.0, keep=2, window=5).items.reshape(200, 8)
    assert (lists[:, :2] == [0, 1]).all() and (lists[:, 5:] == [5, 6, 7]).all()
    assert len(np.unique(lists[:, 2:5], axis=0)) == 6


def test_one_question_draws_one_list_and_another_request_another():
    stage = PlackettLuce(temperature=2.0).fit(DATA)
    same = many(10, requests=False)
    assert len(np.unique(stage.control(same, ranked(same), 4).items.reshape(10, 4), axis=0)) == 1
    assert len(np.unique(drawn(50, temperature=2.0).items.reshape(50, 4), axis=0)) > 5


def test_fields_follow_their_items():
    queries = many(6)
    given = ranked(queries)
    given = replace(given, fields={"mark": given.items.copy()})
    made = PlackettLuce(temperature=3.0).fit(DATA).control(queries, given, 3)
    assert np.array_equal(made.fields["mark"], made.items)


def test_what_it_logs_tells_how_the_undrawn_list_would_have_done():
    n, gain = 4000, np.array([0.6, 0.3, 0.2, 0.1])
    lists = drawn(n, k=1, m=4, temperature=1.5)
    rewards = (np.random.default_rng(0).random(n) < gain[lists.items]).astype(float)
    logged = Logged(
        action=lists.items.astype(np.int64), reward=rewards, propensity=lists.fields["propensity"].astype(float)
    )
    policy = np.zeros((n, 4))
    policy[:, 0] = 1.0
    made = estimate(policy, logged, method="ips")
    assert made.low < 0.6 < made.high and abs(rewards.mean() - 0.6) > 0.1


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"temperature": float("inf")}, {"window": 0}, {"keep": -1}])
def test_bad_options_are_refused(options):
    with pytest.raises(OptionError):
        PlackettLuce(**options).fit(DATA)


def test_it_works_behind_a_ranking():
    queries = many(3)
    made = PlackettLuce(window=5).fit(DATA).control(queries, Popular().fit(DATA).retrieve(queries, 10), 5)
    assert made.lengths.tolist() == [5, 5, 5]
