"""Replies in OpenAI's shape."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from hexarec.serve.http.answers.lists import Degraded
from hexarec.serve.http.answers.models import EmbeddingUsage


class ChatItem(BaseModel):
    """An item that a reply names."""

    item_id: str
    title: str


class ChatReply(BaseModel):
    """The assistant's turn, with the items, the act and the state beside the text."""

    role: Literal["assistant"]
    content: str
    request_id: str = Field(description="of the answer, for events that come of it")
    items: list[ChatItem]
    act: str
    state: dict[str, Any]
    status: str
    degraded: list[Degraded]


class ChatChoice(BaseModel):
    """The one choice of a completion."""

    index: int
    message: ChatReply
    finish_reason: Literal["stop"]
    logprobs: None


class ChatUsage(EmbeddingUsage):
    """Tokens read and written."""

    completion_tokens: int


class Completion(BaseModel):
    """A reply in OpenAI's shape."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
