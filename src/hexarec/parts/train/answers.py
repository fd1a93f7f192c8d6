"""Tuning on answers in words: the loop, its validation by the loss on held answers, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.train.kept import State, kept, tunable_base

if TYPE_CHECKING:
    from hexarec.parts.train.examples import Encoded, Form
    from hexarec.parts.train.kinds import Kind
    from hexarec.parts.train.loop import Plan
    from hexarec.parts.train.tunable import Tunable


@dataclass(frozen=True)
class Taught:
    """Prompts and the answer each should get."""

    prompts: Sequence[Prompt]
    answers: Sequence[str]


def tune_answers(
    lm: LanguageModel,
    kind: Kind,
    train: Taught,
    valid: Taught,
    *,
    plan: Plan,
    loss_on: Literal["answer", "all"] = "answer",
    start: str = "",
    about: Mapping[str, Any],
    seed: int = 0,
) -> State | None:
    """The adapter learned from answers, as state; None from a double that only counts what would be read.

    Validation is the loss on the answers of `valid`; where it has none the last weights stay. Raises as `loop.fit`
    does.
    """
    if hasattr(lm, "count_tuning"):
        lm.count_tuning(list(train.prompts), plan.epochs)
        return None
    from hexarec.parts.train.examples import Form
    from hexarec.parts.train.sft import sft
    from hexarec.parts.train.tunable import Tunable

    tunable = Tunable(tunable_base(lm), kind, start=start or None, seed=seed)
    try:
        learned = _encoded(train, tunable, Form(window=lm.window, loss_on=loss_on))
        held = _encoded(valid, tunable, Form(window=lm.window))
        curve = sft(tunable, learned, valid=held if len(held) else None, plan=plan, seed=seed)
        facts = {
            "examples": len(learned),
            "dropped": learned.dropped,
            "split": learned.key,
            "valid": {"metric": "-loss" if len(held) else "none", "value": curve.value, "cases": len(held)},
            "losses": [round(loss, 6) for loss in curve.losses],
        }
        return kept(tunable, **facts, **about)
    finally:
        tunable.detach()


def _encoded(taught: Taught, tunable: Tunable, form: Form) -> Encoded:
    from hexarec.parts.train.examples import Example, encode

    pairs = zip(taught.prompts, taught.answers, strict=True)
    return encode([Example(prompt, answer) for prompt, answer in pairs], tunable.tokens, form)
