"""A rating as a model's answer: the mean over the labels of a scale, or a number read from words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hexarec.core import OptionError, degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.lm.cassette import keeping
from hexarec.parts.prompts import Prompts
from hexarec.parts.require import require
from hexarec.parts.usable import complete, of_rows

_NUMBER = re.compile(r"(?<![\d.])-?\d+(?:[.,]\d+)?(?![\d])")
_OUT_OF = re.compile(r"\s*(?:/|out of|of|分之)\s*\d+", re.IGNORECASE)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Whole numbers from `low` to `high`."""

    low: int = 1
    high: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 10:
            raise OptionError(f"a scale runs from 0 or more to 10 or less, not from {self.low} to {self.high}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The numbers as answers."""
        return tuple(str(value) for value in range(self.low, self.high + 1))

    def read(self, text: str) -> float:
        """The first number of an answer, kept within the scale; NaN without one. "4 out of 5" is 4."""
        found = _NUMBER.search(_OUT_OF.sub("", text))
        return float("nan") if found is None else float(np.clip(float(found[0].replace(",", ".")), self.low, self.high))


def chances(lm: LanguageModel, prompts: Sequence[Prompt], scale: Scale) -> Floats:
    """(n, numbers of the scale) how likely each number is as the answer; NaN where the model gives none."""
    if not prompts:
        return np.zeros((0, len(scale.labels)))
    with keeping(of_rows(complete)):
        rows = lm.label(prompts, scale.labels).astype(np.float64)
    with np.errstate(invalid="ignore"):  # a row of minus infinities tells nothing: NaN
        shares = np.exp(rows - np.max(rows, axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def expected(lm: LanguageModel, prompts: Sequence[Prompt], scale: Scale) -> Floats:
    """(n,) the mean of the scale under the probabilities of its labels; NaN where the model gives none."""
    return np.asarray(chances(lm, prompts, scale) @ np.arange(scale.low, scale.high + 1))


def said(lm: LanguageModel, prompts: Sequence[Prompt], scale: Scale) -> Floats:
    """(n,) the number in each answer; NaN where there is none."""
    if not prompts:
        return np.zeros(0)
    with keeping(lambda prompt, made: made.good and not np.isnan(scale.read(made.text))):
        answers = lm.generate(prompts)
    return np.array([scale.read(answer.text) if answer.good else np.nan for answer in answers])


@dataclass(frozen=True)
class Rater:
    """Expected ratings. how: label takes the mean over the scale's numbers, text reads a number of the answer.

    prompts: has the piece `rate` with the slots condition, title, low and high.
    """

    lm: LanguageModel
    how: str
    scale: Scale
    prompts: Prompts

    def check(self) -> None:
        """Raise OptionError for another way."""
        if self.how not in ("label", "text"):
            raise OptionError(f"unknown rating {self.how!r}", hint="use label or text")

    def prompts_for(self, before: str, lines: Sequence[str], lang: str, whose: int = -1) -> list[Prompt]:
        """One question an item; all begin with `before`. whose: the user row they are asked for, see `Prompt`."""
        slots: dict[str, str | int] = {"condition": before, "low": self.scale.low, "high": self.scale.high}
        texts = [self.prompts.text(lang, "rate", title=line, **slots) for line in lines]
        room = 1 if self.how == "label" else 8
        return [replace(Prompt.user(text, max_tokens=room), whose=whose) for text in texts]

    def values(self, prompts: Sequence[Prompt]) -> Floats:
        """(n,) within the scale; NaN where the model gave none, which is told of. Raises CapabilityError."""
        require(self.lm, self.how, "rating='text'" if self.how == "label" else "rating='label'")
        found = expected(self.lm, prompts, self.scale) if self.how == "label" else said(self.lm, prompts, self.scale)
        if lost := int(np.isnan(found).sum()):
            degrade(f"{lost} of {len(found)} ratings: the model gave no number")
        return found
