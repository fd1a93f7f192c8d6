"""Models and vectors."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Model(BaseModel):
    """A pipeline under OpenAI's name for it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    version: int


class Models(BaseModel):
    """What `model` may be."""

    object: Literal["list"]
    data: list[Model]


class Embedding(BaseModel):
    """A vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """What was read."""

    prompt_tokens: int
    total_tokens: int


class Embedded(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage
