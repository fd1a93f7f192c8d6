"""Generated words, reasons, replies, and the answer a pipeline gives with its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hexarec.core.lists import Lists


@dataclass(frozen=True)
class Span:
    """Characters start..stop of a text point to a catalog item (by id) or to a piece of evidence (by index)."""

    start: int
    stop: int
    item: str | None = None
    evidence: int | None = None


@dataclass(frozen=True)
class Claim:
    """One statement of a text and what a check against the catalog found."""

    text: str
    verdict: Literal["supported", "contradicted", "unchecked"] = "unchecked"


@dataclass(frozen=True)
class Words:
    """All generated text. status: ok = first answer, retried = a later one, template = our own fixed wording.

    answers: what a model said for it, in order, as it came and before any check; empty when none was asked.
    """

    text: str
    lang: str = "en"
    spans: tuple[Span, ...] = ()
    claims: tuple[Claim, ...] = ()
    status: Literal["ok", "retried", "template"] = "ok"
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Why an item is in a list: a real thing, checkable. kind: history, attribute, query, path, rule, popularity.

    items: catalog rows it points to (for example the history items). detail: the shared value, query or rule.
    """

    kind: str
    items: tuple[int, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Reasons:
    """Explanations of one list: words per shown item (in list order) and for the list as a whole."""

    items: tuple[Words, ...]
    whole: Words | None = None
    evidence: tuple[tuple[Evidence, ...], ...] = ()


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue: role is user or assistant; items are catalog ids it refers to."""

    role: str
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """What was said so far; `state` is JSON and comes back in `Reply`, so a chat endpoint keeps nothing."""

    turns: tuple[Message, ...]
    state: Mapping[str, Any] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class Reply:
    """One answer in a dialogue: words, items by catalog id, the act (ask, recommend, explain, chat, end), new state.

    notes: an account of how it came to be, JSON, as in `Lists.notes`: `parse` is the report of a model's answer.
    """

    words: Words
    items: tuple[str, ...] = ()
    act: str = "chat"
    state: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request to a language model as it was sent, and its answer as it came. call: generate, label, score, ..."""

    model: str
    call: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Step:
    """What one stage did for a batch: items in and out, seconds, and what it spent on language models.

    asked: the first requests to models; before, after: the lists it was given and gave. Only in a trace that was asked
    for: `recommend(trace=True)`.
    """

    stage: str
    method: str
    n_in: int
    n_out: int
    seconds: float
    lm_calls: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    forwards: int = 0
    cost: float = 0.0
    status: str = "ok"
    asked: tuple[Asked, ...] = ()
    before: Lists | None = None
    after: Lists | None = None


@dataclass(frozen=True)
class Degraded:
    """A stage that could not do its work, and why; its input was passed through, or it is missing from the fusion."""

    stage: str
    method: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """What a pipeline gives for a batch of questions; nothing in it hides a failed stage."""

    items: Lists
    reasons: Sequence[Reasons] | None = None
    words: Sequence[Words] | None = None
    trace: tuple[Step, ...] = ()
    degraded: tuple[Degraded, ...] = ()
