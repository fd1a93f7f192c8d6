"""Validity of what a language model answered, from parse reports: how often it invents, repeats, omits or refuses.

A report is a mapping of counts for one request: `requested` (items asked for), `matched`, `out_of_set` (named but not
among the candidates), `duplicates`, `missing` (asked for but not given), `retried`, `refused`, `invalid_format`,
`fallback` (of no use); a count that is absent is 0. Every rate divides by ALL requests, also those that were refused
or gave nothing: item rates by all items asked for, request rates by the number of reports. Lower is better everywhere.
Names where they exist: RecLM-eval (RecAI).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hexarec.core.errors import DataError
from hexarec.metrics.names import Measured
from hexarec.metrics.reference import Floats

Report = Mapping[str, Any]


def column(reports: Sequence[Report], name: str) -> Floats:
    """One count of all reports, (n,) float64, 0 where absent. Raises DataError for a negative or absent `requested`."""
    made = np.fromiter((report.get(name, 0) for report in reports), np.float64, count=len(reports))
    if made.min(initial=0.0) < 0:
        raise DataError(f"a parse report has a negative {name}", field=name)
    if name == "requested" and any(name not in report for report in reports):
        raise DataError("a parse report does not say how many items were requested", field=name)
    return made


def _per_item(reports: Sequence[Report], name: str) -> Measured:
    """Sum of a count / sum of items requested; values: count / mean requested, so that their mean is the value."""
    asked = column(reports, "requested")
    mean = asked.mean() if len(asked) else 0.0
    values = column(reports, name) / mean if mean > 0 else np.full(len(asked), np.nan)
    return Measured.mean(values)


def _per_request(reports: Sequence[Report], name: str) -> Measured:
    """Requests with a count above 0 / requests; values: 1 or 0."""
    column(reports, "requested")
    return Measured.mean((column(reports, name) > 0).astype(np.float64))


def candidate_error_rate(reports: Sequence[Report]) -> Measured:
    """Items named outside the candidates (invented ones among them) / items requested; above 1 if it names too many."""
    return _per_item(reports, "out_of_set")


def duplicate_error_rate(reports: Sequence[Report]) -> Measured:
    """Items named again / items requested; above 1 if it repeats more than was asked for."""
    return _per_item(reports, "duplicates")


def missing_rate(reports: Sequence[Report]) -> Measured:
    """Items asked for but not given / items requested; in [0, 1]."""
    return _per_item(reports, "missing")


def refusal_rate(reports: Sequence[Report]) -> Measured:
    """Requests refused / requests; in [0, 1]."""
    return _per_request(reports, "refused")


def format_error_rate(reports: Sequence[Report]) -> Measured:
    """Requests whose answer could not be read as the format asked for / requests; in [0, 1]."""
    return _per_request(reports, "invalid_format")


def retried_rate(reports: Sequence[Report]) -> Measured:
    """Requests that were asked again at least once / requests; in [0, 1]."""
    return _per_request(reports, "retried")


def fallback_rate(reports: Sequence[Report]) -> Measured:
    """Requests whose answer was of no use, so that the order given stood / requests; in [0, 1]."""
    return _per_request(reports, "fallback")


MEASURES = {
    "candidate_error_rate": candidate_error_rate, "duplicate_error_rate": duplicate_error_rate,
    "missing_rate": missing_rate, "refusal_rate": refusal_rate, "format_error_rate": format_error_rate,
    "retried_rate": retried_rate, "fallback_rate": fallback_rate,
}  # fmt: skip


def validity(raw: Sequence[Report], repaired: Sequence[Report] | None = None) -> dict[str, Measured]:
    """All validity errors: of the first answers, and as `name[repaired]` of what was left after repair.

    Both are divided by the same requests; DataError when they differ in number.
    """
    out = {name: rate(raw) for name, rate in MEASURES.items()}
    if repaired is not None:
        if len(repaired) != len(raw):
            raise DataError(f"{len(repaired)} repaired reports for {len(raw)} raw ones")
        out |= {f"{name}[repaired]": rate(repaired) for name, rate in MEASURES.items()}
    return out
