"""The batcher: merged asks answer as single ones, nobody waits beyond a deadline, overload is refused."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.hanging import LONG, Hang

from hexarec.core import Filter, Lists, OptionError, StateError, current, degrade
from hexarec.core.errors import DataError
from hexarec.data.worlds import world
from hexarec.pipeline import make
from hexarec.pipeline.pipeline import Pipeline
from hexarec.serve.errors import OverloadError
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.publish import attached
from hexarec.serve.live.recommender import Recommender
from hexarec.serve.store.rows import EventRow

DATA = world("checkerboard").data
ITEMS = DATA.catalog.items.ids.tolist()
KNN = {"retrieve": [{"use": "itemknn", "neighbours": 10}]}


def histories(users, sessions):
    """Each known user's events, from the world's own log."""
    made = {}
    for user in users:
        row = int(DATA.users.ids.rows([user])[0])
        if row >= 0:
            part = slice(*DATA.interactions.offsets[row : row + 2])
            made[user] = [
                EventRow(f"{user}{i}", ITEMS[item], float(i)) for i, item in enumerate(DATA.interactions.item[part])
            ]
    return made


class Slow:
    """A retriever that takes its time, as a hung model would; it hears the deadline of its run, a `hang` does not."""

    def __init__(self, seconds=0.0, fault=None, hang=lambda: None):
        self.seconds, self.fault, self.hang, self.sizes = seconds, fault, hang, []

    def retrieve(self, queries, k):
        self.sizes.append(len(queries))
        self.hang()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            current().check()
            time.sleep(0.002)
        if self.fault is not None:
            raise self.fault
        return Lists.of(queries.catalog.key, [list(range(10))[:k]] * len(queries)).permitted(queries)


def serving(stage=None, **options):
    pipeline = make(KNN).fit(DATA) if stage is None else Pipeline((stage,)).fit(DATA)
    counts = {one: len(ITEMS) - row for row, one in enumerate(ITEMS)}
    return Recommender(attached("p", 1, pipeline, counts, None), histories, **options)


@pytest.fixture
def served():
    made = []

    def opened(*stage, **options):
        made.append(serving(*stage, **options))
        return made[-1]

    yield opened
    for one in made:
        one.close(1.0)


def test_a_batch_equals_its_singletons(served):
    one = served()
    asks = [Ask(user=user, k=5) for user in DATA.users.ids.ids[:20].tolist()]
    asks += [Ask(history=(EventRow("", ITEMS[row], 1.0),), k=5, exclude=(ITEMS[row + 1],)) for row in range(5)]
    asks.append(Ask(user="stranger", k=5, where=Filter.parse({"field": "genres", "op": "has", "value": ["even"]})))
    alone = [one.submit(ask).result(LONG) for ask in asks]
    merged = [future.result(LONG) for future in [one.submit(ask) for ask in asks]]
    assert [given.items for given in merged] == [given.items for given in alone]
    assert max(given.batch for given in merged) > 1


def test_asks_that_wait_share_a_batch_and_different_ones_do_not(served):
    with Hang() as slow:
        stage = Slow(hang=slow)
        one = served(stage)
        futures = [one.submit(Ask(user="first", k=3))]
        slow.met.wait(LONG)
        futures += [one.submit(Ask(user=f"u{i}", k=3)) for i in range(8)] + [one.submit(Ask(user="v", k=4))]
    lengths = [len(future.result(LONG).items) for future in futures]
    assert lengths == [3] * 9 + [4]
    assert stage.sizes == [1, 8, 1]


def test_what_is_shared_adds_up(served):
    class Spends(Slow):
        def retrieve(self, queries, k):
            current().ledger.add(calls=7, tokens_in=100, tokens_out=3, cost=0.01)
            return super().retrieve(queries, k)

    one = served(Spends(0.05))
    given = [future.result(LONG) for future in [one.submit(Ask(user=f"u{i}", k=3)) for i in range(8)]]
    assert sum(one.tokens for one in given) % 103 == 0 and sum(one.calls for one in given) % 7 == 0
    assert sum(one.dollars for one in given) == pytest.approx(0.01 * sum(one.calls for one in given) / 7)


@pytest.mark.parametrize("fault", [StateError("gone"), DataError("bad"), ValueError("a fault of ours"), MemoryError()])
def test_a_pipeline_that_fails_is_replaced_by_popular_items_with_the_reason(served, fault):
    given = served(Slow(0.0, fault)).submit(Ask(user=DATA.users.ids.ids[0], k=5)).result(LONG)
    met = {event.item for event in histories([DATA.users.ids.ids[0]], ())[DATA.users.ids.ids[0]]}
    assert len(given.items) == 5 and not set(given.items) & met
    assert given.degraded[0]["stage"] == "pipeline" and given.sources == ("standby",) * 5


def test_the_deadline_stops_a_slow_stage(served):
    one = served(Slow(LONG))
    given = one.submit(Ask(user="u", k=3, deadline=time.monotonic() + 0.3)).result(2 * LONG)
    assert len(given.items) == 3 and "deadline" in given.degraded[0]["why"]  # had it ended, nothing would be degraded


def test_a_hurried_ask_spoils_no_patient_one(served):
    stage = Slow(0.2)
    one = served(stage)
    one.submit(Ask(user="first", k=3))
    time.sleep(0.02)
    patient = [one.submit(Ask(user=f"u{i}", k=3)) for i in range(3)]
    hurried = one.submit(Ask(user="h", k=3, deadline=time.monotonic() + 0.1))
    assert hurried.result(LONG).degraded
    assert not any(future.result(LONG).degraded for future in patient)


def test_filters_exclusions_and_candidates_hold_in_standby(served):
    one = served(Slow(0.0, StateError("gone")))
    even = Filter.parse({"field": "genres", "op": "has", "value": ["even"]})
    given = one.submit(Ask(user="u", k=4, where=even, exclude=tuple(ITEMS[:4]))).result(LONG)
    assert len(given.items) == 4 and not set(given.items) & set(ITEMS[:4])
    assert all("even" in DATA.catalog[item].attributes["genres"] for item in given.items)
    chosen = one.submit(Ask(user="u", k=9, candidates=(ITEMS[5], ITEMS[3], "unknown"))).result(LONG)
    assert sorted(chosen.items) == sorted((ITEMS[5], ITEMS[3]))


def test_a_filter_that_does_not_fit_is_refused_before_it_waits(served):
    with pytest.raises(OptionError, match="no field"):
        served().submit(Ask(user="u", where=Filter.parse({"field": "colour", "op": "=", "value": "red"})))


def test_too_many_asks_are_refused_while_the_others_wait(served):
    with Hang() as slow:
        one = served(Slow(hang=slow), most=5, merge=1)
        futures = [one.submit(Ask(user="first", k=3))]
        slow.met.wait(LONG)
        futures += [one.submit(Ask(user=f"u{i}", k=3)) for i in range(5)]
        for i in range(14):
            with pytest.raises(OverloadError, match="5 asks are waiting"):
                one.submit(Ask(user=f"v{i}", k=3))
        assert not slow.came_back
    assert all(len(future.result(LONG).items) == 3 for future in futures)


def test_closing_answers_what_waits_and_takes_nothing_more(served):
    one = served(Slow(0.05), merge=1)
    futures = [one.submit(Ask(user=f"u{i}", k=3)) for i in range(5)]
    one.close(LONG)
    assert all(len(future.result(0).items) == 3 for future in futures)
    with pytest.raises(OverloadError, match="stopping"):
        one.submit(Ask(user="late"))


def test_closing_in_a_hurry_leaves_nobody_waiting(served):
    with Hang() as slow:
        one = served(Slow(hang=slow), merge=1)
        futures = [one.submit(Ask(user=f"u{i}", k=3)) for i in range(4)]
        slow.met.wait(LONG)
        one.close(0.1)
        assert not slow.came_back
        assert [isinstance(future.exception(0), OverloadError) for future in futures[1:]] == [True] * 3
    assert len(futures[0].result(LONG).items) == 3


def test_closing_passes_over_who_gave_up_waiting(served):
    with Hang() as slow:
        one = served(Slow(hang=slow), merge=1)
        futures = [one.submit(Ask(user=f"u{i}", k=3)) for i in range(4)]
        slow.met.wait(LONG)
        assert futures[1].cancel()
        one.close(0.1)
        assert [isinstance(future.exception(0), OverloadError) for future in futures[2:]] == [True] * 2


def test_a_swap_is_seen_whole(served):
    one = served()
    generations = [
        one.current,
        replace(one.current, version=2, pipeline=make({"retrieve": [{"use": "popular"}]}).fit(DATA)),
    ]
    wanted = {}
    for generation in generations:
        one.swap(generation)
        wanted[generation.version] = one.submit(Ask(user="stranger", k=5)).result(LONG).items
    stop = threading.Event()

    def swaps():
        while not stop.is_set():
            for generation in generations:
                one.swap(generation)

    thread = threading.Thread(target=swaps)
    thread.start()
    try:
        given = [one.submit(Ask(user="stranger", k=5)).result(LONG) for _ in range(200)]
    finally:
        stop.set()
        thread.join()
    assert all(answer.items == wanted[answer.version] for answer in given)
    assert {answer.version for answer in given} == {1, 2} and one.previous is not None


def test_a_stage_that_complains_is_named_and_its_work_used(served):
    class Complains(Slow):
        def retrieve(self, queries, k):
            degrade("half of it")
            return super().retrieve(queries, k)

    given = served(Complains()).submit(Ask(user="u", k=3)).result(LONG)
    assert given.items == tuple(ITEMS[:3]) and given.degraded[0]["why"] == "half of it"


def test_a_history_that_cannot_be_read_is_said(served):
    def broken(users, sessions):
        raise StateError("the store is down")

    pipeline = make(KNN).fit(DATA)
    one = Recommender(attached("p", 1, pipeline, {}, None), broken)
    given = one.submit(Ask(user="u", k=3)).result(LONG)
    one.close(1.0)
    assert given.degraded[0] == {"stage": "history", "method": "store", "why": "the store is down"}


def test_an_empty_list_is_filled_where_something_may_be_shown(served):
    class Empty(Slow):
        def retrieve(self, queries, k):
            return Lists.empty(queries.catalog.key, len(queries))

    one = served(Empty())
    assert len(one.submit(Ask(user="u", k=3)).result(LONG).items) == 3
    nothing = Filter.parse({"field": "genres", "op": "=", "value": "none"})
    given = one.submit(Ask(user="u", k=3, where=nothing)).result(LONG)
    assert given.items == () and not given.degraded


def test_the_list_of_last_resort_is_by_count_and_ties_by_row():
    from hexarec.serve.live.standby import Standby

    counts = np.zeros(len(ITEMS), np.float32)
    counts[[4, 2]] = [3, 9]
    assert Standby.of(DATA.catalog, counts).order[:3].tolist() == [2, 4, 0]
