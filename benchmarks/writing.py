"""Where results go: JSON and Markdown side by side in docs/results."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hexarec.eval.report import Report, _plain
from hexarec.eval.text import markdown


def write(path: Path, reports: Sequence[Report], notes: str, more: dict[str, Any] | None = None) -> None:
    """`path`.json and `path`.md from reports, with a note on how they were made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {"reports": [report.as_json() for report in reports], "notes": notes, **(more or {})}
    texts = {
        ".json": json.dumps(_plain(made), indent=1, ensure_ascii=False),
        ".md": notes.rstrip() + "\n\n" + "\n".join(markdown(report).replace("# ", "## ", 1) for report in reports),
    }
    for ending, text in texts.items():
        aside = path.with_name(f".{path.name}{ending}.part")
        aside.write_text(text, "utf-8")
        os.replace(aside, path.with_suffix(ending))
