"""A hostile server: floods, bombs, orders, redirects, cookies. Time, memory and what the client does stay bounded."""

import contextlib
import os
import subprocess
import sys
import time
from itertools import chain, repeat
from pathlib import Path

import pytest
from tests.hanging import LONG

from hexarec.core import ModelError
from hexarec.lm.base import Prompt
from hexarec.lm.endpoint import Endpoint
from hexarec.testing.stub import Fault, Stub
from hexarec.testing.stub.body import _bomb

ASKED = [Prompt.user("1. a\n[A] b\n[B] c")]


def flood(exchange):
    """A gigabyte of one line."""
    exchange.stream(chain([b"data: "], repeat(b"x" * 65_536, 16_384)))


def chatter(exchange):
    """A gigabyte of events."""
    exchange.stream(repeat(b"event: execute\ndata: {}\n\n" * 2_000, 20_000))


def big_error(exchange):
    exchange.head(500, {"content-length": "1000000000"})
    with contextlib.suppress(OSError):
        for _ in range(15_000):
            exchange.write(b"x" * 65_536)


def packed_error(exchange):
    exchange.raw(_bomb(), 500, {"content-encoding": "gzip"})


def packed_twice(exchange):
    exchange.raw(_bomb(), headers={"content-encoding": "gzip, gzip"})


def deep(exchange):
    exchange.raw(b"[" * 500_000)


def many(exchange):
    exchange.raw(b"[" + b"{}," * 300_000 + b"{}]")


ATTACKS = (flood, chatter, big_error, packed_error, packed_twice, deep, many)

CLIENT = """
import resource, sys, time
from hexarec.lm.base import Prompt
from hexarec.lm.endpoint import Endpoint
asked = [Prompt.user(f"{n}. a\\n[A] b\\n[B] c") for n in range(4)]
lms = [Endpoint(sys.argv[1] + "#stub", stream=stream) for stream in (True, False)]
for lm in lms:
    assert lm.generate(asked)[0].good
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
slowest = 0.0
for _ in range(int(sys.argv[2])):
    for lm in lms:
        started = time.process_time()  # which others on the machine do not lengthen
        assert not any(made.good for made in lm.generate(asked))
        slowest = max(slowest, time.process_time() - started)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, slowest)
"""


def test_memory_and_time_are_bounded_whatever_is_sent():
    with Stub() as stub:
        stub.faults = [Fault(f"test.{act.__name__}", "", "request", act) for act in ATTACKS]
        stub.after = 8  # the good answers before the baseline
        source = Path(__file__).parents[3] / "src"
        environment = {**os.environ, "PYTHONPATH": str(source)}
        made = subprocess.run(
            [sys.executable, "-c", CLIENT, stub.url, str(len(ATTACKS))],
            capture_output=True, text=True, env=environment,
        )  # fmt: skip
    assert made.returncode == 0, made.stderr
    grown, slowest = map(float, made.stdout.split())
    assert grown <= 50 and slowest < 5.0


def with_fault(act, **options):
    stub = Stub(**options)
    stub.faults = [Fault("test.one", "", "request", act)]
    return stub


def test_redirects_are_not_followed_and_the_key_goes_nowhere(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    with Stub() as target:
        with with_fault(
            lambda exchange: exchange.raw(b"", 302, {"location": target.url + "/chat/completions"})
        ) as stub:
            with pytest.raises(ModelError, match="302.*\n.*final address"):
                Endpoint(f"{stub.url}#stub").generate(ASKED)
        assert target.asked == []


def test_cookies_are_not_kept():
    seen = []

    def baking(exchange):
        seen.append(exchange.headers.get("cookie"))
        exchange.json(exchange.reply(), headers={"set-cookie": "a=b; Path=/"})

    with with_fault(baking) as stub:
        lm = Endpoint(f"{stub.url}#stub")
        assert lm.generate(ASKED)[0].good and lm.generate(ASKED)[0].good
    assert seen == [None, None]


def test_a_server_that_packs_unasked_is_still_understood():
    import gzip
    import json

    with with_fault(
        lambda exchange: exchange.raw(
            gzip.compress(json.dumps(exchange.reply()).encode()), headers={"content-encoding": "gzip"}
        )
    ) as stub:
        assert Endpoint(f"{stub.url}#stub").generate(ASKED)[0].text.startswith("[")


def test_a_dead_server_is_asked_120_times_at_most_for_100_calls_and_at_most_10_with_the_breaker():
    from hexarec.lm.guard import Guarded

    for options, most in (({"breaker": 10**9}, 120), ({}, 10)):
        with Stub(["status.500"]) as stub:
            lm = Guarded(Endpoint(f"{stub.url}#stub"), sleep=lambda _: None, **options)
            for _ in range(10):
                with contextlib.suppress(ModelError):
                    lm.generate(ASKED * 10)
            assert 10 <= len(stub.asked) <= most


def test_the_first_good_answer_comes_with_the_first_probe_after_recovery():
    from hexarec.lm.guard import Guarded

    with Stub(["status.500"]) as stub:
        lm = Guarded(Endpoint(f"{stub.url}#stub"), breaker=3, cooldown=0.2, retries=0)
        for _ in range(3):
            lm.generate(ASKED)
        stub.faults, started = [], time.monotonic()
        while time.monotonic() - started < LONG:
            with contextlib.suppress(ModelError):
                if lm.generate(ASKED)[0].good:
                    break
            time.sleep(0.01)
        assert lm.generate(ASKED * 5)[-1].good and len(stub.asked) == 3 + 1 + 5
