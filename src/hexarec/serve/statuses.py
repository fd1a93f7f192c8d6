"""Errors raised on purpose as HTTP sees them: a status and a type."""

from __future__ import annotations

from hexarec.core import errors
from hexarec.serve import errors as served
from hexarec.serve.store import errors as stored

STATUS: tuple[tuple[type[errors.HexarecError], int, str], ...] = (
    (served.MissingError, 404, "not_found"),
    (served.ForbiddenError, 403, "forbidden"),
    (served.LimitError, 429, "rate_limited"),
    (served.ConflictError, 409, "conflict"),
    (served.OverloadError, 503, "overloaded"),
    (stored.FullError, 507, "full"),
    (stored.BusyError, 503, "busy"),
    (stored.StoppedError, 503, "stopped"),
    (errors.BudgetError, 429, "budget_used_up"),
    (errors.DeadlineError, 504, "deadline"),
    (errors.CancelledError, 499, "cancelled"),
    (errors.MissingExtraError, 501, "not_installed"),
    (errors.CapabilityError, 501, "not_supported"),
    (errors.OptionError, 422, "invalid"),
    (errors.DataError, 422, "invalid"),
    (errors.StateError, 409, "state"),
    (errors.ModelError, 502, "model"),
    (errors.HexarecError, 500, "internal"),
)
"""The first that fits."""


def status_of(error: errors.HexarecError) -> tuple[int, str]:
    """(status, type) of an error."""
    return next((code, name) for kind, code, name in STATUS if isinstance(error, kind))
