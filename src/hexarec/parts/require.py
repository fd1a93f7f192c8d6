"""What an option asks of a model, refused at once where the model cannot do it."""

from __future__ import annotations

from collections.abc import Sequence

from hexarec.core import CapabilityError
from hexarec.lm.base import LanguageModel


def require(lm: LanguageModel, need: str, instead: str) -> None:
    """Raise CapabilityError unless the model can do what is needed; `instead` is the option that does without."""
    if need not in lm.can:
        raise CapabilityError(f"{lm.name} cannot do {need!r}", hint=f"use {instead}, or another model")


def require_all(lm: LanguageModel, needs: Sequence[str], name: str, hint: str) -> None:
    """Raise CapabilityError with all that the stage of this name needs and the model lacks."""
    if lacking := [need for need in needs if need not in lm.can]:
        raise CapabilityError(f"{name} needs {' and '.join(lacking)}, which {lm.name} lacks", hint=hint)
