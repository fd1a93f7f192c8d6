"""A system in plain words: every option that is not its default, by a dotted name; for the manifest and for diffs."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from hexarec.core import IdTable, PerUser, option_names
from hexarec.core.options import is_stage, options_digest
from hexarec.eval.standins import is_encoder, is_lm

MOST = 200
"""Characters of a value that are kept."""
MANY = 32
"""Parts of an option from which on they are data rather than a choice: told by their number and a hash alone."""


def options_told(system: Any) -> dict[str, str]:
    """Option -> value as text: `rank_by` -> `Window`, `rank_by.ranker.rounds` -> `1`; models by their spec."""
    made: dict[str, str] = {}
    _into(made, "", system)
    return made


def _into(made: dict[str, str], name: str, value: Any) -> None:
    if is_lm(value) or is_encoder(value):
        made[name] = str(value.spec)
    elif is_stage(value) and not isinstance(value, IdTable | PerUser):
        made[name or "system"] = type(value).__name__
        defaults = {one.name: one.default for one in dataclasses.fields(value)}
        for option in option_names(value):
            inner = getattr(value, option)
            if not _same(inner, defaults[option]):
                _into(made, f"{name}.{option}" if name else option, inner)
    elif isinstance(value, list | tuple) and any(is_stage(one) or is_lm(one) for one in value):
        if len(value) >= MANY:
            made[name] = f"{len(value)} x {type(value[0]).__name__}, {options_digest(value)}"
            return
        for place, one in enumerate(value):
            _into(made, f"{name}.{place + 1}", one)
    else:
        text = str(getattr(value, "id", value))
        text = os.path.basename(text) if os.path.isabs(text) else text  # where it lies is nobody else's business
        made[name] = text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value is default or value == default)
    except ValueError:  # of arrays nobody can say it in one word
        return False
