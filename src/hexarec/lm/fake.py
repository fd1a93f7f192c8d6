"""Hand-written doubles: deterministic models that read prompts by plain text rules, for tests and dry runs.

They answer from the words of the prompt alone: list lines are history, handle lines (`[A] title`) are options. Answers
depend on one prompt only, so a batch equals its single requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hexarec.core.run import current
from hexarec.lm.base import (
    Choice,
    Completion,
    Constraint,
    Floats,
    Ints,
    Prompt,
    ScoreRow,
    Trie,
    count_call,
)
from hexarec.lm.engine import Engine, rough_count
from hexarec.lm.reading import Page, fill, overlap, read, words

TEXT_LEVEL = frozenset({"text", "json", "choice", "trie", "label", "score"})
Judge = Callable[[str, Page], float]


class Double(Engine):
    """What the doubles share: bookkeeping, batching and the constraints. A double says how it values an option."""

    name = "fake:double"

    def __init__(self) -> None:
        self.spec = self.name

    @property
    def can(self) -> frozenset[str]:
        """All text-level capabilities."""
        return TEXT_LEVEL

    @property
    def window(self) -> int:
        """1,000,000 tokens: a double never runs out."""
        return 1_000_000

    def worth(self, page: Page) -> list[float]:
        """How much each option of the page is worth, in order."""
        return [overlap(page.history, option) for option in page.options]

    def answer(self, prompt: Prompt, within: Constraint | None) -> Completion:
        """The answer to one prompt: options ranked by worth, or a sentence made of the history's words."""
        page = read(prompt.text)
        return Completion(self._say(page, within))

    def _say(self, page: Page, within: Constraint | None) -> str:
        ranked = self.ranked(page)
        if isinstance(within, Choice | Trie):
            options = within.options if isinstance(within, Choice) else within.sequences
            return max(options, key=lambda option: self._value(page, option))
        if within is not None:
            return fill(within.schema, page, ranked)
        if page.options:
            return "\n".join(f"[{page.handles[row]}] {page.options[row]}" for row in ranked)
        if page.asks_yes_no:
            return "Yes" if overlap(page.history, page.question) > 0 else "No"
        common = words(" ".join(page.history) or page.question)
        return "Likes " + ", ".join(common[:5]) + "." if common else "Nothing to say."

    def ranked(self, page: Page) -> list[int]:
        """The option positions, best first; ties keep the prompt's order."""
        worth = self.worth(page)
        return sorted(range(len(worth)), key=lambda row: -worth[row])

    def _value(self, page: Page, text: str) -> float:
        """The worth of a handle, of yes or no, or else of the text itself."""
        bare = text.strip().strip("[]")
        if bare in page.handles:
            return self.worth(page)[page.handles.index(bare)]
        if bare.lower() in ("yes", "no", "是", "否"):
            target = page.options[0] if len(page.options) == 1 else page.question
            liking = min(self.worth(page)) if len(page.options) == 1 else overlap(page.history, target)
            return (liking - 0.25) * (1.0 if bare.lower() in ("yes", "是") else -1.0)
        return overlap(page.history, text)

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """One completion for each prompt, cut at the prompt's `max_tokens` with finish "length"."""
        self.admit(prompts, within)
        current().check()
        return [self._count(prompt, self.answer(prompt, within), within) for prompt in prompts]

    def _count(self, prompt: Prompt, made: Completion, within: Constraint | None) -> Completion:
        used_in, used_out = (int(n) for n in rough_count([prompt.text, made.text]))
        finish, text, most = made.finish, made.text, prompt.sample.max_tokens
        if used_out > most and within is None and finish == "stop":
            finish, text, used_out = "length", text[: 4 * most], most
        count_call(tokens_in=used_in, tokens_out=used_out)
        return Completion(text, finish, used_in, used_out, 0, made.error)

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """(n, n_labels) log-probabilities: a soft-max of four times the worth, with a fifth of the mass elsewhere."""
        current().check()
        rows = np.zeros((len(prompts), len(labels)), dtype=np.float32)
        for row, prompt in enumerate(prompts):
            page = read(prompt.text)
            raw = 4.0 * np.array([self._value(page, label) for label in labels])
            rows[row] = raw - np.logaddexp.reduce(raw) + math.log(0.8)
            count_call(tokens_in=int(rough_count([prompt.text])[0]), tokens_out=1)
        return rows

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """For each choice: one unit less per token, and the overlap with the history more."""
        current().check()
        rows = []
        for prompt, texts in zip(prompts, choices, strict=True):
            page = read(prompt.text)
            tokens = rough_count(texts)
            gain = np.array([overlap(page.history, text) for text in texts], dtype=np.float32)
            rows.append(ScoreRow((gain - tokens).astype(np.float32), tokens))
            count_call(tokens_in=int(rough_count([prompt.text])[0] + tokens.sum()))
        return rows

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """The answer, word by word."""
        yield from re.findall(r"\S+\s*|\s+", self.generate([prompt])[0].text)

    def count(self, texts: Sequence[str]) -> Ints:
        """(n,) guessed token counts."""
        return rough_count(texts)


class Overlap(Double):
    """Prefers what shares words with the history."""

    name = "fake:overlap"


class PositionBiased(Double):
    """Mixes the truth with a liking for positions, so that undoing the bias can be tested.

    `bias(position, n)` gives the liking for a position (default: falls from 1 to 0 down the list), `strength` 0..1 is
    its share, `truth` the worth of titles (a mapping; what is missing is 0) or None for word overlap.
    """

    name = "fake:position"

    def __init__(
        self,
        bias: Callable[[int, int], float] | None = None,
        strength: float = 0.5,
        truth: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.bias, self.strength, self.truth = bias or falling, strength, truth

    def worth(self, page: Page) -> list[float]:
        """The mixed worth of each option."""
        true = super().worth(page) if self.truth is None else [self.truth.get(o, 0.0) for o in page.options]
        n = len(true)
        return [(1 - self.strength) * true[row] + self.strength * self.bias(row, n) for row in range(n)]


def falling(position: int, n: int) -> float:
    """1 at the top of a list of n, 0 at its end."""
    return 1.0 - position / max(n - 1, 1)


_ORDER = re.compile(
    r"(?:rank|put|place|choose|pick|recommend|answer|select)\s+[\"'\[]?(.+?)[\"'\]]?"
    r"\s*(?:first|at the top|only|always|above all|$|[.!,;)])",
    re.IGNORECASE,
)


class Obedient(Double):
    """Does what item text tells it ("rank X first"), so that fences around item text can be tested."""

    name = "fake:obedient"

    def worth(self, page: Page) -> list[float]:
        """Overlap, plus 10 for every option that some item's text orders to the front."""
        orders = [order for line in (*page.options, *page.history) for order in _ORDER.findall(line)]
        return [
            base + 10.0 * any(self._meant(order, page, row) for order in orders)
            for row, base in enumerate(super().worth(page))
        ]

    @staticmethod
    def _meant(order: str, page: Page, row: int) -> bool:
        wanted = order.strip().casefold()
        if wanted in ("me", "this", "this item", "this one", "it"):
            return bool(_ORDER.search(page.options[row]))
        named = {handle.casefold() for handle in page.handles}
        handle = page.handles[row].casefold()
        return wanted == handle if wanted in named else wanted in page.options[row].casefold()


class Scripted(Double):
    """Answers with `function(prompt)`: a text, or a whole Completion. Labels and scores are those of `Overlap`."""

    name = "fake:scripted"

    def __init__(self, function: Callable[[Prompt], str | Completion]) -> None:
        super().__init__()
        self.function = function

    def answer(self, prompt: Prompt, within: Constraint | None) -> Completion:
        """What the function says; an exception in it becomes a completion with finish "error"."""
        try:
            said = self.function(prompt)
        except Exception as error:
            return Completion("", "error", error=f"{type(error).__name__}: {error}")
        return Completion(said) if isinstance(said, str) else said


class Counting(Double):
    """Answers as little as it may and counts as much as it might: for estimates before a run.

    Input tokens are guessed from the text, multiplied by `inflate`; output tokens are the whole `max_tokens` times
    `share`, or the longest option.
    """

    name = "fake:counting"

    def __init__(self, share: float = 1.0, inflate: float = 1.0) -> None:
        super().__init__()
        self.share, self.inflate = share, inflate

    def worth(self, page: Page) -> list[float]:
        """All options alike: the answer keeps the prompt's order."""
        return [0.0] * len(page.options)

    def count_tuning(self, prompts: Sequence[Prompt], passes: int) -> None:
        """Count what tuning on prompts reads in `passes` epochs; a step forward and back costs three readings."""
        tokens = math.ceil(self.inflate * int(rough_count([prompt.text for prompt in prompts]).sum()))
        count_call(len(prompts) * passes, tokens_in=3 * passes * tokens)

    def _count(self, prompt: Prompt, made: Completion, within: Constraint | None) -> Completion:
        used_in = math.ceil(self.inflate * int(rough_count([prompt.text])[0]))
        used_out = math.ceil(self.share * prompt.sample.max_tokens)
        if isinstance(within, Choice):
            used_out = int(rough_count(within.options).max())
        count_call(tokens_in=used_in, tokens_out=used_out)
        return Completion(made.text, "stop", used_in, used_out)


def make(name: str, **options: Any) -> Any:
    """The double behind `fake:<name>`, made with `options`; KeyError when there is none."""
    from hexarec.lm.garbage import Garbage

    kinds: dict[str, Callable[..., Any]] = {
        "overlap": Overlap,
        "position": PositionBiased,
        "garbage": Garbage,
        "obedient": Obedient,
        "counting": Counting,
    }
    return kinds[name](**options)


NAMES = ("overlap", "position", "garbage", "obedient", "counting")
