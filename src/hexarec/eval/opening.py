"""Pipelines from configurations, ready for use: only the entries that are reached, every model guarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hexarec.core import OptionError
from hexarec.eval.standins import is_lm, swapped
from hexarec.lm.guard import Guarded
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
