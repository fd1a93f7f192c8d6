"""A cancel ends a call within 200 ms, wherever it hangs, and the server sees the connection go."""

import contextlib
import contextvars
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import Cancel, CancelledError, run
from hexarec.lm.base import Prompt
from hexarec.lm.cassette import Cassette
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.guard import Guarded
from hexarec.testing.stub import Stub, named

from .cells import ALL

HANGING = (
    "connect.unroutable", "time.no_first_byte", "time.drip", "time.headers_only", "time.hang_after_3", "time.late",
    "stream.comments_only",
)  # fmt: skip
MOST = 0.2  # seconds between the cancel and the end of the call


def latency(call, after):
    """Seconds from a cancel, `after` seconds into the call, to the call's end."""
    cancel, times = Cancel(), []
    timer = threading.Timer(after, lambda: (times.append(time.monotonic()), cancel.set()))
    with run(cancel=cancel), pytest.raises(CancelledError):
        timer.start()
        call()
    return time.monotonic() - times[0]


def asked(n=4):
    return [Prompt.user(f"1. sea\n[A] {row}\n[B] sea", max_tokens=20) for row in range(n)]


@settings(max_examples=14)
@given(st.sampled_from(HANGING), st.booleans(), st.sampled_from(["engine", "guarded", "cassette"]), st.floats(0, 0.1))
def test_a_call_that_hangs_anywhere_ends_within_200_ms_of_its_cancel(fault, label, layer, after):
    with Stub([fault]) as stub:
        lm = Endpoint(f"{stub.url}#stub", can=ALL, stream=named(fault).asks == "stream")
        lm = {"engine": lm, "guarded": Guarded(lm), "cassette": Cassette(Guarded(lm))}[layer]
        ask = (
            (lambda: lm.label(asked(), ["A", "B"]))
            if label and not lm_streams(fault)
            else (lambda: lm.generate(asked()))
        )
        assert latency(ask, after) < MOST


def lm_streams(fault):
    return named(fault).asks == "stream"


def test_waits_for_rates_and_for_the_next_try_end_too():
    with Stub() as stub:
        slow = Guarded(Endpoint(f"{stub.url}#stub"), rate_per_minute=1)
        slow.generate(asked(1))
        assert latency(lambda: slow.generate(asked(1)), 0.1) < MOST
    with Stub(["status.500"]) as stub:
        again = Guarded(Endpoint(f"{stub.url}#stub"), retry_budget=5.0)
        assert latency(lambda: again.generate(asked(1)), 0.1) < MOST


def test_a_cancel_leaves_no_request_running_at_the_server():
    """The stub's threads end when the client hangs up, long before their half minute is over."""
    with Stub(["time.late"]) as stub:
        lm = Guarded(Endpoint(f"{stub.url}#stub"))
        before = threading.active_count()
        latency(lambda: lm.generate(asked(8)), 0.1)
        end = time.monotonic() + 2.0
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.02)
        assert threading.active_count() <= before


def test_one_tenants_cancel_does_not_end_anothers_equal_request():
    with Stub(["time.late"], pace=0.01) as stub:
        tape, heard = Cassette(Guarded(Endpoint(f"{stub.url}#stub"))), []

        def other():
            with run(tenant="other", seconds=10):
                heard.extend(tape.generate(asked(1)))

        thread = threading.Thread(target=contextvars.copy_context().run, args=(other,))
        thread.start()
        with run(tenant="one"), contextlib.suppress(CancelledError):
            latency(lambda: tape.generate(asked(1)), 0.05)
        thread.join(10)
    assert heard[0].good
