"""From requests to asks, and from answers to what goes out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hexarec.core import Catalog, Filter, OptionError
from hexarec.parts.render import titles
from hexarec.serve.answering import Answered
from hexarec.serve.http.shapes import PastEvent, Recommend
from hexarec.serve.live.asks import Ask
from hexarec.serve.store.rows import EventRow

MOST_VALUES = 200
"""Parts and values of a filter."""


def ask_of(body: Recommend) -> Ask:
    """The ask of a request. Raises OptionError for a filter that is none, or a question about nobody."""
    session = body.session
    events = [*body.history, *(session.events if session else ())]
    if body.user_id is None and not events and body.text is None and (session is None or session.id is None):
        raise OptionError("nobody was named", hint="give user_id, session, history or text")
    return Ask(
        user=body.user_id,
        session=session.id if session else None,
        history=past(events),
        exclude=tuple(body.exclude),
        seen=body.allow_seen,
        where=filter_of(body.filter),
        text=body.text,
        context=body.context,
        lang=body.lang,
        k=body.n,
        explain=body.explain,
        seed=body.seed,
        trace=body.trace,
    )


def filter_of(tree: Mapping[str, Any] | None) -> Filter | None:
    """The filter of a request. Raises OptionError for one that is none, or that would take long to work out."""
    if tree is None:
        return None
    made = Filter.parse(tree)
    if (size := _size(made)) > MOST_VALUES:
        raise OptionError(f"the filter has {size} parts and values, the most is {MOST_VALUES}")
    return made


def _size(where: Filter) -> int:
    values = len(where.value) if isinstance(where.value, tuple) else 1
    return values + sum(_size(part) for part in where.parts)


def past(events: Sequence[str | PastEvent]) -> tuple[EventRow, ...]:
    """Events that came with a request, oldest first; those without a time are the newest, in the order given."""
    now = time.time()
    rows = []
    for place, one in enumerate(events):
        at = now - 1e-3 * (len(events) - place)
        if isinstance(one, str):
            rows.append(EventRow("", one, at))
        else:
            rows.append(EventRow("", one.item_id, at if one.time is None else one.time, one.type, value=one.value))
    return tuple(sorted(rows, key=lambda event: event.time))


def recommended(made: Answered, catalog: Catalog, lang: str | None, trace: bool) -> dict[str, Any]:
    """The answer as JSON values."""
    given = made.given
    rows = catalog.rows(given.items)
    names = titles(catalog, np.asarray(rows[rows >= 0]), lang or catalog.lang)
    named = dict(zip([one for one, row in zip(given.items, rows, strict=True) if row >= 0], names, strict=True))
    items = [
        {
            "item_id": item,
            "rank": place + 1,
            "score": given.scores[place],
            "title": named.get(item, ""),
            "sources": [one for one in given.sources[place].split("+") if one] if given.sources else [],
            "reason": given.reasons[place] if given.reasons else None,
        }
        for place, item in enumerate(given.items)
    ]
    usage = {"calls": given.calls, "tokens": given.tokens, "usd": given.dollars, "ms": round(1000 * made.seconds, 3),
             "cached": given.cached}  # fmt: skip
    return {
        "request_id": made.request_id, "pipeline": given.pipeline, "version": given.version,
        "variant": made.choice.arm, "items": items, "degraded": list(given.degraded), "usage": usage,
        "trace": list(given.trace) if trace else None,
    }  # fmt: skip
