from dataclasses import replace

import numpy as np
import pytest

from hexarec.classic import IALS
from hexarec.data.worlds import world
from hexarec.parts import audience
from hexarec.parts.audience import Audience, Placed, likeliest, moved, newest, people_of, spread

COLD = world("cold")
DATA = COLD.data
DRAW = np.random.default_rng(0)
PEOPLE = DRAW.standard_normal((30, 4)).astype(np.float32)
WARM = DRAW.standard_normal((20, 4)).astype(np.float32)


def test_the_likeliest_known_users_stand_first_and_ties_go_to_the_smaller_row():
    p = np.array([[0.1, 0.4, 0.4, 0.9], [0.0, 0.0, 0.5, 0.0]], np.float32)
    found = likeliest(p, np.array([True, True, True, False]), 3)
    assert found.users.tolist() == [[1, 2, 0], [2, -1, -1]]
    np.testing.assert_allclose(found.p, [[0.4, 0.4, 0.1], [0.5, 0.0, 0.0]])
    assert likeliest(p, np.ones(4, bool), 9).users.shape == (2, 4)
    nan = likeliest(np.full((1, 4), np.nan, np.float32), np.ones(4, bool), 2)
    assert (nan.users == -1).all() and not nan.p.any()


def of(users):
    return Audience(np.array(users), np.ones(np.shape(users), np.float32))


@pytest.mark.parametrize("how", ["bpr", "solve"])
def test_an_item_moves_towards_its_audience_and_away_from_nobody_known(how):
    start = np.zeros((2, 4), np.float32)
    made = moved(start, of([[3, 5, 7], [3, -1, -1]]), PEOPLE, WARM, how, ["a", "b"], 0)
    own = PEOPLE[[3, 5, 7]].mean(0)
    assert made[0] @ own > 0.5 * np.linalg.norm(made[0]) * np.linalg.norm(own)
    assert made[1] @ PEOPLE[3] > 0 and not start.any()


def test_pairwise_steps_lift_an_item_for_its_audience_and_crowd_nothing_out_for_others():
    made = moved(np.zeros((1, 4), np.float32), of([[3, 5, 7]]), PEOPLE, WARM, "bpr", ["a"], 0)[0]
    ahead = ((PEOPLE @ made)[:, None] > PEOPLE @ WARM.T).mean(1)
    others = np.delete(ahead, [3, 5, 7])
    assert ahead[[3, 5, 7]].mean() > 0.65 and 0.35 < others.mean() < 0.6
    assert 0.3 < np.linalg.norm(made) / np.linalg.norm(WARM, axis=1).mean() < 2.0


def test_where_all_users_lean_one_way_an_item_is_not_put_above_all_that_is_warm():
    """Steps for the audience alone go along what all users share, and lift the item for everybody."""
    people = PEOPLE + np.array([2, 0, 0, 0], np.float32)
    made = moved(np.zeros((1, 4), np.float32), of([[3, 5, 7]]), people, WARM, "bpr", ["a"], 0)[0]
    ahead = ((people @ made)[:, None] > people @ WARM.T).mean(1)
    assert np.delete(ahead, [3, 5, 7]).mean() < 0.5


def test_the_closed_form_is_least_squares():
    made = moved(np.zeros((1, 4), np.float32), of([[3, 5, 7]]), PEOPLE, WARM, "solve", ["a"], 0)[0]
    gram = audience.UNOBSERVED * PEOPLE.T @ PEOPLE
    ridge = audience.RIDGE * np.trace(gram) / 4

    def loss(v):
        inside = ((1 - PEOPLE[[3, 5, 7]] @ v) ** 2).sum()
        return inside + audience.UNOBSERVED * ((PEOPLE @ v) ** 2).sum() + ridge * (v**2).sum()

    assert all(loss(made) < loss(made + step) for step in 0.01 * np.vstack([np.eye(4), -np.eye(4)]))


def test_text_and_an_empty_audience_leave_the_start():
    start = DRAW.standard_normal((2, 4)).astype(np.float32)
    assert np.array_equal(moved(start, of([[1], [2]]), PEOPLE, WARM, "text", ["a", "b"], 0), start)
    for how in ("bpr", "solve"):
        assert np.array_equal(moved(start, of([[-1], [-1]]), PEOPLE, WARM, how, ["a", "b"], 0), start)
    assert np.array_equal(moved(start, of([[1], [2]]), PEOPLE, WARM[:0], "bpr", ["a", "b"], 0), start)


def test_draws_belong_to_the_item_and_not_to_its_place():
    start = np.zeros((2, 4), np.float32)
    both = moved(start, of([[1, 2], [3, 4]]), PEOPLE, WARM, "bpr", ["a", "b"], 0)
    alone = moved(start[:1], of([[3, 4]]), PEOPLE, WARM, "bpr", ["b"], 0)
    assert np.array_equal(both[1], alone[0])
    assert not np.array_equal(alone, moved(start[:1], of([[3, 4]]), PEOPLE, WARM, "bpr", ["b"], 1))


def test_placed_items_are_those_with_likes_and_new_rows_are_cold_and_unpopular():
    cf = IALS(factors=4, sweeps=2).fit(DATA)
    made = Placed.of(cf, DATA)
    warm = DATA.interactions.counts(DATA.n_items) > 0
    assert np.array_equal(~made.cold, warm) and np.array_equal(made.items[warm], cf.items()[warm])
    assert not made.items[~warm].any() and made.popular.max() == 1.0 and len(made.warm) == warm.sum()
    more = made.with_rows(np.array([50, DATA.n_items]), np.ones((2, 4), np.float32))
    assert more.items[[50, DATA.n_items]].all() and more.cold[-1] and more.popular[-1] == 0.0
    assert not made.items[50].any() and np.array_equal(more.items[:50], made.items[:50])
    assert made.with_rows(np.zeros(0, np.int64), np.zeros((0, 4), np.float32)).items.shape == made.items.shape


def test_users_without_likes_are_unknown():
    log = DATA.interactions
    data = DATA.with_log(log.where(log.user > 1))
    people = people_of(IALS(factors=4, sweeps=2).fit(data), data)
    assert people.known.tolist() == [False, False, *[True] * (DATA.n_users - 2)]


def test_the_newest_items_are_those_met_last_and_drawn_ones_without_a_clock():
    log = DATA.interactions
    rows = np.flatnonzero(log.counts(DATA.n_items) > 0)
    first = np.array([log.time[log.item == row].min() for row in rows])
    taken = newest(DATA, rows, 0.2, 0)
    assert len(taken) == 10 and first[taken].min() >= np.delete(first, taken).max()
    order = replace(DATA, interactions=replace(log, clock=False))
    drawn = [newest(order, rows, 0.2, seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] != taken.tolist()
    assert not len(newest(DATA, rows[:5], 0.2, 0)) and len(newest(DATA, rows, 5.0, 0)) == len(rows) - 1


def test_spread_is_the_root_of_the_mean_square_and_never_zero():
    assert spread(np.array([[3.0, 4.0]])) == pytest.approx(np.sqrt(12.5))
    assert spread(np.zeros((2, 2))) > 0 and spread(np.zeros((0, 2))) == 1.0
