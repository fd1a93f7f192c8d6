"""Answers as a person reads them: lists with reasons, and the trace."""

from __future__ import annotations

from hexarec.core import Answer, Queries
from hexarec.parts.render import titles


def show(answer: Answer, queries: Queries, *, most: int = 10) -> str:
    """Every list of an answer as plain text: history, items with scores and reasons, and what degraded."""
    lines: list[str] = []
    for i, query in enumerate(queries):
        past = [row for row, liked in zip(query.items, query.liked, strict=True) if liked][-5:]
        who = query.user or "somebody"
        lines.append(f"{who} liked lately: {'; '.join(titles(queries.catalog, past, query.lang)) or 'nothing yet'}")
        ranked = answer.items[i]
        names = titles(queries.catalog, ranked.items[:most], query.lang)
        for place, name in enumerate(names):
            reason = ""
            if answer.reasons is not None:
                words = answer.reasons[i].items[place]
                reason = f"  {words.text} ({words.status})"
            lines.append(f"  {place + 1:2d}. {name}{reason}")
        lines.append("")
    for one in answer.degraded:
        lines.append(f"degraded: {one.stage} {one.method}: {one.reason}")
    return "\n".join(lines).rstrip()


def trace(answer: Answer) -> list[tuple[str, ...]]:
    """The steps as rows of text: stage, method, items in, items out, ms, calls, tokens in (cached), out, status."""
    return [
        (
            step.stage,
            step.method,
            str(step.n_in),
            str(step.n_out),
            f"{1000 * step.seconds:.1f}",
            str(step.lm_calls),
            f"{step.tokens_in} ({step.tokens_cached})",
            str(step.tokens_out),
            step.status,
        )
        for step in answer.trace
    ]


TRACE_HEADS = ("stage", "method", "in", "out", "ms", "LM calls", "tokens in (cached)", "tokens out", "status")
