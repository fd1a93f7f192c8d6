"""A data set in a few lines of text."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from hexarec.core import KINDS, Dataset

__all__ = ["describe"]


def describe(data: Dataset) -> str:
    """Name, counts, period, kinds of events, like rule, words and attributes: one fact per line."""
    log, catalog = data.interactions, data.catalog
    head = f"{data.name}" + (" (simulated)" if data.simulated else "")
    lines = [head, f"  {data.n_users:,} users, {data.n_items:,} items, {len(log):,} events"]
    if len(log):
        lengths = np.diff(log.offsets)
        lines.append(f"  events per user: median {np.median(lengths):g}, longest {lengths.max():,}")
        lines.append(f"  time: {_period(log.time) if log.clock else 'an order, no clock'}")
        counts = np.bincount(log.kind, minlength=len(KINDS))
        kinds = ", ".join(f"{name} {n:,}" for name, n in zip(KINDS, counts, strict=True) if n)
        lines.append(f"  kinds: {kinds}; liked: {log.liked.mean():.1%} ({log.like_rule})")
    if len(catalog):
        titled, described = (np.mean([bool(one) for one in column]) for column in (catalog.titles, catalog.texts))
        others = sorted({lang for _, lang in catalog.text} - {catalog.lang})
        more = f", also {', '.join(others)}" if others else ""
        lines.append(f"  words: {titled:.0%} titles, {described:.0%} descriptions in {catalog.lang}{more}")
    if catalog.attributes:
        lines.append(f"  item attributes: {', '.join(catalog.attributes)}")
    if data.users.attributes:
        lines.append(f"  user attributes: {', '.join(data.users.attributes)}")
    edges = 0 if data.graph is None else len(data.graph.head)
    shown = 0 if data.exposures is None else len(data.exposures)
    extras = {"impressions": shown, "edges": edges, "dialogues": len(data.dialogues)}
    lines += [f"  {n:,} {what}" for what, n in extras.items() if n]
    if data.features:
        lines.append(f"  features: {', '.join(data.features)}")
    return "\n".join(lines)


def _period(times: np.ndarray) -> str:
    try:
        first, last = (datetime.fromtimestamp(float(t), UTC).date().isoformat() for t in (times.min(), times.max()))
    except (OverflowError, ValueError, OSError):
        return f"{times.min():.3g} to {times.max():.3g} s"
    return f"{first} to {last}"
