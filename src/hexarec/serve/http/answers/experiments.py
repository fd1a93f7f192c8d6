"""Experiments and their readings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from hexarec.serve.http.answers.documents import Version

State = Literal["draft", "running", "stopped", "shipped"]


class StoppedBy(BaseModel):
    """The rule that ended an experiment, the arm that met it, and by which value."""

    rule: str
    arm: str
    value: float
    lists: int
    said: str


class Experiment(Version):
    """An experiment as it was defined, and what became of it."""

    kind: Literal["ab", "interleave"]
    arms: dict[str, str]
    shares: dict[str, float]
    salt: str
    layer: str
    kinds: list[str]
    window: float
    guardrails: dict[str, float]
    tau: float | None
    looks: int | None = None
    users: int | None = None
    stop_if: list[str] = []
    state: State
    started: float | None
    ended: float | None
    result: dict[str, Any] | None = None
    stopped_by: StoppedBy | None = None
    shipped: str | None = None


class Experiments(BaseModel):
    """All experiments."""

    experiments: list[Experiment]


class Effect(BaseModel):
    """An arm against control; null where it is not read, `stopped` says why."""

    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    method: str
    n: list[int]
    sample_ratio_p: float | None
    level: float
    stopped: str


class GuardrailRead(BaseModel):
    """Harm (above 0 is worse) with its interval, and the verdict."""

    harm: float | None
    low: float | None
    high: float | None
    verdict: Literal["held", "broken", "open", "unread"]
    margin: float


class Reading(BaseModel):
    """What an experiment says so far."""

    state: State
    stopped_by: StoppedBy | None = None
    units: dict[str, int] = {}
    effects: dict[str, Effect] = {}
    guardrails: dict[str, dict[str, GuardrailRead]] = {}
    preferred: str | None = Field(None, description="of an interleaving: the arm whose preference it is")
    preference: dict[str, Any] | None = None


class ReadExperiment(Experiment):
    """An experiment with its reading."""

    reading: Reading
