"""Metrics of simulated visits: what was looked at, taken up and liked, when people left, what they said of it.

Every rate divides by what was looked at, not by what would have been shown to somebody who stayed: a short visit is no
low rate (the released code of Zhang et al. 2024, arXiv:2310.10108, divides by all pages).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.errors import DataError, OptionError
from hexarec.core.lists import Lists
from hexarec.metrics.names import Measured

Floats = NDArray[np.float64]


def total(seen: Lists, name: str) -> Floats:
    """(n,) sum of a column over each visit's items; unknown (NaN) counts as 0."""
    if name not in seen.fields:
        raise DataError(f"the items of the visits lack the field {name!r}", field=name)
    values = np.nan_to_num(seen.fields[name].astype(np.float64))
    return np.bincount(ragged.segments(seen.offsets), values, minlength=len(seen)).astype(np.float64)


def clicks(seen: Lists, score: Floats) -> Floats:
    """Items taken up."""
    return total(seen, "watched")


def likes(seen: Lists, score: Floats) -> Floats:
    """Items liked."""
    return total(seen, "liked")


def yes_rate(seen: Lists, score: Floats) -> Floats:
    """Items said to suit / items looked at."""
    return _rate(total(seen, "aligned"), seen)


def click_rate(seen: Lists, score: Floats) -> Floats:
    """Items taken up / items looked at."""
    return _rate(total(seen, "watched"), seen)


def like_rate(seen: Lists, score: Floats) -> Floats:
    """Items liked / items looked at."""
    return _rate(total(seen, "liked"), seen)


def exit_page(seen: Lists, score: Floats) -> Floats:
    """The last page looked at; NaN for a visit without one."""
    pages = seen.fields["page"].astype(np.float64)
    made = np.full(len(seen), np.nan)
    np.fmax.at(made, ragged.segments(seen.offsets), pages)
    return made


def satisfaction(seen: Lists, score: Floats) -> Floats:
    """What the interview said, 1 to 10; NaN without one."""
    return score


def _rate(values: Floats, seen: Lists) -> Floats:
    return np.where(seen.lengths > 0, values / np.maximum(seen.lengths, 1), np.nan)


MEASURES: dict[str, Callable[[Lists, Floats], Floats]] = {
    "satisfaction": satisfaction, "clicks": clicks, "click_rate": click_rate, "likes": likes, "like_rate": like_rate,
    "yes_rate": yes_rate, "exit_page": exit_page,
}  # fmt: skip


def visit_metrics(seen: Lists, score: NDArray[Any], names: Sequence[str]) -> dict[str, Measured]:
    """Measures of visits, one list of looked-at items and one score (n,) each. Raises OptionError for another name."""
    if unknown := [name for name in names if name not in MEASURES]:
        raise OptionError(f"{unknown[0]} does not measure visits", hint=f"take {', '.join(MEASURES)}")
    given = np.asarray(score, np.float64)
    return {name: Measured.mean(MEASURES[name](seen, given)) for name in names}
