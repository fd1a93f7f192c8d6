"""Errors of the served product beside those of core."""

from __future__ import annotations

from hexarec.core.errors import HexarecError


class OverloadError(HexarecError):
    """More asks are waiting than the server takes; the same ask may succeed later."""

    retryable = True


class MissingError(HexarecError):
    """What was named does not exist here."""


class ForbiddenError(HexarecError):
    """The key may not do this, or there is no key."""


class LimitError(HexarecError):
    """The key's rate is used up; `after` is in seconds."""

    retryable = True

    def __init__(self, message: str, after: float, *, hint: str = "") -> None:
        self.after = after
        super().__init__(message, hint=hint)


class ConflictError(HexarecError):
    """The id exists already with other content, or the state does not allow this."""
