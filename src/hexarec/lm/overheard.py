"""What was asked of language models, told to whoever listens to the run: the prompts, and the answers as they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hexarec.core.run import current
from hexarec.core.words import Asked
from hexarec.lm.base import Completion, Prompt, ScoreRow

KIND = "asked"
LONGEST = 20_000
"""Characters of a prompt, or of an answer, that are kept."""


def tell(
    model: str, call: str, prompts: Sequence[Prompt], answers: Sequence[Any], choices: Sequence[Sequence[str]] = ()
) -> None:
    """Emit one event for a call: nothing is copied, so that it costs nothing where nobody listens.

    choices: for each prompt the words whose log-probabilities are its answer.
    """
    current().emit({"kind": KIND, "model": model, "call": call, "prompts": prompts, "answers": answers,
                    "choices": choices})  # fmt: skip


def heard(event: dict[str, Any], most: int) -> list[Asked]:
    """The first requests of an event of `tell` as text."""
    choices = event["choices"] or [()] * len(event["prompts"])
    rows = list(zip(event["prompts"], event["answers"], choices, strict=True))[:most]
    return [
        Asked(event["model"], event["call"], _cut(written(prompt)), _cut(_said(answer, words)))
        for prompt, answer, words in rows
    ]


def written(prompt: Prompt) -> str:
    """A prompt as text: each turn under its role, or the raw text as it is."""
    if prompt.raw is not None:
        return prompt.raw
    return "\n\n".join(f"[{turn.role}]\n{turn.text}" for turn in prompt.turns)


def _said(answer: Any, words: Sequence[str]) -> str:
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Completion):
        return answer.text if answer.good or answer.text else f"[{answer.finish}] {answer.error}"
    values = answer.logprobs if isinstance(answer, ScoreRow) else answer
    if len(words) == len(values):
        ranked = sorted(zip(words, values, strict=True), key=lambda one: -float(one[1]))
        return "\n".join(f"{float(value):8.3f}  {word}" for word, value in ranked)
    return "\n".join(f"{one.logprob:8.3f}  {_words(one)}" if hasattr(one, "logprob") else str(one) for one in values)


def _words(found: Any) -> str:
    """What a search wrote; of a search among given titles the number of the title."""
    return str(found.text) if hasattr(found, "text") else f"[{found.number}]"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " […]"
