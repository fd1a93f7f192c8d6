from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import DataError, Interactions
from hexarec.data.worlds import world
from hexarec.parts.heldpairs import held_pairs

DATA = world("trap").data


def test_a_pair_is_a_like_after_the_cut_and_an_item_never_met():
    pairs = held_pairs(DATA, 1_000)
    assert len(pairs.liked) == len(pairs.other) == len(pairs.queries) > 5
    log = pairs.train.interactions
    before = {(user, item) for user, item in zip(log.user, log.item, strict=True)}
    assert before and not before & set(zip(pairs.queries.user, pairs.liked, strict=True)), "held out means unknown"
    later = {(user, item) for user, item in zip(DATA.interactions.user, DATA.interactions.item, strict=True)}
    for i, query in enumerate(pairs.queries):
        assert (int(pairs.queries.user[i]), int(pairs.liked[i])) in later
        assert pairs.liked[i] not in query.items and pairs.other[i] not in {*query.items, int(pairs.liked[i])}


def test_the_seed_draws_users_and_items():
    one, same, other = held_pairs(DATA, 5), held_pairs(DATA, 5), held_pairs(DATA, 5, seed=1)
    assert one.other.tolist() == same.other.tolist() and len(one.liked) == 5
    assert one.queries.user.tolist() != other.queries.user.tolist() or one.other.tolist() != other.other.tolist()
    with pytest.raises(DataError, match="empty"):
        held_pairs(DATA.with_log(DATA.interactions.where(np.zeros(len(DATA.interactions), bool))), 5)


def test_what_is_met_after_the_cut_is_no_item_never_met():
    """Of 42 items each of 8 users meets 41, a tenth of them after the cut; fifty draws may well miss the last one."""
    n, users = DATA.n_items, 8
    columns = {
        "user": np.repeat(np.arange(users), n - 1), "item": np.tile(np.arange(n - 1), users),
        "time": np.tile(np.arange(n - 1.0), users),
    }  # fmt: skip
    data = DATA.with_log(Interactions.of(columns, DATA.n_users))
    assert held_pairs(data, users).other.tolist() == [n - 1] * users
    withdrawn = replace(data, catalog=data.catalog.remove([str(data.catalog.items.ids[n - 1])]))
    pairs = held_pairs(withdrawn, users)
    assert len(pairs.liked) == len(pairs.other) == len(pairs.queries) == 0, "nothing is left to set beside a like"
