import numpy as np
import pytest

from hexarec.core import DataError
from hexarec.data.worlds import world
from hexarec.parts.heldpairs import held_pairs

DATA = world("trap").data


def test_a_pair_is_a_like_after_the_cut_and_an_item_never_met():
    pairs = held_pairs(DATA, 1_000)
    assert len(pairs.liked) == len(pairs.other) == len(pairs.queries) > 5
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
