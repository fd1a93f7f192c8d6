import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hanging import Hang, cancelled_when

from hexarec.core.errors import BudgetError, CancelledError, DeadlineError, ModelError, OptionError, RetryableModelError
from hexarec.core.run import Budget, Cancel, pool, run
from hexarec.lm.base import Choice, Completion, LanguageModel, Prompt, count_call, failed
from hexarec.lm.fake import Overlap, Scripted
from hexarec.lm.gate import admitted
from hexarec.lm.guard import Guarded
from hexarec.lm.tiny import Tiny


class Clock:
    def __init__(self):
        self.now, self.slept = 0.0, 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept += seconds


class Flaky(Overlap):
    """Fails as the plan says: one entry a request, "ok" when it is used up."""

    def __init__(self, plan=(), always=""):
        super().__init__()
        self.plan, self.always, self.sent = list(plan), always, 0

    def fate(self):
        self.sent += 1
        return self.plan.pop(0) if self.plan else self.always or "ok"

    def answer(self, prompt, within):
        fate = self.fate()
        if fate == "busy":
            return failed("busy", retryable=True)
        if fate == "after":
            return failed("busy", retryable=True, retry_after=7.0)
        return failed("bad prompt") if fate == "bad" else Completion("fine")

    def _count(self, prompt, made, within):
        return super()._count(prompt, made, within) if made.good else made

    def label(self, prompts, labels):
        fate = self.fate()
        if fate == "busy":
            raise RetryableModelError("busy")
        if fate == "fatal":
            raise ModelError("wrong key")
        return super().label(prompts, labels)


def guarded(lm, **options):
    clock = Clock()
    return Guarded(lm, clock=clock, sleep=clock.sleep, **options), clock


def prompts(n):
    return [Prompt.user(f"question {row}", max_tokens=10) for row in range(n)]


def test_it_is_the_inner_model_when_nothing_is_wrong():
    lm, clock = guarded(Overlap())
    assert isinstance(lm, LanguageModel) and lm.can == Overlap().can and lm.spec == "fake:overlap"
    asked = prompts(3)
    assert lm.generate(asked) == Overlap().generate(asked)
    assert np.array_equal(lm.label(asked, ["A", "B"]), Overlap().label(asked, ["A", "B"]))
    assert len(lm.score(asked, [["a"]] * 3)) == 3 and lm.count(["a b"]).tolist() == [2]
    assert "".join(lm.stream(asked[0])) == lm.generate(asked[:1])[0].text
    assert lm.generate(asked, Choice(("Yes", "No"))) == Overlap().generate(asked, Choice(("Yes", "No")))
    assert clock.slept == 0 and lm.generate([]) == []


def test_only_what_failed_in_passing_is_asked_again():
    inner = Flaky(["ok", "busy", "bad", "ok", "ok"])
    lm, clock = guarded(inner)
    made = lm.generate(prompts(5))
    assert [m.finish for m in made] == ["stop", "stop", "error", "stop", "stop"]
    assert inner.sent == 6 and 0.25 <= clock.slept <= 0.5


def test_waits_grow_and_the_server_may_ask_for_longer():
    lm, clock = guarded(Flaky(["busy", "busy"]), retry_budget=2.0)
    assert lm.generate(prompts(1))[0].good and 0.75 <= clock.slept <= 1.5
    lm, clock = guarded(Flaky(["after"]))
    assert lm.generate(prompts(1))[0].good and clock.slept == pytest.approx(7.0)


def test_retries_keep_to_their_budget_in_an_outage():
    inner = Flaky(always="busy")
    lm, _ = guarded(inner, breaker=10**9)
    for _ in range(100):
        assert lm.generate(prompts(1))[0].finish == "error"
    assert inner.sent <= 120


def test_the_breaker_opens_probes_and_closes():
    inner = Flaky(["busy"] * 10)
    lm, clock = guarded(inner, breaker=10, retries=0)
    for _ in range(10):
        assert lm.generate(prompts(1))[0].retryable
    assert inner.sent == 10
    for call in (
        lambda: lm.generate(prompts(3)),
        lambda: lm.label(prompts(1), ["A"]),
        lambda: next(lm.stream(*prompts(1))),
    ):
        with pytest.raises(RetryableModelError, match="left alone"):
            call()
    assert inner.sent == 10
    clock.now += 5.0
    assert all(made.good for made in lm.generate(prompts(3)))
    assert inner.sent == 13


def test_a_failed_probe_holds_the_rest_of_the_batch_back():
    inner = Flaky(["busy"] * 3)
    lm, clock = guarded(inner, breaker=2, retries=0)
    lm.generate(prompts(2))
    clock.now += 5.0
    made = lm.generate(prompts(4))
    assert inner.sent == 3 and all(m.retryable for m in made) and len(made) == 4


def test_whole_calls_are_retried_or_raise():
    inner = Flaky(["busy"])
    lm, _ = guarded(inner)
    assert lm.label(prompts(2), ["A", "B"]).shape == (2, 2) and inner.sent == 2
    with pytest.raises(ModelError, match="wrong key"):
        guarded(Flaky(["fatal"]))[0].label(prompts(1), ["A"])
    with pytest.raises(RetryableModelError):
        guarded(Flaky(always="busy"))[0].label(prompts(1), ["A"])


def test_an_engine_that_raises_fails_its_rows_not_the_caller():
    class Raising(Overlap):
        def generate(self, prompts, within=None):
            raise RetryableModelError("down")

    made = guarded(Raising())[0].generate(prompts(2))
    assert [m.error for m in made] == ["down", "down"]


def test_budgets_stop_before_anything_is_sent():
    inner = Flaky()
    lm, _ = guarded(inner, price_in=1.0, price_out=1.0)
    with run(budget=Budget(calls=2)):
        lm.generate(prompts(2))
        with pytest.raises(BudgetError):
            lm.generate(prompts(1))
    assert inner.sent == 2
    with run(budget=Budget(tokens=20)), pytest.raises(BudgetError):
        lm.generate(prompts(2))
    with run(budget=Budget(cost=1e-6)), pytest.raises(BudgetError):
        lm.generate(prompts(1))
    with run(budget=Budget(tokens=5)), run(), pytest.raises(BudgetError):
        lm.score(prompts(1), [["many words stand here, more than five"]])
    assert inner.sent == 2


@pytest.mark.parametrize("limit", range(1, 400, 37))
def test_a_token_budget_is_never_overrun(limit):
    lm, _ = guarded(Scripted(lambda _: "word " * 10))
    with run(budget=Budget(tokens=limit)) as work:
        try:
            for _ in range(50):
                lm.generate(prompts(1))
        except BudgetError:
            pass
    assert work.ledger.tokens_in + work.ledger.tokens_out <= limit


def test_the_price_reaches_the_ledger():
    lm, _ = guarded(Overlap(), price_in=2.0, price_out=10.0)
    with run() as work:
        lm.generate(prompts(3))
    spent = work.ledger
    assert spent.calls == 3
    assert spent.cost == pytest.approx((spent.tokens_in * 2 + spent.tokens_out * 10) / 1e6) and spent.cost > 0
    with run() as work:
        list(lm.stream(prompts(1)[0]))
    assert work.ledger.cost > 0


def test_rates_slow_down_and_respect_the_deadline():
    lm, clock = guarded(Overlap(), rate_per_minute=60)
    lm.generate(prompts(10))
    assert clock.now == pytest.approx(9.0)
    with run(seconds=0.5), pytest.raises(DeadlineError):
        lm.generate(prompts(2))
    lm, clock = guarded(Overlap(), tokens_per_minute=120)
    lm.generate(prompts(1))
    lm.generate(prompts(1))
    assert clock.now > 1.0


def test_a_cancelled_wait_ends_at_once():
    cancel = Cancel()
    clock = Clock()

    def sleep(seconds):
        clock.sleep(seconds)
        cancel.set()

    lm = Guarded(Flaky(always="busy"), clock=clock, sleep=sleep)
    with run(cancel=cancel), pytest.raises(CancelledError):
        lm.generate(prompts(1))
    assert clock.slept <= 0.1


def test_the_breaker_is_not_closed_by_calls_that_were_never_sent():
    inner = Flaky(always="busy")
    lm, clock = guarded(inner, breaker=1, retries=0)
    lm.generate(prompts(1))
    clock.now += 5
    with run(budget=Budget(calls=0)), pytest.raises(BudgetError):
        lm.generate(prompts(1))
    lm.generate(prompts(1))
    with pytest.raises(RetryableModelError):
        lm.generate(prompts(1))


class Gated(Flaky):
    """Sends its requests side by side and passes each through the gate, as an endpoint does."""

    gated = True

    def __init__(self, *arguments, workers=8, pause=0.0, **options):
        super().__init__(*arguments, **options)
        self.workers, self.pause, self.lock = workers, pause, threading.Lock()

    def generate(self, prompts, within=None):
        return pool(self.safe, prompts, self.workers)

    def safe(self, prompt):
        try:
            with admitted(prompt):
                with self.lock:
                    made = self._count(prompt, self.answer(prompt, None), None)
                time.sleep(self.pause)
                if made.retryable:
                    raise RetryableModelError(made.error)
                return made
        except RetryableModelError as error:
            return failed(error.message, retryable=True)


def test_an_outage_in_the_middle_of_a_batch_sends_no_more_than_the_breaker_allows():
    inner = Gated(["ok"] * 20, always="busy", workers=8)
    made = guarded(inner, retries=0)[0].generate(prompts(200))
    assert sum(m.good for m in made) == 20 and not any(m.good for m in made[28:])
    # ten failures in a row shut it, eight are under way then; each of seven good answers that come late forgives nine
    assert 30 <= inner.sent <= 20 + 10 + 8 + 7 * 9 and "left alone" in made[-1].error


def test_the_first_requests_of_a_dead_server_are_no_more_than_the_breaker_allows():
    inner = Gated(always="busy", workers=64)
    made = guarded(inner, retries=0)[0].generate(prompts(200))
    assert inner.sent == 10 and all(m.retryable for m in made)


def test_a_gated_engine_keeps_the_order_and_the_rate():
    inner = Gated(workers=4)
    lm, clock = guarded(inner, rate_per_minute=60)
    assert [m.good for m in lm.generate(prompts(10))] == [True] * 10
    assert clock.now == pytest.approx(9.0)


@settings(max_examples=15)
@given(st.integers(50, 800), st.integers(2, 8), st.integers(1, 6))
def test_calls_side_by_side_overrun_no_budget(limit, threads, batch):
    """Without setting aside, every thread would see the same free budget and spend it."""
    lm = Guarded(Gated(pause=0.001))
    with run(budget=Budget(tokens=limit, calls=40)) as work, ThreadPoolExecutor(threads) as workers:

        def ask():
            try:
                for _ in range(5):
                    lm.generate(prompts(batch))
            except BudgetError:
                pass

        for future in [workers.submit(copy_context().run, ask) for _ in range(threads)]:
            future.result(20)
    assert work.ledger.tokens_in + work.ledger.tokens_out <= limit and work.ledger.calls <= 40
    worst = 3 * batch + 10 * batch
    spent = work.ledger.tokens_in + work.ledger.tokens_out
    # nobody is turned away while what is left would pay for one more batch
    assert spent + worst > limit or work.ledger.calls + batch > 40 or work.ledger.calls == 5 * threads * batch


def test_a_server_that_counts_more_tokens_overspends_one_request_at_most():
    class Heavy(Flaky):
        def _count(self, prompt, made, within):
            made = super()._count(prompt, made, within)
            count_call(0, tokens_in=30)
            return made

    lm, _ = guarded(Heavy())
    with run(budget=Budget(tokens=200)) as work, pytest.raises(BudgetError):
        for _ in range(100):
            lm.generate(prompts(1))
    spent = work.ledger.tokens_in + work.ledger.tokens_out
    assert 120 <= spent <= 200 + 30


def test_100_calls_in_a_full_outage_send_at_most_20_retries():
    inner = Gated(always="busy")
    lm, _ = guarded(inner, breaker=10**9)
    for _ in range(10):
        lm.generate(prompts(10))
    assert 100 < inner.sent <= 120


def test_whole_batches_of_labels_are_not_retried_beyond_the_budget():
    inner = Flaky(always="busy")
    inner.gated = True
    lm, _ = guarded(inner, breaker=10**9)
    for _ in range(10):
        with pytest.raises(RetryableModelError):
            lm.label(prompts(10), ["A"])
    assert inner.sent <= 12


def test_a_hanging_engine_is_left_at_the_deadline_and_at_a_cancel():
    class Hanging(Overlap):
        def generate(self, prompts, within=None):
            slow()

    lm = Guarded(Hanging())
    with Hang() as slow:
        with run(seconds=0.1), pytest.raises(DeadlineError):
            lm.generate(prompts(1))
        assert not slow.came_back
    with Hang() as slow:
        with cancelled_when(slow.met), pytest.raises(CancelledError):
            lm.generate(prompts(1))
        assert not slow.came_back


def test_a_retry_that_would_come_too_late_leaves_the_failure_as_the_answer():
    inner = Flaky(["after"])
    lm, clock = guarded(inner)
    with run(seconds=5):
        made = lm.generate(prompts(1))[0]
    assert made.error == "busy" and inner.sent == 1 and clock.slept == 0


class Heavy(Overlap):
    """A server that counts the tokens of a prompt `ratio` times as we guess them, and answers with 5."""

    def __init__(self, ratio, gated=False):
        super().__init__()
        self.ratio, self.gated, self.pause = ratio, gated, 0.005
        self.running = self.most = 0
        self.lock = threading.Lock()

    def generate(self, prompts, within=None):
        return pool(self.one, prompts, 8) if self.gated else [self.one(prompt) for prompt in prompts]

    def one(self, prompt):
        with admitted(prompt):
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            time.sleep(self.pause)
            with self.lock:
                self.running -= 1
            count_call(tokens_in=self.counted(prompt), tokens_out=5)
            return Completion("fine")

    def counted(self, prompt):
        return int(self.count([prompt.text])[0] * self.ratio) + 1 if self.ratio else 0


LONG = Prompt.user("w " * 100, max_tokens=10)


def side_by_side(lm, threads, asked):
    """Ask in threads of the current run; how many were told that the budget is used up."""

    def ask():
        try:
            lm.generate(asked)
        except BudgetError:
            return 1
        return 0

    with ThreadPoolExecutor(threads) as workers:
        return sum(f.result(30) for f in [workers.submit(copy_context().run, ask) for _ in range(threads)])


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("ratio", [1.3, 3])
@pytest.mark.parametrize("batch", [1, 7])
def test_50_threads_overspend_one_request_at_most_whatever_the_server_counts(ratio, gated, batch):
    inner = Heavy(ratio, gated)
    lm, one = Guarded(inner), inner.counted(LONG) + 10
    with run(budget=Budget(tokens=5500)) as work:
        refused = side_by_side(lm, 50, [LONG] * batch)
    spent = work.ledger.tokens_in + work.ledger.tokens_out
    assert spent <= 5500 + one
    assert not refused or spent + batch * one > 5500, "nobody is turned away while there is room"
    dear, price = Guarded(Heavy(ratio, gated), price_in=1e6), float(one)
    with run(budget=Budget(cost=5500.0)) as work:
        side_by_side(dear, 50, [LONG] * batch)
    assert work.ledger.cost <= 5500 + price


@pytest.mark.parametrize("gated", [False, True])
def test_a_batch_begins_with_one_request_while_nothing_is_known_of_the_server(gated):
    inner = Heavy(3, gated)
    with run(budget=Budget(tokens=13_000)) as work:  # room for 50 at a token for each byte
        Guarded(inner).generate([LONG] * 50)
    assert work.ledger.tokens_in + work.ledger.tokens_out <= 13_000 + inner.counted(LONG) + 10


@pytest.mark.parametrize("ratio", [1.3, 0])
def test_calls_go_side_by_side_from_the_first_answer_on(ratio):
    """Also those that waited for it, and where the server counts nothing."""
    inner = Heavy(ratio)
    inner.pause = 0.1
    with run(budget=Budget(tokens=100_000)):
        assert side_by_side(Guarded(inner), 10, [LONG]) == 0
    assert inner.most > 1


def test_two_models_of_one_budget_overspend_one_request_together():
    with run(budget=Budget(tokens=230)) as work:  # room for both as they are guessed
        pool(lambda lm: side_by_side(lm, 4, [LONG]), [Guarded(Heavy(1.9)), Guarded(Heavy(1.9))])
    assert work.ledger.calls == 1, "the second model sees what the first has spent"


def test_many_calls_at_once_do_not_multiply_what_they_learned():
    lm = Guarded(Heavy(1.3))
    with run(budget=Budget(tokens=20_000)) as work:
        assert side_by_side(lm, 50, [LONG]) == 0 and work.ledger.calls == 50
        assert lm.generate([LONG])[0].good, "the next call is guessed at 1.3 times its words"
        left = 20_000 - work.ledger.tokens_in - work.ledger.tokens_out
        with run(budget=Budget(tokens=left)) as last:
            while left - last.ledger.tokens_in - last.ledger.tokens_out > 145:
                assert lm.generate([LONG])[0].good


def test_answers_that_were_paid_stay_when_the_budget_ends_in_the_middle_of_a_batch():
    lm = Guarded(Heavy(3))
    with run(budget=Budget(tokens=1300)) as work:
        made = lm.generate([LONG] * 10)
    assert [m.good for m in made] == [True] * work.ledger.calls + [False] * (10 - work.ledger.calls)
    assert 3 <= work.ledger.calls <= 5 and "budget" in made[-1].error and not made[-1].retryable


def test_whole_calls_in_portions_are_the_call_itself():
    asked, choices = [Prompt.plain("ab" * n) for n in range(1, 9)], [["q", "rs"]] * 8
    tiny = Tiny("portions")
    for _ in range(2):  # before and after the first answer
        lm = Guarded(tiny)
        with run(budget=Budget(tokens=2000)) as work:
            assert np.array_equal(lm.label(asked, ["a", "b"]), tiny.label(asked, ["a", "b"]))
            assert np.array_equal(lm.hidden(asked), tiny.hidden(asked))
            scored = lm.score(asked, choices)
        assert [row.logprobs.tolist() for row in scored] == [r.logprobs.tolist() for r in tiny.score(asked, choices)]
        assert work.ledger.tokens_in > 0
    with run(budget=Budget(tokens=60)), pytest.raises(BudgetError):
        lm.label(asked, ["a", "b"])
    with pytest.raises(OptionError, match="8 prompts but 7"):
        lm.score(asked, choices[1:])


def test_a_stream_between_whose_pieces_others_ask_does_not_wait_for_them():
    lm = Guarded(Heavy(1.3))
    with run(seconds=5, budget=Budget(tokens=10_000)):
        for _ in lm.stream(prompts(1)[0]):
            assert lm.generate(prompts(1))[0].good
