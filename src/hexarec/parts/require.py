"""What an option asks of a model or of the data, refused at once where it is not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

from hexarec.core import CapabilityError, Dataset, OptionError
from hexarec.lm.base import LanguageModel


def require(lm: LanguageModel, need: str, instead: str) -> None:
    """Raise CapabilityError unless the model can do what is needed; `instead` is the option that does without."""
    if need not in lm.can:
        raise CapabilityError(f"{lm.name} cannot do {need!r}", hint=f"use {instead}, or another model")


def require_all(lm: LanguageModel, needs: Sequence[str], name: str, hint: str) -> None:
    """Raise CapabilityError with all that the stage of this name needs and the model lacks."""
    if lacking := [need for need in needs if need not in lm.can]:
        raise CapabilityError(f"{name} needs {' and '.join(lacking)}, which {lm.name} lacks", hint=hint)


def fields_there(stage: Any, data: Dataset) -> None:
    """Raise OptionError where an option of FIELDS names fields of items or users and the data has none of them.

    The default of an option names fields that much data lacks: it is never refused.
    """
    for option, (whose, have) in FIELDS.items():
        default = next((one.default for one in dataclasses.fields(stage) if one.name == option), ())
        given = tuple(getattr(stage, option, ()))
        if given and given != default and not set(given) & set(there := have(data)):
            named = ", ".join(map(repr, given))
            wrong = f"{type(stage).__name__}: {option} names {named}, which {whose} lacks"
            raise OptionError(wrong, hint=f"it has {', '.join(sorted(there)) or 'none'}")


FIELDS: dict[str, tuple[str, Callable[[Dataset], Collection[str]]]] = {
    "fields": ("the catalog", lambda data: ("title", "text", *data.catalog.attributes)),
    "levels": ("the catalog", lambda data: data.catalog.attributes),
    "facts": ("the catalog", lambda data: data.catalog.attributes),
    "profile": ("the user table", lambda data: data.users.attributes),
}
"""Options that name fields: whose, and which there are."""
