"""Feedback in gorse's shape: our events."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Request
from pydantic import Field

from hexarec.core import OptionError
from hexarec.core.interactions import KINDS
from hexarec.serve.http.callers import MayEvents, needs
from hexarec.serve.http.routes.events import counted, in_time
from hexarec.serve.http.routes.gorse.door import router
from hexarec.serve.http.routes.gorse.shapes import Feedback, Success, seconds_of
from hexarec.serve.http.shapes import MOST_ITEMS
from hexarec.serve.keys import Caller
from hexarec.serve.request import tenant_of
from hexarec.serve.store.rows import EventRow

TYPES = {
    "read": "view", "watch": "view", "star": "like", "favorite": "like", "share": "like", "buy": "purchase",
    "comment": "review",
}  # fmt: skip
"""Usual types of feedback by the kinds of events that they are; our own kinds are taken as they are."""
How = Literal["once", "again"]
Feedbacks = Annotated[list[Feedback], Field(min_length=1, max_length=MOST_ITEMS)]


@router.post("/feedback", openapi_extra=needs("events"))
async def insert(request: Request, caller: MayEvents, body: Feedbacks) -> Success:
    """Store feedback; of a type that this user has given on this item already, nothing changes."""
    return await _stored(request, caller, body, "once")


@router.put("/feedback", openapi_extra=needs("events"))
async def put(request: Request, caller: MayEvents, body: Feedbacks) -> Success:
    """Store feedback, also of a type that was given before; what was given stays in the log."""
    return await _stored(request, caller, body, "again")


async def _stored(request: Request, caller: Caller, body: Sequence[Feedback], how: How) -> Success:
    now = time.time()
    rows = [_event(one, now, how) for one in body]
    verdicts = await asyncio.wrap_future(tenant_of(request, caller).shelf.add_events_soon(rows))
    return Success(RowAffected=counted(request, verdicts)["new"])


def _event(one: Feedback, now: float, how: How) -> EventRow:
    kind = TYPES.get(one.FeedbackType, one.FeedbackType)
    if kind not in KINDS:
        raise OptionError(f"no feedback type {one.FeedbackType!r}", hint=f"types: {', '.join([*KINDS, *TYPES])}")
    at = seconds_of(one.Timestamp)
    mark = [one.FeedbackType, one.UserId, one.ItemId, *([str(at), str(one.Value)] if how == "again" else [])]
    id = "gorse-" + hashlib.blake2b("\0".join(mark).encode(), digest_size=16).hexdigest()
    moment = in_time(now if at is None else at, now)
    return EventRow(id, one.ItemId, moment, kind, one.UserId, value=one.Value, text=one.Comment, timed=at is not None)
