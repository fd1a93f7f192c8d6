"""Rules that end an experiment: a metric of an arm's newest lists, a comparison, a number; as in p95_ms > 800."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hexarec.core import OptionError
from hexarec.core.interactions import NOT_LIKED
from hexarec.serve.store.rows import EventRow, ShownRow

NEWEST, LEAST = 1_000, 100
"""Lists of an arm that a rule looks at, the newest ones; with fewer than LEAST it says nothing."""
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_RULE = re.compile(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Seen:
    """The newest lists of an arm, oldest first, and the events that came of each within the window."""

    lists: Sequence[ShownRow]
    events: Sequence[Sequence[EventRow]]
    kinds: Sequence[str]

    def milliseconds(self) -> list[float]:
        """How long each list took, where it is known."""
        return [1000.0 * one.seconds for one in self.lists if one.seconds is not None]

    def per_list(self, count: Callable[[ShownRow, Sequence[EventRow]], float]) -> float:
        """The mean of a number of each list."""
        return float(np.mean([count(*pair) for pair in zip(self.lists, self.events, strict=True)]))


def _quantile(share: float) -> Callable[[Seen], float]:
    return lambda seen: float(np.quantile(times, share)) if (times := seen.milliseconds()) else math.nan


METRICS: dict[str, tuple[str, Callable[[Seen], float]]] = {
    "p50_ms": ("median of the milliseconds an answer took", _quantile(0.50)),
    "p95_ms": ("95 of 100 answers were as quick", _quantile(0.95)),
    "p99_ms": ("99 of 100 answers were as quick", _quantile(0.99)),
    "degraded": ("share of answers in which a stage did not do its work",
                 lambda seen: seen.per_list(lambda shown, _: float(shown.degraded))),
    "empty": ("share of lists without items", lambda seen: seen.per_list(lambda shown, _: float(not shown.items))),
    "distinct": ("different items of a list", lambda seen: seen.per_list(lambda shown, _: len(set(shown.items)))),
    "wanted": ("events of a list that the experiment counts",
               lambda seen: seen.per_list(lambda _, events: sum(one.kind in seen.kinds for one in events))),
    "hides": ("dislikes, skips and hides of a list",
              lambda seen: seen.per_list(lambda _, events: sum(one.kind in NOT_LIKED for one in events))),
}  # fmt: skip
"""What a rule may name: what it is, and how it is worked out."""


@dataclass(frozen=True)
class Rule:
    """One rule; `str` is how it is kept."""

    metric: str
    sign: str
    number: float

    @classmethod
    def parse(cls, words: str) -> Rule:
        """The rule of a text. Raises OptionError for an unknown metric, another comparison, or what is no number."""
        found = _RULE.fullmatch(words)
        if found is None:
            raise OptionError(f"{words[:80]!r} is no rule", hint="METRIC > NUMBER, with > >= < or <=: p95_ms>800")
        metric, sign, number = found.groups()
        if metric not in METRICS:
            close = difflib.get_close_matches(metric, METRICS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"metrics: {', '.join(METRICS)}"
            raise OptionError(f"a rule knows no metric {metric!r}", hint=hint)
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise OptionError(f"{number[:80]!r} is no number to compare {metric} with", hint=f"for example {metric}>1")
        return cls(metric, sign, value)

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.number:g}"

    def met(self, seen: Seen) -> float | None:
        """The value that meets the rule; None when there are too few lists, or none does."""
        if len(seen.lists) < LEAST:
            return None
        value = METRICS[self.metric][1](seen)
        return value if COMPARE[self.sign](value, self.number) else None


def broken(rules: Sequence[str], arms: Mapping[str, Seen]) -> dict[str, Any] | None:
    """The first rule that the newest lists of an arm meet: rule, arm, value, lists."""
    for words in rules:
        rule = Rule.parse(words)
        for arm, seen in arms.items():
            if (value := rule.met(seen)) is not None:
                return {"rule": str(rule), "arm": arm, "value": value, "lists": len(seen.lists)}
    return None
