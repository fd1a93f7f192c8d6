"""Lists, and documents or items in order."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class ListedItem(BaseModel):
    """One place of a list."""

    item_id: str
    rank: int
    score: float | None
    title: str
    sources: list[str] = []
    reason: dict[str, Any] | None = None


class Degraded(BaseModel):
    """A stage that did not do its work."""

    stage: str
    method: str
    why: str


class Usage(BaseModel):
    """What the answer cost."""

    calls: int
    tokens: int
    usd: float
    ms: float
    cached: int = Field(0, description="questions to language models that were answered from the store")


class Recommended(BaseModel):
    """A list."""

    request_id: str
    pipeline: str
    version: int
    variant: str | None = Field(None, description="the arm of an experiment")
    items: list[ListedItem]
    degraded: list[Degraded]
    usage: Usage
    trace: list[dict[str, Any]] | None = None


class Ranked(BaseModel):
    """One place of a reranking."""

    index: int
    relevance_score: float | None
    item_id: str | None = None
    document: dict[str, str] | None = None


class RankedUsage(BaseModel):
    """What it cost."""

    total_tokens: int


class Reranked(BaseModel):
    """Most relevant first."""

    model: str
    results: list[Ranked]
    usage: RankedUsage
    degraded: list[Degraded] = []
