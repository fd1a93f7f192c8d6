"""Versions of pipelines and prompts."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Version(BaseModel):
    """One version of a document."""

    name: str
    version: int
    created: float
    active: bool


class PipelineVersion(Version):
    """A version of a pipeline: its configuration and what it was fitted on."""

    model_config = ConfigDict(extra="allow")
    config: dict[str, Any] | None = None
    seed: int | None = None
    events: int | None = None
    users: int | None = None
    items: int | None = None
    data_key: str | None = None
    artefacts: list[dict[str, Any]] = Field([], description="what was tuned for it, see /v1/registry")


class ServedPipeline(PipelineVersion):
    """The active version, and the one that this server serves now."""

    serving: int | None
    waiting: int = Field(0, description="questions that wait")


class Pipelines(BaseModel):
    """The pipelines, and why some could not be taken up."""

    pipelines: list[ServedPipeline]
    broken: dict[str, str]


class PipelineVersions(BaseModel):
    """Every version of a pipeline, oldest first."""

    versions: list[PipelineVersion]


class PromptVersion(Version):
    """A version of a prompt by language: one text, or named pieces."""

    en: str | dict[str, str]
    zh: str | dict[str, str]
    note: str


class Prompts(BaseModel):
    """The active version of every prompt."""

    prompts: list[PromptVersion]


class PromptVersions(BaseModel):
    """Every version of a prompt, oldest first."""

    versions: list[PromptVersion]
