from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Catalog, History, IdTable, Item, Queries
from hexarec.parts.feedback import Bandit, Steered

WIDE = (-100.0, 100.0)


def asked(names, table=None):
    """Questions of these users, in a user table of their own unless given."""
    users = IdTable.of(list(dict.fromkeys(names))) if table is None else table
    catalog = Catalog.of([Item("a", "A")], key="feedback")
    return Queries.of(catalog, users, users.rows(names), History.empty(len(names)))


def number(steered, name):
    values, known = steered.users.dense(asked([name]))
    return values[0].tolist() if known[0] else None


def loop(gains, slope, steps=30, start=0.0, goal=1.0, bounds=WIDE):
    """Errors of a plant that answers slope * number."""
    steered, errors, now = Steered.of(IdTable.of(["u"])), [], start
    for _ in range(steps):
        errors.append(goal - slope * now)
        steered = steered.moved(["u"], np.array([start]), np.array(errors[-1:]), gains, bounds)
        now = number(steered, "u")[0]
    return np.array(errors)


def test_the_law_by_hand():
    one = Steered.of(IdTable.of(["u", "v"])).moved(["u"], np.array([0.3]), np.array([0.1]), (0.2, 0.02), (0.0, 1.0))
    assert number(one, "u") == pytest.approx([0.3 + 0.02 + 0.002, 0.1]) and number(one, "v") is None
    two = one.moved(["u"], np.array([9.0]), np.array([-0.3]), (0.2, 0.02), (0.0, 1.0))
    assert number(two, "u") == pytest.approx([0.322 - 0.06 - 0.004, -0.2])
    assert number(one, "u") == pytest.approx([0.322, 0.1]), "learning gives a new value"


def test_bounds_hold_and_do_not_wind_up():
    steered = Steered.of(IdTable.of(["u"]))
    for _ in range(50):
        steered = steered.moved(["u"], np.array([0.5]), np.array([1.0]), (0.2, 0.1), (0.0, 0.8))
    assert number(steered, "u")[0] == 0.8
    back = steered.moved(["u"], np.array([0.5]), np.array([-1.0]), (0.2, 0.1), (0.0, 0.8))
    assert number(back, "u")[0] < 0.8, "the first error of the other sign moves it off the bound"


def test_several_errors_of_one_user_count_in_their_order_and_newcomers_are_taken_in():
    steered = Steered.of(IdTable.of(["u"]))
    names, start, error = ["new", "u", "new"], np.array([0.5, 0.1, 0.9]), np.array([0.1, 0.2, 0.3])
    once = steered.moved(names, start, error, (1.0, 0.0), WIDE)
    assert number(once, "new")[0] == pytest.approx(0.5 + 0.1 + 0.3) and number(once, "u")[0] == pytest.approx(0.3)
    assert number(once.reset(["new"]), "new") is None and number(once.reset(["new"]), "u")[0] == pytest.approx(0.3)


def test_a_newcomer_does_not_stand_in_the_row_that_the_log_gives_somebody_else():
    table = IdTable.of(["u"])
    steered = Steered.of(table).moved(["ours"], np.array([0.5]), np.array([0.1]), (1.0, 0.0), WIDE)
    grown = table.extend(["theirs"])
    assert not steered.users.dense(asked(["theirs"], grown))[1][0]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 3.0), st.floats(0.3, 0.95))
def test_below_one_over_the_slope_it_settles_within_ten_without_oscillation(slope, part):
    """With e' = (1 - slope * proportional) e the bound of no oscillation is proportional = 1 / slope."""
    errors = loop((part / slope, 0.0), slope, steps=11)
    assert (errors > 0).all() and (np.diff(errors) < 0).all()
    assert errors[10] <= (1 - part) ** 10 + 1e-9


def test_beyond_the_bound_it_oscillates_and_beyond_twice_it_never_settles():
    over = loop((1.5, 0.0), 1.0)
    assert (np.sign(over[:8]) == [1, -1, 1, -1, 1, -1, 1, -1]).all() and abs(over[-1]) < 1e-6
    wild = loop((2.5, 0.0), 1.0, bounds=(0.0, 2.0))
    assert set(np.sign(wild[-4:])) == {-1.0, 1.0} and abs(wild[-1]) >= 0.9


def chosen(bandit, names, seed=0):
    return bandit.choose(asked(names), seed, "words")


def test_a_bandit_finds_the_arm_that_pays():
    users = [f"u{i}" for i in range(50)]
    bandit = Bandit.of(IdTable.of(users), 5)
    for _ in range(30):
        arm, _ = chosen(bandit, users)
        bandit = bandit.learn(users, arm, np.array([1.0, 1.0, 1.0, 3.0, 1.0])[arm])
    arm, odds = chosen(bandit, users)
    assert (arm == 3).mean() > 0.8
    np.testing.assert_allclose(odds[arm == 3], 0.9 + 0.1 / 5)
    np.testing.assert_allclose(odds[arm != 3], 0.1 / 5)


def test_every_arm_is_tried_before_one_is_preferred():
    bandit = replace(Bandit.of(IdTable.of(["u", "v"]), 3), explored=0.0)
    seen = []
    for _ in range(5):
        arm, odds = chosen(bandit, ["u"])
        seen.append(int(arm[0]))
        assert odds[0] == 1.0
        bandit = bandit.learn(["u"], arm, np.array([0.0, 2.0, 1.0])[arm])
    assert seen == [0, 1, 2, 1, 1]
    assert chosen(bandit, ["v"])[0][0] == 1, "who is new gets what suits the others"


def test_users_of_other_tastes_get_arms_of_their_own():
    """Half of the users stay longer with arm 0, half with arm 2: a bandit of all users alone could not serve both."""
    users = [f"u{i}" for i in range(20)]
    bandit = replace(Bandit.of(IdTable.of(users), 3), explored=0.3)
    likes = np.arange(20) % 2 * 2
    for _ in range(60):
        arm, _ = chosen(bandit, users)
        bandit = bandit.learn(users, arm, np.where(arm == likes, 5.0, 1.0))
    best, _ = chosen(replace(bandit, explored=0.0), users)
    assert (best == likes).mean() >= 0.9


def test_choices_belong_to_the_user_not_to_the_batch():
    users = [f"u{i}" for i in range(40)]
    bandit = Bandit.of(IdTable.of(users), 5).learn(["u1"], np.array([2]), np.array([4.0]))
    together, odds = chosen(bandit, users)
    for i in range(0, 40, 7):
        alone, own = chosen(bandit, [users[i]])
        assert alone[0] == together[i] and own[0] == odds[i]
    assert len(set(together.tolist())) > 1, "some are explored"
    again = bandit.reset(["u1"])
    assert again.all[0].sum() == 1.0 and not again.users.dense(asked(["u1"]))[1][0]
