"""Reasons for one item."""

from __future__ import annotations

from pydantic import BaseModel

from hexarec.serve.http.answers.lists import Degraded


class Claim(BaseModel):
    """A statement of the words, and whether the catalog bears it out."""

    text: str
    verdict: str


class EvidenceTold(BaseModel):
    """What an explanation rests on."""

    kind: str
    items: list[str]
    detail: str


class FromStore(BaseModel):
    """Questions to language models that were answered from the store."""

    cached: int


class Explained(BaseModel):
    """Evidence and words for one item."""

    item_id: str
    text: str
    status: str
    faithful: bool
    claims: list[Claim]
    evidence: list[EvidenceTold]
    usage: FromStore
    degraded: list[Degraded]
