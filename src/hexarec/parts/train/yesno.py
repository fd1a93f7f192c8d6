"""Tuning on questions that are answered by one of two labels: the loop, its validation by AUC, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core import digest
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.metrics.labels import Pairs, auc
from hexarec.parts.train.kept import State, kept, tunable_base

if TYPE_CHECKING:
    from hexarec.parts.train.kinds import Kind
    from hexarec.parts.train.loop import Plan
    from hexarec.parts.train.tunable import Tunable


@dataclass(frozen=True)
class Asked:
    """Questions and whether each is to be answered by the first label."""

    prompts: Sequence[Prompt]
    yes: Sequence[bool]


def tune_yes_no(
    lm: LanguageModel,
    kind: Kind,
    labels: tuple[str, str],
    train: Asked,
    valid: Asked,
    *,
    plan: Plan,
    goal: Literal["tokens", "labels"] = "tokens",
    loss_on: Literal["answer", "all"] = "answer",
    start: str = "",
    about: Callable[[], dict[str, Any]] = dict,
    seed: int = 0,
) -> State | None:
    """The adapter learned from questions, as state; None from a double that only counts what would be read.

    Validation is the AUC of `valid` where it has both answers, else there is none and the last weights stay; the
    manifest says which. Raises as `loop.fit` does, DataError where no question fits the window.
    """
    if hasattr(lm, "count_tuning"):
        lm.count_tuning(list(train.prompts), plan.epochs)
        return None
    from hexarec.parts.train.examples import Form, encode
    from hexarec.parts.train.sft import label_scores, sft
    from hexarec.parts.train.tunable import Tunable

    form = Form(window=lm.window, labels=labels, loss_on=loss_on)
    tunable = Tunable(tunable_base(lm), kind, start=start or None, seed=seed)
    try:
        learned = encode(_examples(train, labels), tunable.tokens, form)
        asked = encode(_examples(valid, labels), tunable.tokens, form)
        truth = np.array([valid.yes[line.source] for line in asked.lines], bool)

        def measured(now: Tunable) -> float:
            return auc(Pairs.of(truth.astype(np.float64), label_scores(now, asked)[:, 0]))

        metric = measured if truth.any() and not truth.all() else None
        curve = sft(tunable, learned, plan=plan, goal=goal, metric=metric, seed=seed, key=digest("auc", asked.key))
        facts = {
            "examples": len(learned),
            "dropped": learned.dropped,
            "split": learned.key,
            "valid": {"metric": "auc" if metric else "none", "value": curve.value, "cases": len(asked)},
            "losses": [round(loss, 6) for loss in curve.losses],
            "labels": list(labels),
        }
        return kept(tunable, **facts, **about())
    finally:
        tunable.detach()


def _examples(asked: Asked, labels: tuple[str, str]) -> list[Any]:
    from hexarec.parts.train.examples import Example

    return [Example(p, labels[0 if yes else 1]) for p, yes in zip(asked.prompts, asked.yes, strict=True)]


def shuffled(yes: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    """The labels in another order: what is learned from them must be worth nothing."""
    return yes[draw.permutation(len(yes))]
