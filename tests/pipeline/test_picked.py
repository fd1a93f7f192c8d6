from dataclasses import dataclass

import numpy as np

from hexarec.core import Lists
from hexarec.data.worlds import world
from hexarec.eval.alone import over
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.pipeline import make
from hexarec.pipeline.picked import Picked

PLACE = world("cold")
DATA = PLACE.data


@dataclass
class Pickers:
    """They like rows that three divides, look at odd ones, and say nothing of the last item of a page."""

    def fit(self, data, *, seed=0):
        self.ids_ = data.catalog.items
        return self

    def react(self, visits, shown):
        made = []
        for visit, page in zip(visits, shown, strict=True):
            rows = page.items.tolist()[:-1]
            judged = [
                {"item": name, "liked": row % 3 == 0, "watched": row % 2 == 1, "aligned": True}
                for row, name in zip(rows, DATA.catalog.ids(np.array(rows)), strict=True)
            ]
            made.append({**visit, "page": 1, "exited": False, "judged": judged})
        return made


def test_what_is_liked_comes_first_then_what_is_looked_at_then_the_rest_as_given():
    queries = DATA.queries([0, 1])
    given = Lists.of(DATA.catalog.key, [[4, 5, 6, 8, 9, 3], [2, 1]])
    ranked = Picked(Pickers()).fit(DATA).rank(queries, given).top_k(10)
    assert ranked[0].items.tolist() == [
        9,
        6,
        5,
        4,
        8,
        3,
    ]  # 9 is liked and looked at, 6 liked; of 3 nobody said anything
    assert ranked[1].items.tolist() == [2, 1]


def test_pages_without_candidates_are_nobodys():
    queries = DATA.queries([0])
    assert len(Picked(Pickers()).fit(DATA).rank(queries, Lists.empty(DATA.catalog.key, 1)).items) == 0


def test_a_simulated_user_is_measured_over_a_retriever():
    stage = {"use": "agent4rec", "mind": "rules"}
    slots = over(Agent4Rec, stage, {"use": "ease"}, 5)
    assert slots["rank"] == {"use": "window", "ranker": {"use": "picked", "people": stage}, "size": 5}
    assert over(Agent4Rec, stage, {"use": "ease"}, None)["rank"] == {"use": "picked", "people": stage}
    pipeline = make({"pipeline": {"name": "x"}, **slots}).fit(DATA)
    queries = PLACE.queries
    plain = make({"pipeline": {"name": "x"}, "retrieve": [{"use": "ease"}]}).fit(DATA).recommend(queries, 5)
    made = pipeline.recommend(queries, 5)
    for own, before in zip(made.items, plain.items, strict=True):
        assert sorted(own.items.tolist()) == sorted(before.items.tolist())
    assert any(a.items.tolist() != b.items.tolist() for a, b in zip(made.items, plain.items, strict=True))
