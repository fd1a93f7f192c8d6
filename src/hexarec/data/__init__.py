"""Data: import of known layouts, storage, splits, the health report, and the bundled films and worlds.

The names below are looked up when first used, so that `import hexarec.data` loads nothing heavy. `describe` stands in
its module: `from hexarec.data.describe import describe`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hexarec.data.health import Finding, Health, check, render_terminal, write_html
    from hexarec.data.importer import ImportResult, import_data
    from hexarec.data.report import ImportReport
    from hexarec.data.split import (
        Cases,
        Split,
        cold_items,
        cold_users,
        global_time,
        k_core,
        leave_last,
        system_cold,
    )
    from hexarec.data.store import open_data, read_dataset, write_dataset

_WHERE = {
    "Finding": "health", "Health": "health", "check": "health", "render_terminal": "health", "write_html": "health",
    "ImportResult": "importer", "import_data": "importer", "ImportReport": "report",
    "Cases": "split", "Split": "split", "cold_items": "split", "cold_users": "split", "global_time": "split",
    "k_core": "split", "leave_last": "split", "system_cold": "split",
    "open_data": "store", "read_dataset": "store", "write_dataset": "store",
}  # fmt: skip
__all__ = [
    "Cases", "Finding", "Health", "ImportReport", "ImportResult", "Split", "check", "cold_items", "cold_users",
    "global_time", "import_data", "k_core", "leave_last", "open_data", "read_dataset", "render_terminal",
    "system_cold", "write_dataset", "write_html",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hexarec.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hexarec.data.{_WHERE[name]}"), name)
