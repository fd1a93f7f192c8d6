from dataclasses import replace

import numpy as np
import pytest

from hexarec.classic import IALS, ItemKNN, Popular
from hexarec.core import KINDS, LineageError, Lists, OptionError
from hexarec.data.worlds import world
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.parts.rollout import learned, rollout, rounds

PLACE = world("drift")
DATA = PLACE.data
TWIN = Agent4Rec(mind="rules", taste_by=IALS(factors=8)).fit(DATA)
QUERIES = DATA.queries([0, 1, 2, 3])
LISTS = Popular().fit(DATA).retrieve(QUERIES, 10)


class Patient:
    """Likes every other item, leaves after two pages if it is an even user, and keeps what it was shown."""

    def __init__(self):
        self.pages = []

    def react(self, visits, shown):
        self.pages.append(([one["user"] for one in visits], [one.items.tolist() for one in shown]))
        return [self.one(visit, page) for visit, page in zip(visits, shown, strict=True)]

    def one(self, visit, page):
        number = visit.get("page", 0) + 1
        judged = [{"item": name, "aligned": True, "watched": n % 2 == 0, "liked": n % 2 == 0, "rating": None}
                  for n, name in enumerate(DATA.catalog.ids(page.items))]  # fmt: skip
        left = number >= 2 and int(visit["user"][1:]) % 2 == 0
        return {**visit, "page": number, "judged": judged, "exited": left, "satisfaction": 6 if left else None}


def test_pages_are_shown_in_order_until_somebody_leaves():
    people = Patient()
    rolled = rollout(LISTS, QUERIES, people, pages=9, per_page=4, name="popular")
    assert [users for users, _ in people.pages] == [["u000", "u001", "u002", "u003"]] * 2 + [["u001", "u003"]]
    assert people.pages[2][1] == [LISTS[1].items[8:].tolist(), LISTS[3].items[8:].tolist()]
    assert rolled.seen.shown.lengths.tolist() == [8, 10, 8, 10]
    assert [one["page"] for one in rolled.visits] == [2, 3, 2, 3]
    one = rolled.seen.shown[1]
    assert one.fields["page"].tolist() == [1] * 4 + [2] * 4 + [3] * 2 and one.fields["slot"].tolist() == list(range(10))
    assert one.fields["gain"].tolist() == [1, 0] * 5 and rolled.seen.source == "sim:Patient"


def test_a_page_limit_leaves_people_where_they_are():
    rolled = rollout(LISTS, QUERIES, Patient(), pages=1)
    assert not any(one["exited"] for one in rolled.visits)
    with pytest.raises(OptionError, match="at least 1"):
        rollout(LISTS, QUERIES, Patient(), pages=0)
    with pytest.raises(LineageError):
        rollout(replace(LISTS, key="other"), QUERIES, Patient())


def test_nothing_shown_is_no_visit():
    rolled = rollout(Lists.empty(DATA.catalog.key, 4), QUERIES, Patient())
    assert all("page" not in one for one in rolled.visits) and len(rolled.seen.shown.items) == 0


def test_likes_become_events_by_row_and_the_data_is_left_as_it_was():
    # as released items are kept by title, and the training lists are changed in place
    before, key = DATA.interactions.digest, DATA.key
    rolled = rollout(LISTS, QUERIES, Patient(), pages=2)
    after = learned(DATA, rolled)
    assert DATA.interactions.digest == before and DATA.key == key
    fresh = after.interactions.where(after.interactions.source == 1)
    assert len(fresh) == 16 and after.simulated and after.interactions.sources == ("log", "sim:Patient")
    assert set(fresh.item[fresh.user == 0].tolist()) == set(LISTS[0].items[[0, 2, 4, 6]].tolist())
    assert fresh.time.min() > DATA.interactions.time.max() and set(fresh.kind.tolist()) == {KINDS.index("like")}
    again = learned(after, rolled)
    assert again.interactions.sources == ("log", "sim:Patient")


def test_rounds_learn_from_what_was_liked_and_show_nothing_twice():
    class Spy(Popular):
        asked, logs = [], []

        def fit(self, data, *, seed=0):
            self.logs.append(len(data.interactions))
            return super().fit(data, seed=seed)

        def retrieve(self, queries, k):
            made = super().retrieve(queries, k)
            self.asked.append(made)
            return made

    key = DATA.key
    told = rounds(Spy(), TWIN, DATA, QUERIES, 3, pages=2, per_page=4)
    assert len(told) == 3 and DATA.key == key
    for i in range(4):
        shown = [row for made in Spy.asked for row in made[i].items.tolist()]
        assert len(shown) == len(set(shown)) == 24
    likes = [one.likes * 4 for one in told]
    assert Spy.logs == [len(DATA.interactions) + round(sum(likes[:n])) for n in range(3)]
    assert all(1 <= one.satisfaction <= 10 and 0 < one.top_share <= 1 and one.kinds >= 1 for one in told)


def test_a_greedy_loop_narrows_what_is_shown():
    # the published filter bubble: neighbours of what was liked are shown, liked, and shown more
    told = rounds(ItemKNN(), TWIN, DATA, DATA.queries(), 1, pages=2, per_page=3)
    spread = rounds(Popular(), TWIN, DATA, DATA.queries(), 1, pages=2, per_page=3)
    assert told[0].top_share > spread[0].top_share
    assert np.isfinite(told[0].satisfaction)
