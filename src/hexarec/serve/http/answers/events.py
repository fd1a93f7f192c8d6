"""What became of events."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Verdicts(BaseModel):
    """What became of the events that were sent."""

    accepted: int
    duplicates: int
    erased: int = Field(description="not stored: they happened before their user was erased")
    conflicts: list[str]


class LineVerdict(BaseModel):
    """A refused line of a batch."""

    line: int
    field: str | None = None
    message: str


class BatchVerdicts(BaseModel):
    """What became of the lines of a batch; the first 1,000 refused ones are named."""

    accepted: int
    duplicates: int
    erased: int = Field(description="not stored: they happened before their user was erased")
    rejected: int
    errors: list[LineVerdict]
