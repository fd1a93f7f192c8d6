"""The like rule: which events say that somebody liked an item. Stated once, at import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import OptionError
from hexarec.core.interactions import KINDS, NOT_LIKED

EVERY = "every event"
NEGATIVE = tuple(KINDS.index(kind) for kind in sorted(NOT_LIKED))
NEUTRAL = tuple(KINDS.index(kind) for kind in ("view", "review", "tag"))  # without a value they say neither
_VALUE = re.compile(r"^\s*(?:value\s*)?(>=|<=|>|<|==|=)\s*(-?\d+(?:\.\d+)?)\s*$")
_KIND = re.compile(r"^\s*kind\s+(?:is|in)\s+([a-z]+(?:\s*,\s*[a-z]+)*)\s*$")
_COMPARE: dict[str, Any] = {
    ">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less, "=": np.equal, "==": np.equal,
}  # fmt: skip


@dataclass(frozen=True)
class LikeRule:
    """`value >= 4`, `kind in purchase, like` or `every event`.

    Under a value rule an event without a value counts as liked unless it is a view, review or tag. Dislike, skip and
    hide are never liked.
    """

    compare: str = ""
    bound: float = 0.0
    kinds: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LikeRule:
        """From its sentence. Raises OptionError for one that cannot be read."""
        if text.strip().lower() == EVERY:
            return cls()
        if found := _VALUE.match(text):
            return cls(compare="=" if found[1] == "==" else found[1], bound=float(found[2]))
        if found := _KIND.match(text):
            kinds = tuple(one.strip() for one in found[1].split(","))
            wrong = [kind for kind in kinds if kind not in KINDS]
            if not wrong:
                return cls(kinds=kinds)
            raise OptionError(f"unknown kind of event {wrong[0]!r}", hint=f"use {', '.join(KINDS)}")
        raise OptionError(
            f"cannot read the like rule {text!r}", hint="write '>= 4', 'kind in purchase, like' or 'every event'"
        )

    def __str__(self) -> str:
        if self.compare:
            return f"value {self.compare} {self.bound:g}"
        return f"kind in {', '.join(self.kinds)}" if self.kinds else EVERY

    def liked(self, value: NDArray[np.float32], kind: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which events are liked, (n,) bool."""
        if self.compare:
            with np.errstate(invalid="ignore"):
                good = _COMPARE[self.compare](value, np.float32(self.bound))
            out = np.where(np.isnan(value), ~np.isin(kind, NEUTRAL), good)
        elif self.kinds:
            out = np.isin(kind, [KINDS.index(one) for one in self.kinds])
        else:
            out = np.ones(len(kind), bool)
        return np.asarray(out & ~np.isin(kind, NEGATIVE), bool)


def default_rule(value: NDArray[np.float32]) -> tuple[LikeRule, str]:
    """The rule for a log nobody stated one for, and a note: `value >= 4` on a 1 to 5 scale, else every event."""
    known = value[~np.isnan(value)]
    distinct = np.unique(known)
    if not len(known):
        return LikeRule(), ""
    low, high = float(distinct[0]), float(distinct[-1])
    steps = bool(np.all(distinct * 2 == np.round(distinct * 2)))
    if steps and 0 <= low and high <= 5 and high >= 4 and len(distinct) >= 3:
        return LikeRule(">=", 4.0), ""
    if steps and 5 < high <= 10 and low >= 0 and len(distinct) >= 5:
        return (
            LikeRule(),
            f"values run from {low:g} to {high:g} like ratings, yet every event counts as liked: state a rule",
        )
    return LikeRule(), ""
