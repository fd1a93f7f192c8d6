"""When an answer to a closed list is of use, and what to say when it is not.

An answer is of use when it places at least half of the options and does not value them all alike. Others are read as
far as they go, but they do not enter a cache, and the stage says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from hexarec.lm.base import Completion, Prompt
from hexarec.parts.ground import ParseReport

Numbers = NDArray[np.floating]


def of_use(report: ParseReport) -> bool:
    """Whether a ranking in words placed at least half of what was asked for."""
    return 2 * report.matched >= report.requested


def row_of_use(row: Numbers) -> bool:
    """Whether log-probabilities (m,) are there for at least half of the options, and tell them apart."""
    known = row[~np.isnan(row)]
    return 2 * len(known) >= len(row) and (len(row) < 2 or len(np.unique(known)) > 1)


def complete(row: Numbers) -> bool:
    """Whether every log-probability is there: what a comparison of two answers needs."""
    return not bool(np.isnan(row).any())


def of_rows(judge: Callable[[Numbers], bool]) -> Callable[[Prompt, Numbers], bool]:
    """A judge of rows as a judge of answers to prompts."""
    return lambda prompt, row: judge(np.asarray(row))


def of_rankings(reports: Mapping[str, Callable[[str], ParseReport]]) -> Callable[[Prompt, Completion], bool]:
    """A judge of completions: `reports` reads an answer to the prompt with this digest."""
    return lambda prompt, made: made.good and of_use(reports[prompt.digest()](made.text))


def shortfall(by_round: Numbers, error: str = "") -> str:
    """Why the scores of one question (rounds, m), NaN where an option has no place, are of no use; "" when they are.

    `error` is what the model said for itself, in case nothing came.
    """
    m = by_round.shape[1]
    placed = int((~np.isnan(by_round)).any(0).sum())
    if 2 * placed < m:
        return error or f"the model placed {placed} of {m} options"
    known = [row[~np.isnan(row)] for row in by_round]
    compared = [row for row in known if len(row) > 1]
    if compared and all(len(np.unique(row)) < 2 for row in compared):
        return "the model values all options alike"
    return ""
