import threading

from hypothesis import given
from hypothesis import strategies as st
from tests.hanging import LONG

from hexarec.lm.breaker import Allowance, Breaker, Bucket


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), min_size=1, max_size=60), st.floats(6, 600))
def test_a_bucket_never_lets_more_through_than_its_rate(steps, rate):
    clock, sent, through = Clock(), 0.0, 0.0
    bucket = Bucket(rate, clock)
    for pause, amount in steps:
        clock.now += pause
        wait = bucket.take(amount)
        assert wait >= 0
        clock.now += wait
        # what was let through before this may not exceed the rate by more than one burst
        through = bucket.capacity + clock.now * rate / 60
        assert sent <= through + 1e-6
        sent += amount


def test_a_bucket_refills_with_time():
    clock = Clock()
    bucket = Bucket(60, clock)
    assert bucket.take(1) == 0
    assert bucket.take(1) == 1.0
    clock.now = 10
    assert bucket.take(1) == 0


@given(st.lists(st.sampled_from(["ask", "ok", "fail", "quiet", "later"]), max_size=200), st.integers(1, 10))
def test_an_outage_gets_the_breakers_budget_and_one_probe_a_cooldown(history, most):
    """Any history of requests side by side: sent, answered well or badly or not at all, in any order."""
    clock = Clock()
    breaker = Breaker(most, 5.0, clock)
    flying, sent, at_onset, probes, healthy = 0, 0, 0, [], False
    for event in history:
        if event == "later":
            clock.now += 2.0
        elif event == "ask":
            was_open = breaker.open
            allowed = breaker.ask()
            flying += allowed
            if was_open and allowed:
                probes.append(clock.now)
            elif not healthy:
                sent += allowed
        elif flying:
            flying -= 1
            breaker.note({"ok": True, "fail": False, "quiet": None}[event])
            if event == "ok":
                healthy, sent, probes = True, 0, []
            elif event == "fail" and healthy:
                # those under way when the outage began were sent before anybody could know
                healthy, sent, at_onset = False, 0, flying + 1
        quiet = history.count("quiet")  # a request that says nothing gives its place to another
        assert sent <= max(most, at_onset) + quiet
    assert all(b - a >= 5.0 for a, b in zip(probes, probes[1:], strict=False))


def test_a_breaker_opens_after_the_failures_it_allows_and_closes_after_a_good_probe():
    clock = Clock()
    breaker = Breaker(10, 5.0, clock)
    sent = 0
    while breaker.ask():
        sent += 1
        breaker.note(False)
    assert sent == 10 and breaker.open and breaker.shut
    clock.now = 4.9
    assert breaker.ask(8) == 0
    clock.now = 5.0
    assert not breaker.shut and breaker.ask(8) == 1 and breaker.ask() == 0
    breaker.note(False)
    clock.now = 9.9
    assert breaker.ask() == 0
    clock.now = 10.0
    assert breaker.ask() == 1
    breaker.note(True)
    assert not breaker.open and breaker.ask(50) == 50


def test_of_many_requests_side_by_side_no_more_than_the_budget_go_out_before_the_first_answer():
    breaker = Breaker(10, 5.0, Clock())
    assert breaker.ask(64) == 10 and breaker.ask(64) == 0 and not breaker.open
    breaker.note(False)
    assert breaker.ask(64) == 0
    breaker.note(True)
    assert breaker.ask(64) == 64


def test_a_probe_that_never_left_may_be_repeated_at_once_and_one_that_did_may_not():
    clock = Clock()
    breaker = Breaker(1, 5.0, clock)
    breaker.note(False)
    clock.now = 5.0
    assert breaker.ask() == 1
    breaker.note(None, sent=False)
    assert breaker.ask() == 1
    breaker.note(None)
    assert breaker.ask() == 0
    clock.now = 10.0
    assert breaker.ask() == 1


def test_who_waits_for_room_is_woken_by_an_outcome():
    breaker = Breaker(1, 5.0, Clock())
    breaker.ask()
    waits = threading.Thread(target=breaker.pause, args=(100 * LONG,), daemon=True)
    waits.start()
    for _ in range(int(LONG / 0.01)):  # an outcome that came before it waits wakes nobody
        breaker.note(True)
        waits.join(0.01)
        if not waits.is_alive():
            break
    assert not waits.is_alive() and breaker.ask() == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=50))
def test_retries_stay_within_their_share(steps):
    allowance, first, again = Allowance(0.2), 0, 0
    for new, wanted in steps:
        first += new
        allowance.first(new)
        again += allowance.again(wanted)
        assert again <= -(-first // 5) + 1e-9


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_no_100_first_attempts_see_more_than_20_retries(steps):
    """Also after a long healthy time, whose unused retries must not be saved up for the outage."""
    allowance, first, sent = Allowance(0.2), 5000, []
    allowance.first(5000)
    for new, wanted in steps:
        first += new
        allowance.first(new)
        sent += [first] * allowance.again(wanted)
    assert all(sum(end - 100 < place <= end for place in sent) <= 20 for end in sent)


def test_a_retry_of_a_whole_batch_is_paid_in_full_or_not_sent():
    allowance = Allowance(0.2)
    allowance.first(10)
    assert allowance.again(3, whole=True) == 0 and allowance.again(2, whole=True) == 2 and allowance.again(1) == 0


def test_what_was_not_used_goes_back_into_the_bucket():
    bucket = Bucket(60, Clock())
    bucket.take(1)
    bucket.give(1)
    assert bucket.take(1) == 0
