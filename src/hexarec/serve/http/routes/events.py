"""Events in: acknowledged when they are on disk, counted once, whatever is sent twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from hexarec.core.errors import DataError
from hexarec.serve.errors import ConflictError
from hexarec.serve.http.answers.events import BatchVerdicts, Verdicts
from hexarec.serve.http.bodies import StrictRoute, strict_json
from hexarec.serve.http.callers import MayEvents, needs
from hexarec.serve.http.faults import Refused
from hexarec.serve.http.shapes import Error, Events, NewEvent
from hexarec.serve.request import backend_of, tenant_of
from hexarec.serve.store.rows import EventRow

router = APIRouter(route_class=StrictRoute, tags=["events"])
AHEAD = 300.0
"""Seconds that a client's clock may be ahead of ours."""
NAMED = 1_000
"""Refused lines of a batch that are named."""
LINES = 1_000
"""Lines of a batch that are written together."""
NDJSON = {
    "requestBody": {
        "required": True,
        "content": {"application/x-ndjson": {"schema": {"type": "string", "description": "one event a line"}}},
    }
}


def in_time(at: float, now: float) -> float:
    """The moment of an event. Raises DataError for one of the future."""
    if at > now + AHEAD:
        raise DataError(f"the event happens {at - now:.0f} s from now", field="time", hint="unix seconds UTC")
    return at


def row_of(event: NewEvent, now: float) -> EventRow:
    """The row of an event. Raises DataError for an event of nobody, or of the future."""
    if event.user_id is None and event.session_id is None:
        raise DataError("the event has neither user_id nor session_id", field="user_id")
    at = in_time(now if event.time is None else event.time, now)
    return EventRow(
        id=event.event_id, item=event.item_id, time=at, kind=event.type, user=event.user_id, session=event.session_id,
        value=event.value, text=event.text, request=event.request_id, position=event.position,
        timed=event.time is not None,
    )  # fmt: skip


@router.post(
    "/v1/events", response_model=Verdicts, openapi_extra=needs("events"), status_code=201,
    responses={409: {"model": Error}},
)  # fmt: skip
async def add(request: Request, caller: MayEvents, body: NewEvent | Events) -> dict[str, Any]:
    """Store an event, or a few. The answer comes when they are on disk; 409 when an id exists with other content."""
    events = body.events if isinstance(body, Events) else [body]
    now = time.time()
    rows = [row_of(event, now) for event in events]
    verdicts = await asyncio.wrap_future(tenant_of(request, caller).shelf.add_events_soon(rows))
    made = counted(request, verdicts)
    conflicts = [row.id for row, verdict in zip(rows, verdicts, strict=True) if verdict == "conflict"]
    if conflicts:
        kept = f"; {made['new']} others were stored" if made["new"] else ""
        raise ConflictError(
            f"event {conflicts[0]!r} exists with other content{kept}", hint="make a new id for another event"
        )
    return {
        "accepted": made["new"],
        "duplicates": made["same"],
        "erased": made["erased"],
        "conflicts": conflicts,
    }


@router.post("/v1/events:batch", response_model=BatchVerdicts, openapi_extra={**needs("events"), **NDJSON})
async def add_batch(request: Request, caller: MayEvents) -> dict[str, Any]:
    """Store events sent as NDJSON, one a line. Bad lines are refused by number, the others are stored."""
    shelf = tenant_of(request, caller).shelf
    made: Counter[str] = Counter()
    errors: list[dict[str, Any]] = []
    now = time.time()
    async for first, lines in _lines(request, backend_of(request).settings.body):
        rows, refused = await asyncio.to_thread(_rows, first, lines, now)
        made["rejected"] += len(refused)
        if rows:
            verdicts = await asyncio.wrap_future(shelf.add_events_soon(list(rows.values())))
            made.update(counted(request, verdicts))
            refused += [
                {"line": number, "field": "event_id", "message": f"{row.id!r} exists with other content"}
                for (number, row), verdict in zip(rows.items(), verdicts, strict=True)
                if verdict == "conflict"
            ]
        errors += sorted(refused, key=lambda one: one["line"])[: NAMED - len(errors)]
    return {
        "accepted": made["new"],
        "duplicates": made["same"],
        "erased": made["erased"],
        "rejected": made["rejected"] + made["conflict"],
        "errors": errors,
    }


def _rows(first: int, lines: Sequence[bytes], now: float) -> tuple[dict[int, EventRow], list[dict[str, Any]]]:
    """The rows by the number of their line, and what is wrong with the other lines."""
    rows: dict[int, EventRow] = {}
    refused = []
    for number, line in enumerate(lines, first):
        try:
            rows[number] = row_of(_parsed(line), now)
        except DataError as error:
            refused.append({"line": number, "field": error.field or None, "message": error.message})
    return rows, refused


async def _lines(request: Request, longest: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The lines of the body as they come, some at a time, with the number of the first; empty lines count."""
    rest, first, lines = b"", 1, []
    async for chunk in request.stream():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > longest:  # growing it on and on would cost the square of its length
            raise Refused(413, "too_large", f"a line is longer than {longest} bytes", "end each event with a newline")
        lines += whole
        while len(lines) >= LINES:
            yield first, lines[:LINES]
            first, lines = first + LINES, lines[LINES:]
    if rest:
        lines.append(rest)
    if lines:
        yield first, lines


def _parsed(line: bytes) -> NewEvent:
    if not line.strip():
        raise DataError("the line is empty")
    try:
        return NewEvent.model_validate(strict_json(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(first["msg"], field=".".join(str(part) for part in first["loc"])) from None


def counted(request: Request, verdicts: Sequence[str]) -> Counter[str]:
    """How often each verdict; the metrics hear of it too."""
    made = Counter(verdicts)
    for verdict, count in made.items():
        backend_of(request).metrics.events.labels(verdict).inc(count)
    return made
