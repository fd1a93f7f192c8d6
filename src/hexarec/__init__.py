"""hexarec: every LLM-for-recommendation method on one data model, one language-model layer and one evaluator."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hexarec.core import Catalog, Dataset, Event, Item, Lists, Queries
    from hexarec.data.importer import import_data
    from hexarec.data.store import open_data
    from hexarec.pipeline.pipeline import Pipeline
    from hexarec.pipeline.save import load, save
    from hexarec.pipeline.show import show

_WHERE = {
    **dict.fromkeys(("Catalog", "Dataset", "Event", "Item", "Lists", "Queries", "run"), "hexarec.core"),
    "open_data": "hexarec.data.store",
    "import_data": "hexarec.data.importer",
    "Pipeline": "hexarec.pipeline.pipeline",
    "load": "hexarec.pipeline.save",
    "save": "hexarec.pipeline.save",
    "show": "hexarec.pipeline.show",
}
__all__ = [
    "Catalog", "Dataset", "Event", "Item", "Lists", "Pipeline", "Queries", "import_data", "load", "open_data",
    "run", "save", "show",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Names are imported when first used, so that `import hexarec` costs next to nothing."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in ("core", "data", "lm", "metrics", "parts", "classic", "methods", "pipeline", "eval", "testing"):
        return importlib.import_module(f"hexarec.{name}")
    raise AttributeError(f"module 'hexarec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE, "pipeline"])
