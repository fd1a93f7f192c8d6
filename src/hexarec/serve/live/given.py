"""What one caller gets: a list of real items, where it came from, what degraded, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from hexarec.core import Answer, Queries, Step


@dataclass(frozen=True)
class Given:
    """One answer. items, scores, sources, propensities and reasons have one entry per place.

    degraded: stage and reason of everything that did not do its work. trace: the steps of the batch it was answered in,
    whole where that was asked for. calls, tokens and dollars are this ask's share of the batch; cached are answers of
    models that were kept before.
    """

    items: tuple[str, ...]
    scores: tuple[float | None, ...]
    sources: tuple[str, ...] = ()
    propensities: tuple[float | None, ...] = ()
    reasons: tuple[dict[str, Any] | None, ...] = ()
    degraded: tuple[dict[str, str], ...] = ()
    trace: tuple[dict[str, Any], ...] = ()
    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0
    cached: int = 0
    batch: int = 1
    pipeline: str = ""
    version: int = 0
    policy: str = ""


def given_of(
    answer: Answer, queries: Queries, spent: dict[str, float], about: dict[str, Any], retrievers: Sequence[str]
) -> list[Given]:
    """The answer of a batch, cut into one `Given` per ask; what the batch spent is shared evenly.

    retrievers: their names, in the order of the bits of the field `source`.
    """
    n = len(queries)
    degraded = tuple({"stage": one.stage, "method": one.method, "why": one.reason} for one in answer.degraded)
    trace = tuple(_told(step, queries) for step in answer.trace)
    made = []
    for i in range(n):
        ranked = answer.items[i]
        count = len(ranked.items)
        made.append(
            Given(
                items=tuple(queries.catalog.ids(ranked.items)),
                scores=tuple(None if score != score else float(score) for score in ranked.scores.tolist()),
                sources=_sources(ranked.fields.get("source"), count, retrievers),
                propensities=_numbers(ranked.fields.get("propensity"), count),
                reasons=_reasons(answer, i, queries, count),
                degraded=degraded,
                trace=trace,
                calls=_share(spent["calls"], i, n),
                tokens=_share(spent["tokens_in"] + spent["tokens_out"], i, n),
                dollars=spent["cost"] / n,
                cached=_share(spent["cached"], i, n),
                batch=n,
                **about,
            )
        )
    return made


def _told(step: Step, queries: Queries) -> dict[str, Any]:
    """A step as JSON values; a whole one, which is of one question, with its requests and its items by id."""
    made = {one.name: getattr(step, one.name) for one in fields(step) if one.name not in ("asked", "before", "after")}
    if step.before is not None or step.after is not None or step.asked:
        made["asked"] = [asdict(one) for one in step.asked]
        made["before"] = None if step.before is None else queries.catalog.ids(step.before.items)
        made["after"] = None if step.after is None else queries.catalog.ids(step.after.items)
    return made


def _share(whole: float, i: int, n: int) -> int:
    """The i-th of n whole shares that add up to the whole."""
    return int(whole) * (i + 1) // n - int(whole) * i // n


def _sources(column: Any, count: int, retrievers: Sequence[str]) -> tuple[str, ...]:
    """The retrievers that found each item, joined by "+"."""
    if len(retrievers) == 1 or column is None:
        return (retrievers[0] if len(retrievers) == 1 else "",) * count
    return tuple(
        "+".join(name for bit, name in enumerate(retrievers) if int(mask) >> bit & 1) for mask in column.tolist()
    )


def _numbers(column: Any, count: int) -> tuple[float | None, ...]:
    """Propensities; a policy that draws nothing shows its list for certain."""
    if column is None:
        return (1.0,) * count
    return tuple(None if one != one else float(one) for one in column.tolist())


def _reasons(answer: Answer, i: int, queries: Queries, count: int) -> tuple[dict[str, Any] | None, ...]:
    if answer.reasons is None:
        return (None,) * count
    reasons = answer.reasons[i]
    evidence: Sequence[Any] = reasons.evidence or ((),) * count
    return tuple(
        {
            "text": words.text,
            "status": words.status,
            "claims": [{"text": claim.text, "verdict": claim.verdict} for claim in words.claims],
            "evidence": [
                {"kind": one.kind, "items": queries.catalog.ids(_rows(one.items)), "detail": one.detail} for one in why
            ],
        }
        for words, why in zip(reasons.items, evidence, strict=True)
    )


def _rows(items: tuple[int, ...]) -> Any:
    import numpy as np

    return np.array(items, np.int64)
