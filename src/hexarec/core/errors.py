"""The errors hexarec raises: each says what is wrong, where, and what mends it."""

from __future__ import annotations


class HexarecError(Exception):
    """Base of all errors raised on purpose; `hint` is the mend, `retryable` whether the same call may succeed later."""

    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}\n  -> {hint}" if hint else message)


class DataError(HexarecError):
    """Bad input data; names file, line and field where they are known."""

    def __init__(
        self, message: str, *, file: str = "", line: int | None = None, field: str = "", hint: str = ""
    ) -> None:
        self.file, self.line, self.field = file, line, field
        place = ":".join(str(part) for part in (file, line, field) if part not in ("", None))
        super().__init__(f"{place}: {message}" if place else message, hint=hint)


class OptionError(HexarecError):
    """An unknown option, or one with a value of the wrong type or range."""


class StateError(HexarecError):
    """Saved state that is missing, damaged or made for something else; also use before `fit`."""


class LineageError(HexarecError):
    """Row numbers of one catalog (or user table) used with another."""


class CapabilityError(HexarecError):
    """A model or data set lacks what a method needs."""


class MissingExtraError(HexarecError):
    """An optional dependency is not installed; the hint names the extra."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed",
            hint=f'pip install "hexarec[{extra}]"',
        )


class ModelError(HexarecError):
    """A language model or encoder could not be loaded, or did not answer."""


class RetryableModelError(ModelError):
    """The model failed in a way that may pass: busy, timeout, dropped connection."""

    retryable = True


class BudgetError(HexarecError):
    """A hard budget of calls, tokens or money is used up."""


class DeadlineError(HexarecError):
    """The run's deadline has passed, or the next step cannot finish before it."""


class CancelledError(HexarecError):
    """The run was cancelled."""
