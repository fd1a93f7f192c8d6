import numpy as np

from hexarec.classic import IALS
from hexarec.data.worlds import world
from hexarec.parts.heldpairs import held_pairs
from hexarec.parts.rulemind import PAIRS, RuleMind

DATA = world("cold").data


class Noting(IALS):
    """Notes what it learns from, and the histories of whom it is asked about."""

    learned, asked = [], []

    def fit(self, data, *, seed=0):
        self.learned.append(data.interactions)
        return super().fit(data, seed=seed)

    def users(self, queries):
        self.asked.append(queries)
        return super().users(queries)


def met(log):
    return set(zip(log.user.tolist(), log.item.tolist(), strict=True))


def test_the_curve_of_taste_has_not_seen_the_likes_it_is_learned_from():
    """A factor model that learned from the held-out likes would make them look sure; everybody's vectors come later."""
    Noting.learned.clear(), Noting.asked.clear()
    RuleMind(Noting(factors=4)).fit(DATA, np.full(DATA.n_items, np.nan))
    pairs = held_pairs(DATA, PAIRS, 0)
    held = set(zip(pairs.queries.user.tolist(), pairs.liked.tolist(), strict=True))
    first, second = (met(log) for log in Noting.learned)
    assert len(held) > 20 and held <= second and first and not held & first
    histories = Noting.asked[0].history
    rows = np.repeat(Noting.asked[0].user, histories.lengths).tolist()
    assert rows and not held & set(zip(rows, histories.item.tolist(), strict=True))
