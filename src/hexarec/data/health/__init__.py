"""The health report: what a data set is like, what is wrong with it, and what to do."""

from __future__ import annotations

from hexarec.core import Dataset
from hexarec.data.health.findings import Finding, Health
from hexarec.data.health.render import render_terminal, write_html
from hexarec.data.report import ImportReport

__all__ = ["Finding", "Health", "check", "render_terminal", "write_html"]


def check(data: Dataset, import_report: ImportReport | None = None) -> Health:
    """Look at log, words and default splits of a data set; with an import report also at what the import refused."""
    from hexarec.data.health import curves, log, splits, words

    findings = [
        *log.imported(import_report),
        *log.findings(data),
        *words.findings(data),
        *splits.findings(data),
    ]
    counts = {"users": data.n_users, "items": data.n_items, "events": len(data.interactions)}
    return Health(data.name, tuple(findings), counts, curves.curves(data), data.simulated, data.interactions.like_rule)
