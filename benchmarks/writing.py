"""Where results go: JSON and Markdown side by side in docs/results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hexarec.core.atomic import write_text
from hexarec.eval.report import Report, _plain
from hexarec.eval.text import markdown


def write(path: Path, reports: Sequence[Report], notes: str, more: dict[str, Any] | None = None) -> None:
    """`path`.json and `path`.md from reports, with a note on how they were made."""
    made = {"reports": [report.as_json() for report in reports], "notes": notes, **(more or {})}
    texts = {
        ".json": json.dumps(_plain(made), indent=1, ensure_ascii=False),
        ".md": notes.rstrip() + "\n\n" + "\n".join(markdown(report).replace("# ", "## ", 1) for report in reports),
    }
    for ending, text in texts.items():
        write_text(path.with_suffix(ending), text)
