"""Fixed slots, built by name: fits, recommends, saves. The package can be called: `hexarec.pipeline("default")`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hexarec.pipeline.pipeline import Pipeline


def make(source: str | Path | Mapping[str, Any] = "default", **models: str) -> Pipeline:
    """A pipeline from a TOML file, a parsed configuration, or "default".

    models: other names for the entries of [use] that are models or encoders, for example lm="openai:...".
    Raises OptionError for anything unknown.
    """
    from hexarec.core import OptionError
    from hexarec.pipeline.config import default_config, in_file, pipeline_from, read_toml, tables_of_use

    if not isinstance(source, Mapping):
        if str(source) == "default":
            return make(default_config(), **models)
        with in_file(source):
            return make(read_toml(source), **models)
    uses = tables_of_use(source)
    for name, spec in models.items():
        kind = next((k for k in ("model", "encoder") if k in uses.get(name, {}) and "use" not in uses[name]), None)
        if kind is None:
            known = [n for n, t in uses.items() if "use" not in t]
            raise OptionError(f"[use] has no model {name!r}", hint=f"models: {', '.join(known) or 'none'}")
        uses[name][kind] = spec
    return pipeline_from({**source, "use": uses})


class _Callable(ModuleType):
    """So that `hexarec.pipeline(...)` works although `hexarec.pipeline` is this package."""

    def __call__(self, source: str | Path | Mapping[str, Any] = "default", **models: str) -> Pipeline:
        return make(source, **models)


sys.modules[__name__].__class__ = _Callable
