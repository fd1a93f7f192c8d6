"""The text encoders that the pipelines of a tenant hold, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hexarec.eval.standins import is_lm
from hexarec.lm.base import Encoder

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant


def encoders_of(tenant: Tenant) -> dict[str, Encoder]:
    """Every encoder that a stage in service holds, by the name it was opened with."""
    found: dict[str, Encoder] = {}
    for served in tenant.served.values():
        _collect(served.current.pipeline, found, set())
    return found


def _collect(thing: Any, found: dict[str, Encoder], seen: set[int]) -> None:
    if id(thing) in seen or not hasattr(thing, "__dict__"):
        return
    seen.add(id(thing))
    if callable(getattr(thing, "encode", None)) and isinstance(getattr(thing, "spec", None), str):
        found.setdefault(thing.spec, thing)
        return
    if is_lm(thing):  # it holds no encoder, but perhaps a whole store
        return
    for value in vars(thing).values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if type(one).__module__.startswith("hexarec."):
                _collect(one, found, seen)
