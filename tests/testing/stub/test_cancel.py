"""A cancel ends a call, wherever it hangs, and the server sees the connection go."""

import contextvars
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hanging import LONG, Hang

from hexarec.core import Cancel, CancelledError, run
from hexarec.lm.base import Prompt
from hexarec.lm.cassette import Cassette
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.guard import Guarded
from hexarec.testing.stub import Fault, Stub, named

from .cells import ALL

HANGING = (
    "connect.unroutable", "time.no_first_byte", "time.drip", "time.headers_only", "time.hang_after_3", "time.late",
    "stream.comments_only",
)  # fmt: skip
SLOWER = 20.0  # times as slow as the faults of time are by themselves
PATIENT = {"can": ALL, "timeout": 10 * LONG}  # what hangs does so for two minutes or more, mostly ten


def check_cancelled(call, after):
    """A cancel, `after` seconds into the call, ends it: else it would go on for far more than LONG."""
    cancel, times = Cancel(), []
    timer = threading.Timer(after, lambda: (times.append(time.monotonic()), cancel.set()))
    with run(cancel=cancel), pytest.raises(CancelledError):
        timer.start()
        call()
    assert time.monotonic() - times[0] < LONG


def asked(n=4):
    return [Prompt.user(f"1. sea\n[A] {row}\n[B] sea", max_tokens=20) for row in range(n)]


@settings(max_examples=14)
@given(st.sampled_from(HANGING), st.booleans(), st.sampled_from(["engine", "guarded", "cassette"]), st.floats(0, 0.1))
def test_a_call_that_hangs_anywhere_ends_with_its_cancel(fault, label, layer, after):
    with Stub([fault], pace=SLOWER) as stub:
        lm = Endpoint(f"{stub.url}#stub", stream=named(fault).asks == "stream", **PATIENT)
        lm = {"engine": lm, "guarded": Guarded(lm), "cassette": Cassette(Guarded(lm))}[layer]
        ask = (
            (lambda: lm.label(asked(), ["A", "B"]))
            if label and not lm_streams(fault)
            else (lambda: lm.generate(asked()))
        )
        check_cancelled(ask, after)


def lm_streams(fault):
    return named(fault).asks == "stream"


def test_waits_for_rates_and_for_the_next_try_end_too():
    with Stub() as stub:
        slow = Guarded(Endpoint(f"{stub.url}#stub"), rate_per_minute=0.1)
        slow.generate(asked(1))
        check_cancelled(lambda: slow.generate(asked(1)), 0.1)
    with Stub() as stub:
        later = {"retry-after": "60"}
        stub.faults = [Fault("test.later", "", "request", lambda exchange: exchange.error(429, "later", later))]
        again = Guarded(Endpoint(f"{stub.url}#stub"), retry_budget=5.0)
        check_cancelled(lambda: again.generate(asked(1)), 0.1)


def test_a_cancel_leaves_no_request_running_at_the_server():
    """The stub's threads end when the client hangs up, long before their ten minutes are over."""
    with Stub(["time.late"], pace=SLOWER) as stub:
        lm = Guarded(Endpoint(f"{stub.url}#stub", **PATIENT))
        before = threading.active_count()
        check_cancelled(lambda: lm.generate(asked(8)), 0.1)
        end = time.monotonic() + LONG
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.02)
        assert threading.active_count() <= before


def test_one_tenants_cancel_does_not_end_anothers_equal_request():
    with Stub() as stub, Hang() as slow:
        stub.faults = [Fault("test.held", "", "request", lambda exchange: (slow(), exchange.good()))]
        tape, heard = Cassette(Guarded(Endpoint(f"{stub.url}#stub", **PATIENT))), []

        def other():
            with run(tenant="other", seconds=10 * LONG):
                heard.extend(tape.generate(asked(1)))

        thread = threading.Thread(target=contextvars.copy_context().run, args=(other,))
        thread.start()
        slow.met.wait(LONG)
        with run(tenant="one"):
            check_cancelled(lambda: tape.generate(asked(1)), 0.05)
        assert not slow.came_back
        slow.let_go()
        thread.join(LONG)
    assert heard[0].good
