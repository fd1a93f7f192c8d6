import contextvars
import threading
import time
from pathlib import Path

import pytest
from tests.hanging import LONG

from hexarec.core import (
    Budget,
    BudgetError,
    Cancel,
    CancelledError,
    DeadlineError,
    Ledger,
    current,
    degrade,
    held,
    pool,
    run,
    track,
)


def test_outside_any_run_nothing_is_limited():
    assert current().remaining() == float("inf")
    current().check(1e9)
    current().check_budget(calls=10**9, cost=1e9)


def test_a_nested_deadline_can_only_be_sooner():
    with run(seconds=50) as outer:
        with run(seconds=500) as inner:
            assert inner.deadline == outer.deadline
        with run(seconds=1) as inner:
            assert inner.remaining() <= 1 < outer.remaining()
        with run() as inner:
            assert inner.deadline == outer.deadline
    assert current().remaining() == float("inf")


def test_a_step_that_cannot_end_in_time_is_refused_before_it_starts():
    with run(seconds=5) as work:
        work.check(1.0)
        with pytest.raises(DeadlineError, match="the next step needs 10.00 s"):
            work.check(10.0)
    with run(seconds=0) as work, pytest.raises(DeadlineError, match="leaves 0.00 s"):
        work.check()


@pytest.mark.parametrize(
    ("limit", "spent", "more"),
    [
        (Budget(calls=3), {"calls": 2}, {"calls": 2}),
        (Budget(tokens=10), {"tokens_in": 4, "tokens_out": 3}, {"tokens": 4}),
        (Budget(cost=1.0), {"cost": 0.75}, {"cost": 0.5}),
    ],
)
def test_a_budget_counts_what_was_spent_and_what_is_asked_for(limit, spent, more):
    with run(budget=limit) as work:
        work.check_budget(**{"calls": 0, **more})
        work.ledger.add(**spent)
        with pytest.raises(BudgetError, match="is used up"):
            work.check_budget(**{"calls": 0, **more})


def test_spending_in_a_nested_run_counts_outside_and_every_enclosing_budget_holds():
    with run(budget=Budget(calls=3)) as outer:
        with run(budget=Budget(calls=100)) as inner:
            inner.ledger.add(calls=2, tokens_in=5)
            inner.check_budget(calls=1)
            with pytest.raises(BudgetError):
                inner.check_budget(calls=2)
        assert outer.ledger.snapshot()["calls"] == 2
        with run() as inner:
            assert inner.ledger.calls == 0
            inner.ledger.add(calls=1)
        assert outer.ledger.calls == 3 and outer.ledger.tokens_in == 5


def test_a_sibling_run_starts_with_an_empty_ledger_and_nothing_leaks_out_of_all_runs():
    before = current().ledger.snapshot()
    with run() as one:
        one.ledger.add(calls=1)
    with run() as two:
        assert two.ledger.calls == 0
    assert current().ledger.snapshot() == before


def test_cancelling_from_another_thread_stops_the_work_at_its_next_step():
    cancel, done = Cancel(), []
    with run(cancel=cancel), pytest.raises(CancelledError):
        for step in track(range(100), "work"):
            done.append(step)
            if step == 2:
                helper = threading.Thread(target=cancel.set)
                helper.start()
                helper.join()
    assert done == [0, 1, 2]


def test_tenant_cancel_emit_and_scratch_are_inherited():
    events, cancel = [], Cancel()
    with run(tenant="t", cancel=cancel, emit=events.append, scratch=Path("x")), run() as inner:
        assert (inner.tenant, inner.cancel, inner.scratch) == ("t", cancel, Path("x"))
        inner.emit({"kind": "hello"})
    assert events == [{"kind": "hello"}] and current().tenant == ""


def test_track_says_how_far_it_is():
    events = []
    with run(emit=events.append):
        assert list(track(["a", "b"], "letters")) == ["a", "b"]
        assert list(track((n for n in range(1)), "stream")) == [0]
    assert [(e["label"], e["done"], e["total"]) for e in events] == [
        ("letters", 0, 2), ("letters", 1, 2), ("letters", 2, 2), ("stream", 0, None), ("stream", 1, None),
    ]  # fmt: skip
    assert all(e["kind"] == "progress" and e["seconds"] >= 0 for e in events)


def test_a_pool_keeps_the_order_and_sees_the_run():
    def slow_first(n):
        time.sleep(0.02 if n == 0 else 0.0)
        current().ledger.add(calls=1)
        return n * 10, current().tenant

    with run(tenant="t") as work:
        assert pool(slow_first, range(6), workers=3) == [(n * 10, "t") for n in range(6)]
    assert work.ledger.calls == 6
    assert pool(slow_first, [], workers=3) == [] and pool(slow_first, [4], workers=1) == [(40, "")]


def test_a_pool_raises_the_first_error_in_order():
    def fails(n):
        if n in (1, 3):
            raise ValueError(str(n))
        return n

    with pytest.raises(ValueError, match="1"):
        pool(fails, range(5), workers=2)


def test_a_ledger_adds_up_from_many_threads():
    ledger = Ledger()
    pool(lambda n: [ledger.add(calls=1, cost=0.5) for _ in range(200)], range(8), workers=8)
    assert ledger.snapshot()["calls"] == 1600 and ledger.cost == 800.0
    assert set(ledger.snapshot()) == {
        "calls",
        "tokens_in",
        "tokens_cached",
        "tokens_out",
        "forwards",
        "cost",
        "seconds",
    }


def test_what_is_set_aside_is_not_there_for_others_until_it_is_given_back():
    with run(budget=Budget(calls=3, tokens=100, cost=1.0)) as work:
        with held(2, 60, 0.5) as inner:
            with pytest.raises(BudgetError, match="tokens"):
                work.check_budget(1, 50)
            inner.ledger.add(calls=1, tokens_in=60, cost=0.1)
            with pytest.raises(BudgetError, match="tokens"):
                work.check_budget(1, 41)
            work.check_budget(1, 40, 0.5)
        work.check_budget(2, 40, 0.9)
        with pytest.raises(BudgetError, match="calls"), held(3):
            pass


def test_who_sets_aside_waits_for_what_others_may_give_back():
    with run(budget=Budget(tokens=100)):
        inside, leave = threading.Event(), threading.Event()

        def other():
            with held(1, 80):
                inside.set()
                leave.wait(LONG)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(other,))
        thread.start()
        inside.wait(LONG)
        threading.Timer(0.05, leave.set).start()
        with held(1, 80):
            assert leave.is_set()
        thread.join(LONG)


def test_a_hold_inside_a_hold_is_paid_from_it_and_not_waited_for():
    with run(budget=Budget(tokens=100)), held(1, 80), held(1, 80) as inner:
        inner.ledger.add(tokens_in=80)


def test_reasons_reach_the_nearest_listener():
    outer, inner = [], []
    degrade("nobody listens")
    with run(complain=outer.append):
        with run(complain=inner.append), run():
            degrade("one")
        degrade("two")
    assert inner == ["one"] and outer == ["two"]
