"""`Guarded`: rates, retries, a circuit breaker, hard budgets and the price, around any language model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from hexarec.core.errors import RetryableModelError
from hexarec.core.run import current, run
from hexarec.core.seeds import rng
from hexarec.lm.base import Completion, Constraint, Floats, Ints, LanguageModel, Prompt, ScoreRow, failed
from hexarec.lm.breaker import Allowance, Breaker, Bucket

T = TypeVar("T")


class Guarded:
    """A language model that keeps to limits.

    `rate_per_minute` and `tokens_per_minute` slow requests down; `retries` is the most for one request, and all retries
    together stay below `retry_budget` per first attempt; `breaker` failures in a row stop all requests for `cooldown`
    seconds. Prices are in US dollars per million tokens. Budgets of the run are checked before each call against the
    tokens of the prompts and their `max_tokens`, so they are never overrun.
    `generate` answers failed requests by completions; it raises only when nothing could be sent.
    """

    def __init__(
        self,
        lm: LanguageModel,
        *,
        rate_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        retries: int = 2,
        retry_budget: float = 0.2,
        breaker: int = 10,
        cooldown: float = 5.0,
        price_in: float = 0.0,
        price_out: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.lm, self.name, self.spec = lm, lm.name, lm.spec
        self.options = self._given(lm, locals())
        self._requests = None if rate_per_minute is None else Bucket(rate_per_minute, clock)
        self._tokens = None if tokens_per_minute is None else Bucket(tokens_per_minute, clock)
        self._retries, self._allowance = retries, Allowance(retry_budget)
        self._breaker = Breaker(breaker, cooldown, clock)
        self._prices, self._sleep = (price_in / 1e6, price_out / 1e6), sleep

    @staticmethod
    def _given(lm: LanguageModel, values: dict[str, Any]) -> dict[str, Any]:
        """Inner options and limits that are not the defaults: with the spec they open the same guarded model again."""
        defaults = {
            "retries": 2,
            "retry_budget": 0.2,
            "breaker": 10,
            "cooldown": 5.0,
            "price_in": 0.0,
            "price_out": 0.0,
        }
        names = ("rate_per_minute", "tokens_per_minute", *defaults)
        limits = {name: values[name] for name in names if values[name] != defaults.get(name)}
        return {**getattr(lm, "options", {}), **(limits or {"retries": 2})}

    @property
    def can(self) -> frozenset[str]:
        """What the inner model can."""
        return self.lm.can

    @property
    def window(self) -> int:
        """The inner model's window, in tokens."""
        return self.lm.window

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) token counts of the inner model."""
        return self.lm.count(texts)

    def weights(self) -> tuple[Any, Any]:
        """The inner model's module and tokenizer."""
        return self.lm.weights()

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt; those that failed in passing are asked again.

        Raises BudgetError before anything is sent, RetryableModelError while the breaker is open.
        """
        answers: dict[int, Completion] = {}
        self._allowance.first(len(prompts))
        todo = list(range(len(prompts)))
        for attempt in range(self._retries + 1):
            self._round(todo, prompts, within, answers)
            todo = [row for row in todo if answers[row].retryable]
            todo = todo[: self._allowance.again(len(todo))] if attempt < self._retries else []
            if not todo or self._breaker.open:
                break
            self._back_off(attempt, max(answers[row].retry_after for row in todo))
        return [answers[row] for row in range(len(prompts))]

    def _round(
        self, todo: list[int], prompts: Sequence[Prompt], within: Constraint | None, answers: dict[int, Completion]
    ) -> None:
        """Ask the rows of `todo` once, in portions that the rate and the breaker allow."""
        start = 0
        while start < len(todo):
            state = self._breaker.ask()
            if state == "stop":
                if not answers:
                    raise self._closed()
                for row in todo[start:]:
                    answers[row] = answers.get(row, failed(str(self._closed()), retryable=True))
                return
            rows = todo[start : start + (1 if state == "probe" else self._portion())]
            asked = [prompts[row] for row in rows]
            made = self._asked(asked, within)
            for row, completion in zip(rows, made, strict=True):
                self._breaker.note(not completion.retryable)
                answers[row] = completion
            start += len(rows)

    def _asked(self, prompts: Sequence[Prompt], within: Constraint | None) -> list[Completion]:
        """The inner model's answers; a fault of the whole call becomes a failure of each request."""
        try:
            return self._metered(prompts, lambda: self.lm.generate(prompts, within))
        except RetryableModelError as error:
            after = float(getattr(error, "after", 0.0))
            return [failed(error.message, retryable=True, retry_after=after)] * len(prompts)

    def _portion(self) -> int:
        """How many requests may go out together."""
        return 1 << 30 if self._requests is None else int(self._requests.capacity)

    def _metered(self, prompts: Sequence[Prompt], call: Callable[[], T], *, more: int = 0, answers: bool = True) -> T:
        """Do `call` within budget and rate, and add its price to the ledger. `more` are further input tokens."""
        try:
            self._admit(prompts, more, answers)
        except BaseException:
            self._breaker.note(None)
            raise
        with run() as metered:
            try:
                return call()
            except RetryableModelError:
                raise
            except BaseException:
                self._breaker.note(None)
                raise
            finally:
                used = metered.ledger
                price = used.tokens_in * self._prices[0] + used.tokens_out * self._prices[1]
                if price:
                    used.add(cost=price)

    def _admit(self, prompts: Sequence[Prompt], more: int, answers: bool) -> None:
        """Raise when the run's budget cannot pay these requests; wait until the rates allow them."""
        current().check()
        tokens_in, tokens_out = more, sum(prompt.sample.max_tokens if answers else 1 for prompt in prompts)
        if self._tokens is not None or _limited():
            tokens_in += int(self.lm.count([prompt.text for prompt in prompts]).sum())
        cost = tokens_in * self._prices[0] + tokens_out * self._prices[1]
        current().check_budget(len(prompts), tokens_in + tokens_out, cost)
        wait = 0.0 if self._requests is None else self._requests.take(len(prompts))
        if self._tokens is not None:
            wait = max(wait, self._tokens.take(tokens_in + tokens_out))
        self._wait(wait)

    def _wait(self, seconds: float) -> None:
        """Sleep, in steps that notice a cancelled run; raises at once when the deadline comes before the end."""
        current().check(seconds)
        while seconds > 0:
            step = min(seconds, 0.1)
            self._sleep(step)
            current().check()
            seconds -= step

    def _back_off(self, attempt: int, asked: float) -> None:
        """Wait half a second, doubled at each attempt and spread by half, or as long as the server asked."""
        spread = float(rng(0, "backoff", self.name, attempt, time.monotonic_ns()).random())
        self._wait(max(asked, min(0.5 * 2.0**attempt, 8.0) * (0.5 + 0.5 * spread)))

    def _closed(self) -> RetryableModelError:
        return RetryableModelError(f"{self.name} failed too often and is left alone for a while", hint="try later")

    def _whole(self, prompts: Sequence[Prompt], call: Callable[[], T], more: int = 0) -> T:
        """Do a call that succeeds or fails as a whole, again while it fails in passing."""
        self._allowance.first(1)
        for attempt in range(self._retries + 1):
            if self._breaker.ask() == "stop":
                raise self._closed()
            try:
                made = self._metered(prompts, call, more=more, answers=False)
            except RetryableModelError as error:
                self._breaker.note(False)
                if attempt == self._retries or self._breaker.open or not self._allowance.again(1):
                    raise
                self._back_off(attempt, float(getattr(error, "after", 0.0)))
            else:
                self._breaker.note(True)
                return made
        raise self._closed()

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities of the inner model."""
        return self._whole(prompts, lambda: self.lm.label(prompts, labels))

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """Score rows of the inner model."""
        more = 0
        if self._tokens is not None or _limited():
            more = int(sum(self.lm.count(list(texts)).sum() for texts in choices))
        return self._whole(prompts, lambda: self.lm.score(prompts, choices), more)

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) hidden states of the inner model."""
        return self._whole(prompts, lambda: self.lm.hidden(prompts, layer, pool))

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces; a broken stream is not tried again, since part of it was said."""
        self._allowance.first(1)
        if self._breaker.ask() == "stop":
            raise self._closed()
        pieces: list[str] = []
        try:
            self._admit([prompt], 0, True)
            for piece in self.lm.stream(prompt):
                pieces.append(piece)
                yield piece
        except RetryableModelError:
            self._breaker.note(False)
            raise
        except BaseException:
            self._breaker.note(None)
            raise
        self._breaker.note(True)
        if any(self._prices):
            tokens_in, tokens_out = (int(n) for n in self.lm.count([prompt.text, "".join(pieces)]))
            current().ledger.add(cost=tokens_in * self._prices[0] + tokens_out * self._prices[1])


def _limited() -> bool:
    """Whether this run or one around it has a budget of tokens or money."""
    work = current()
    while True:
        if work.budget.tokens is not None or work.budget.cost is not None:
            return True
        if work.outer is None:
            return False
        work = work.outer
