from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.sampled_from(["ok", "fail", "later"]), max_size=200), st.integers(1, 10))
def test_a_breaker_holds_back_after_failures_and_probes_once_per_cooldown(history, most):
    clock = Clock()
    breaker = Breaker(most, 5.0, clock)
    failures, probes = 0, []
    for event in history:
        if event == "later":
            clock.now += 2.0
            continue
        state = breaker.ask()
        if state == "go":
            assert failures < most
        elif state == "probe":
            assert failures >= most
            assert breaker.ask() == "stop"
            probes.append(clock.now)
        else:
            assert failures >= most
            continue
        breaker.note(event == "ok")
        failures = 0 if event == "ok" else failures + 1
        assert breaker.open == (failures >= most)
    assert all(b - a >= 5.0 for a, b in zip(probes, probes[1:], strict=False) if b > a) or most == 1


def test_a_probe_that_said_nothing_may_be_repeated():
    clock = Clock()
    breaker = Breaker(1, 5.0, clock)
    breaker.note(False)
    assert breaker.ask() == "stop"
    clock.now = 5.0
    assert breaker.ask() == "probe"
    breaker.note(None)
    assert breaker.ask() == "probe"
    breaker.note(True)
    assert breaker.ask() == "go"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=50))
def test_retries_stay_within_their_share(steps):
    allowance, first, again = Allowance(0.2), 0, 0
    for new, wanted in steps:
        first += new
        allowance.first(new)
        again += allowance.again(wanted)
        assert again <= -(-first // 5) + 1e-9
