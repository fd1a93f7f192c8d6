"""`Guarded`: rates, retries, a circuit breaker, hard budgets and the price, around any language model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from hexarec.core.errors import BudgetError, DeadlineError, OptionError, RetryableModelError
from hexarec.core.run import Ledger, Run, current, held
from hexarec.core.seeds import rng
from hexarec.lm.base import (
    Completion,
    Constraint,
    Floats,
    Hypothesis,
    Ints,
    LanguageModel,
    Prompt,
    ScoreRow,
    failed,
    identity,
)
from hexarec.lm.breaker import Allowance, Breaker, Bucket
from hexarec.lm.gate import apart, gate, stoppable
from hexarec.lm.overheard import tell
from hexarec.lm.tokentrie import TokenTrie
from hexarec.lm.toll import Need, Toll, alone

T = TypeVar("T")
BEAMS = 20  # of a search that names none


class Guarded:
    """A language model that keeps to limits.

    `rate_per_minute` and `tokens_per_minute` slow requests down; `retries` is the most for one request, and all retries
    together stay within `retry_budget` of the last 100 first attempts; `breaker` failures in a row stop all requests,
    but for one probe every `cooldown` seconds. Prices are in US dollars per million tokens.

    Under a budget of tokens or money the most that requests may take is set aside before they are sent: a token for
    each byte of a prompt, and the whole `max_tokens`. Where that is more than is left, and before the first answer has
    shown how the server counts, a request goes alone with what it is likely to take. So calls side by side cannot
    overrun a budget together; a server that counts more than was guessed overruns it by one request at most.

    No call outlasts the run's deadline, or its cancel by more than 0.2 s, whatever the engine does. `generate` answers
    failed requests by completions; it raises only when nothing could be sent.
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
        self._gated, self._toll = bool(getattr(lm, "gated", False)), Toll()

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

    def identity(self, prompt: Prompt) -> str:
        """What besides the prompt decides the inner model's answers."""
        return identity(self.lm, prompt)

    def weights(self) -> tuple[Any, Any]:
        """The inner model's module and tokenizer."""
        return self.lm.weights()

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt, in order; those that failed in passing are asked again while there is time.

        Raises BudgetError before anything is sent, RetryableModelError while the breaker is open, DeadlineError and
        CancelledError also in the middle of a call.
        """
        answers: dict[int, Completion] = {}
        self._allowance.first(len(prompts))
        todo = list(range(len(prompts)))
        self._round(todo, prompts, within, answers)
        for attempt in range(self._retries):
            todo = [row for row in todo if answers[row].retryable]
            if self._breaker.open or not (todo := todo[: self._allowance.again(len(todo))]):
                break
            try:
                if not self._back_off(attempt, max(answers[row].retry_after for row in todo)):
                    break
                self._round(todo, prompts, within, answers)
            except DeadlineError:
                # the failure that was to be mended tells more than the lack of time to mend it
                break
        made = [answers[row] for row in range(len(prompts))]
        tell(self.name, "generate", prompts, made)
        return made

    def _round(
        self, todo: list[int], prompts: Sequence[Prompt], within: Constraint | None, answers: dict[int, Completion]
    ) -> None:
        """Ask the rows of `todo` once, in the portions that budget and rate allow."""
        start = 0
        while start < len(todo):
            left = [prompts[row] for row in todo[start:]]
            count = self._admissible(
                self._portion(lambda n, left=left: self._need(left[:n]), len(left), fresh=not start)  # type: ignore[misc]
            )
            if not count:
                if not answers:
                    raise self._closed()
                for row in todo[start:]:
                    answers[row] = answers.get(row, failed(str(self._closed()), retryable=True))
                return
            rows = todo[start : start + count]
            try:
                made = self._asked([prompts[row] for row in rows], within)
            except BudgetError as error:
                if not answers:
                    raise
                for row in todo[start:]:
                    answers[row] = answers.get(row, failed(error.message))
                return
            for row, completion in zip(rows, made, strict=True):
                if not self._gated:
                    self._breaker.note(not completion.retryable)
                answers[row] = completion
            start += count

    def _admissible(self, wanted: int) -> int:
        """How many requests may go out together now; 0 while the breaker is shut."""
        if self._gated:
            # the gate asks the breaker for every single request
            return 0 if self._breaker.shut else wanted
        most = wanted if self._requests is None else int(self._requests.capacity)
        while not (count := self._breaker.ask(min(wanted, most))):
            if self._breaker.open:
                return 0
            current().check()
            self._breaker.pause(0.02)
        return count

    def _asked(self, prompts: Sequence[Prompt], within: Constraint | None) -> list[Completion]:
        """The inner model's answers; a fault of the whole call becomes a failure of each request."""
        try:
            return self._metered(self._need(prompts), lambda: self.lm.generate(prompts, within))
        except RetryableModelError as error:
            after = float(getattr(error, "after", 0.0))
            return [failed(error.message, retryable=True, retry_after=after)] * len(prompts)

    def _portion(self, needs: Callable[[int], Need], count: int, *, fresh: bool) -> int:
        """How many of `count` requests may go out together: all, or under a budget those that it bears at their most.

        Before the first answer that is one, and it is one where the budget bears none. `needs(n)` is what the first n
        take. `fresh` says that none of them was sent yet: BudgetError is raised where all are likely to be too much.
        """
        n = count
        while n > 1 and current().limited and not self._bears(needs(n)):
            n = n // 2 if self._toll.proven else 1
        if fresh and n < count:
            whole = needs(count)
            with held(*self._amounts(whole, self._toll.likely(whole))):
                pass
        return n

    def _bears(self, need: Need) -> bool:
        if not self._toll.proven:
            return False
        try:
            current().check_budget(*self._amounts(need, self._toll.most(need)))
        except BudgetError:
            return False
        return True

    def _metered(self, need: Need, call: Callable[[], T], *, whole: bool = False) -> T:
        """Do `call` within budget, rate and time, and add its price to the ledger; `whole` calls are one request."""

        def asked() -> T:
            # what is set aside is free again when the call has ended, not when nobody waits for it any more
            with self._set_aside(need, sure=self._toll.proven) as metered:
                try:
                    with gate(self) if self._gated else contextlib.nullcontext():
                        made = call()
                finally:
                    self._charge(metered.ledger, need)
                self._toll.proven = True  # also by a server that counts nothing
                return made

        try:
            if not self._gated:
                self._pace(need.requests, self._toll.likely(need) + need.out)
            return stoppable(asked, self.name)
        except RetryableModelError:
            raise
        except BaseException as error:
            if not self._gated:
                # a wrong key says that the server is there; anything else says nothing
                for _ in range(1 if whole else need.requests):
                    self._breaker.note(None, sent=not isinstance(error, BudgetError | DeadlineError))
            raise

    def _need(
        self, prompts: Sequence[Prompt], out: int | None = None, more: Sequence[Sequence[str]] | None = None
    ) -> Need:
        """What requests take; tokens in are counted only where somebody limits them.

        `out` are the tokens of one answer, None for the prompt's own `max_tokens`; `more` are further texts of each.
        """
        current().check()
        tokens = sum(prompt.sample.max_tokens if out is None else out for prompt in prompts)
        if self._tokens is None and not current().limited:
            return Need(len(prompts), out=tokens)
        texts = [prompt.text for prompt in prompts] + [text for own in (more or ()) for text in own]
        return Need.of(prompts, texts, self.lm.count(texts), tokens)

    def _amounts(self, need: Need, tokens_in: int) -> tuple[int, int, float]:
        """Calls, tokens and dollars."""
        return need.requests, tokens_in + need.out, self._price(tokens_in, need.out)

    @contextlib.contextmanager
    def _set_aside(self, need: Need, *, sure: bool) -> Iterator[Run]:
        """The most that a call may take, set aside for it; or what is likely, while no other call has only that.

        `sure` is False where nothing is known of how the server counts: then the call goes alone, unless another's
        first answer comes before its turn.
        """
        with contextlib.ExitStack() as stack:
            yield self._room(stack, need, sure)

    def _room(self, stack: contextlib.ExitStack, need: Need, sure: bool) -> Run:
        if current().limited:
            if sure:
                with contextlib.suppress(BudgetError):
                    return stack.enter_context(held(*self._amounts(need, self._toll.most(need))))
            stack.enter_context(alone())
            if self._toll.proven and not sure:
                stack.close()
                return self._room(stack, need, True)
        return stack.enter_context(held(*self._amounts(need, self._toll.likely(need))))

    def _price(self, tokens_in: float, tokens_out: float) -> float:
        return tokens_in * self._prices[0] + tokens_out * self._prices[1]

    def _charge(self, used: Ledger, need: Need) -> None:
        """Add the price to the ledger, and learn by how much the server counts more tokens than we do."""
        self._toll.learn(used.tokens_in, need)
        price = self._price(used.tokens_in, used.tokens_out)
        if price:
            used.add(cost=price)

    def enter(self, prompt: Prompt) -> None:
        """The gate: return when the rates and the breaker let one request out. Raises RetryableModelError when shut."""
        if self._breaker.shut:
            raise self._closed()
        need = Need(1) if self._tokens is None else self._need([prompt])
        self._pace(1, self._toll.likely(need) + need.out)
        while not self._breaker.ask():
            if self._breaker.open:
                raise self._closed()
            current().check()
            self._breaker.pause(0.02)

    def leave(self, well: bool | None) -> None:
        """The gate: what came of one request."""
        self._breaker.note(well)

    def _pace(self, requests: int, tokens: int) -> None:
        """Wait until the rates allow these requests; what was not waited for is given back."""
        taken = [
            (bucket, n) for bucket, n in ((self._requests, requests), (self._tokens, tokens)) if bucket is not None
        ]
        wait = max((bucket.take(n) for bucket, n in taken), default=0.0)
        try:
            self._wait(wait)
        except BaseException:
            for bucket, n in taken:
                bucket.give(n)
            raise

    def _wait(self, seconds: float) -> None:
        """Sleep, in steps that notice a cancelled run; raises at once when the deadline comes before the end."""
        current().check(seconds)
        while seconds > 0:
            step = min(seconds, 0.05)
            self._sleep(step)
            current().check()
            seconds -= step

    def _back_off(self, attempt: int, asked: float) -> bool:
        """Wait half a second, doubled at each attempt and spread by half, or as long as the server asked.

        False, without a wait, when the deadline would come first: then the failure is the answer.
        """
        spread = float(rng(0, "backoff", self.name, attempt, time.monotonic_ns()).random())
        seconds = max(asked, min(0.5 * 2.0**attempt, 8.0) * (0.5 + 0.5 * spread))
        if current().remaining() <= seconds:
            return False
        self._wait(seconds)
        return True

    def _closed(self) -> RetryableModelError:
        return RetryableModelError(f"{self.name} failed too often and is left alone for a while", hint="try later")

    def _whole(
        self,
        prompts: Sequence[Prompt],
        call: Callable[[slice], T],
        *,
        out: int = 1,
        more: Sequence[Sequence[str]] | None = None,
    ) -> list[T]:
        """A call that succeeds or fails as a whole, in the portions of prompts that the budget allows.

        `out` are the tokens of an answer, `more` further texts that are read behind each prompt.
        """

        def needs(n: int) -> Need:
            rows = slice(start, start + n)
            return self._need(prompts[rows], out, None if more is None else more[rows])

        made: list[T] = []
        start = 0
        while start < len(prompts) or not made:
            n = self._portion(needs, len(prompts) - start, fresh=not start)
            rows = slice(start, start + n)
            made.append(self._again(needs(n), lambda rows=rows: call(rows)))  # type: ignore[misc]
            start += n
        return made

    def _again(self, need: Need, call: Callable[[], T]) -> T:
        """Do a call that succeeds or fails as a whole, again while it fails in passing."""
        requests = need.requests if self._gated else 1
        self._allowance.first(requests)
        for attempt in range(self._retries + 1):
            if not self._admissible(1):
                raise self._closed()
            try:
                made = self._metered(need, call, whole=True)
            except RetryableModelError as error:
                self._noted(False)
                if attempt == self._retries or self._breaker.open or not self._allowance.again(requests, whole=True):
                    raise
                if not self._back_off(attempt, float(getattr(error, "after", 0.0))):
                    raise
            else:
                self._noted(True)
                return made
        raise self._closed()

    def _noted(self, well: bool) -> None:
        if not self._gated:
            self._breaker.note(well)

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities of the inner model."""
        made = np.concatenate(self._whole(prompts, lambda rows: self.lm.label(prompts[rows], labels)))
        tell(self.name, "label", prompts, made, [labels] * len(prompts))  # type: ignore[arg-type]
        return made

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]], **how: bool) -> list[ScoreRow]:
        """Score rows of the inner model; `how` is what it takes beside (`closed` of `hf:`)."""
        if len(prompts) != len(choices):
            raise OptionError(f"{len(prompts)} prompts but {len(choices)} lists of choices")
        parts = self._whole(prompts, lambda rows: self.lm.score(prompts[rows], choices[rows], **how), more=choices)
        made = [row for part in parts for row in part]
        tell(self.name, "score", prompts, made, choices)
        return made

    def hidden(self, prompts: Sequence[Prompt], layer: int = -1, pool: str = "mean") -> Floats:
        """(n, d) hidden states of the inner model."""
        return np.concatenate(self._whole(prompts, lambda rows: self.lm.hidden(prompts[rows], layer, pool)))

    @property
    def trie(self) -> Callable[..., Any]:
        """`trie` of an inner model that searches; another has none, and so has this one."""
        return self.lm.trie  # type: ignore[attr-defined, no-any-return]

    @property
    def search(self) -> Callable[..., list[list[Any]]]:
        """`search` of an inner model that has it, within the limits of all calls: as `HF.search`."""
        inner = self.lm.search  # type: ignore[attr-defined]

        @wraps(inner)
        def searched(prompts: Sequence[Prompt], trie: TokenTrie, **how: Any) -> list[list[Any]]:
            def call(rows: slice) -> list[list[Any]]:
                own = how if how.get("banned") is None else {**how, "banned": how["banned"][rows]}
                found: list[list[Any]] = inner(prompts[rows], trie, **own)
                return found

            parts = self._whole(prompts, call, out=how.get("beams", BEAMS) * _depth(trie))
            made = [hits for part in parts for hits in part]
            tell(self.name, "search", prompts, made)
            return made

        return searched

    @property
    def beam(self) -> Callable[..., list[list[Hypothesis]]]:
        """`beam` of an inner model that has it, within the limits of all calls: as `HF.beam`."""
        inner = self.lm.beam  # type: ignore[attr-defined]

        @wraps(inner)
        def written(prompts: Sequence[Prompt], width: int = 10) -> list[list[Hypothesis]]:
            most = width * max((prompt.sample.max_tokens for prompt in prompts), default=0)
            parts = self._whole(prompts, lambda rows: inner(prompts[rows], width), out=most)
            made = [own for part in parts for own in part]
            tell(self.name, "beam", prompts, made)
            return made

        return written

    @property
    def slate(self) -> Callable[..., list[Any]]:
        """`slate` of an inner model that has it, one call of k requests within the limits: as `HF.slate`."""
        inner = self.lm.slate  # type: ignore[attr-defined]

        @wraps(inner)
        def written(prompt: Prompt, texts: Sequence[str], k: int, *, beams: int = 4) -> list[Any]:
            # each request reads what was written before it
            longest = sorted(texts, key=len)[-k:]
            deepest = int(self.lm.count(longest[-1:])[0]) if longest else 0
            need = self._need([prompt] * k, beams * (deepest + 2), [longest] * k)
            return self._again(need, lambda: inner(prompt, texts, k, beams=beams))

        return written

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer in pieces; a broken stream is not tried again, since part of it was said."""
        return apart(self._pieces(prompt))

    def _pieces(self, prompt: Prompt) -> Generator[str, None, None]:
        self._allowance.first(1)
        need = self._need([prompt])
        # not alone before the first answer: who reads the pieces may ask other things between two of them
        with self._set_aside(need, sure=True) as metered:
            self.enter(prompt)
            try:
                yield from self.lm.stream(prompt)
            except BaseException as error:
                self._breaker.note(False if isinstance(error, RetryableModelError) else None)
                raise
            else:
                self._breaker.note(True)
            finally:
                self._charge(metered.ledger, need)


def _depth(trie: TokenTrie) -> int:
    """The most tokens of a sequence: no beam makes more."""
    depth, begin, end = -1, 0, 1
    while begin < end:
        depth, begin, end = depth + 1, end, int(trie.first[end])
    return depth
