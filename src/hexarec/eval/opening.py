"""Pipelines from configurations, ready for use: only the entries that are reached, every model guarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hexarec.core import MissingExtraError, ModelError, OptionError
from hexarec.eval.standins import is_lm, swapped
from hexarec.lm.address import without_secrets
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_encoder, open_lm
from hexarec.pipeline import make
from hexarec.pipeline.config import SLOTS, references
from hexarec.pipeline.pipeline import Pipeline


def guarded(system: Any) -> Any:
    """The system with every language model held to rates, retries and the budgets of the run."""
    return swapped(system, lambda model: Guarded(model) if is_lm(model) and not isinstance(model, Guarded) else model)


def pipeline_of(config: Mapping[str, Any], models: Mapping[str, str] | None = None) -> Pipeline:
    """The pipeline of a parsed file, opening only the entries of [use] that it needs."""
    return guarded(make(needed(config), **(models or {})))  # type: ignore[no-any-return]


def needed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without the entries of [use] that no slot reaches."""
    uses = config.get("use", {})
    if not isinstance(uses, Mapping):
        raise OptionError("[use] is not a table of names")
    wanted: set[str] = set()
    left = [name for slot in SLOTS for name in references(config.get(slot, []))]
    while left:
        name = left.pop()
        if name in uses and name not in wanted:
            wanted.add(name)
            left += references(uses[name])
    return {**config, "use": {name: table for name, table in uses.items() if name in wanted}}


def with_stand_ins(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration with a double for every model that is not installed, and a note on each."""
    notes: list[str] = []

    def stands(key: str, name: str) -> str:
        opener, double = (open_lm, "fake:counting") if key in ("lm", "model") else (open_encoder, "tfidf")
        try:
            opener(name)
        except (ModelError, MissingExtraError) as error:
            notes.append(
                f"{without_secrets(name)} is not at hand ({error.message}): counted as {double}, its time is not known"
            )
            return double
        return name

    def walked(value: Any) -> Any:
        if isinstance(value, list):
            return [walked(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        return {
            key: stands(key, one)
            if key in ("lm", "model", "encoder") and isinstance(one, str) and not one.startswith("@")
            else walked(one)
            for key, one in value.items()
        }

    return walked(config), list(dict.fromkeys(notes))
