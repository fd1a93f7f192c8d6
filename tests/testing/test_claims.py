from functools import lru_cache

import pytest

from hexarec.data.worlds import WORLDS, world
from hexarec.testing.claims import CLAIMS, Claim


@lru_cache
def measured(claim):
    return claim.measure()


@pytest.mark.parametrize("claim", [pytest.param(c, marks=[pytest.mark.slow] if c.slow else []) for c in CLAIMS],
                         ids=lambda claim: claim.name.replace(" ", "_"))  # fmt: skip
def test_the_claim_holds(claim):
    found = measured(claim)
    assert found.holds, f"{claim.name}: {found.better:.3f} against {found.worse:.3f}, margin {claim.margin}"


@pytest.mark.slow
@pytest.mark.parametrize("claim", [c for c in CLAIMS if not c.shrinks and c.name != "a transformer reads the order"],
                         ids=lambda claim: claim.name.replace(" ", "_"))  # fmt: skip
def test_the_claim_holds_in_another_draw_of_its_world(claim):
    assert claim.measure(seed=1).holds


def test_the_released_single_permutation_has_the_variance_of_one_ask():
    released = measured(next(c for c in CLAIMS if "as released" in c.name))
    single = measured(next(c for c in CLAIMS if "mean place" in c.name))
    assert released.worse == pytest.approx(single.worse)
    assert single.better / single.worse == pytest.approx(1 / 8, abs=0.05)


def test_every_claim_says_where_it_comes_from_and_every_world_is_used():
    assert all(claim.paper and claim.margin > 0 for claim in CLAIMS)
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.world for claim in CLAIMS} == set(WORLDS)


class Knows:
    """A system whose number is given."""

    def __init__(self, number):
        self.number = number

    def fit(self, data, *, seed=0):
        return self


def claim(better, worse, margin, **more):
    return Claim("c", "p", "order", lambda: Knows(better), lambda: Knows(worse), lambda s, w: s.number, margin, **more)


def test_a_claim_fails_when_the_margin_is_not_reached():
    assert claim(0.8, 0.5, 0.3 - 1e-9).measure().holds and not claim(0.79, 0.5, 0.3).measure().holds
    assert claim(0.29, 1.0, 0.3, shrinks=True).measure().holds
    assert not claim(0.31, 1.0, 0.3, shrinks=True).measure().holds


def test_the_measure_sees_the_world_of_the_asked_seed():
    seen = []
    made = Claim("c", "p", "order", lambda: Knows(1), lambda: Knows(0),
                 lambda s, w: seen.append(w.queries.history.item.tolist()) or s.number, 0.5)  # fmt: skip
    made.measure(seed=5)
    assert seen[0] == world("order", 5).queries.history.item.tolist() != world("order", 0).queries.history.item.tolist()
