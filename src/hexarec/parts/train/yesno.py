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
    from torch import Tensor

    from hexarec.parts.train.bridge import Bridge
    from hexarec.parts.train.examples import Encoded
    from hexarec.parts.train.kinds import Kind
    from hexarec.parts.train.loop import Plan
    from hexarec.parts.train.tunable import Tunable

    Slots = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions and whether each is to be answered by the first label.

    vectors: (n, slots, d) that a bridge maps into the slots of the questions. rows: (n, slots) of what the bridge
    learns itself, 0 for nothing.
    """

    prompts: Sequence[Prompt]
    yes: Sequence[bool]
    vectors: NDArray[np.float32] | None = None
    rows: NDArray[np.int64] | None = None


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
    held: bool = False,
    bridge: Callable[[Tensor], Bridge] | None = None,
    about: Callable[[], dict[str, Any]] = dict,
    seed: int = 0,
) -> State | None:
    """The adapter learned from questions, as state; None from a double that only counts what would be read.

    bridge: makes one for the model's input embeddings, to be tuned along; it stands in the state as an extra module.
    held: leave the adapter as `start` has it, and tune the bridge alone. Validation is the AUC of `valid` where it has
    both answers, else there is none and the last weights stay; the manifest says which. Raises as `loop.fit` does,
    DataError where no question fits the window.
    """
    if hasattr(lm, "count_tuning"):
        lm.count_tuning(list(train.prompts), plan.epochs)
        return None
    from hexarec.parts.train.bridge import NAME
    from hexarec.parts.train.examples import Form, encode
    from hexarec.parts.train.sft import sft
    from hexarec.parts.train.tunable import Tunable

    form, base = Form(window=lm.window, labels=labels, loss_on=loss_on), tunable_base(lm)
    extra = {} if bridge is None else {NAME: bridge(base.model.get_input_embeddings().weight)}
    tunable = Tunable(base, kind, extra=extra, start=start or None, held=held, seed=seed)
    try:
        learned, asked = (encode(_examples(one, labels), tunable.tokens, form) for one in (train, valid))
        given, metric = _slots(tunable, train), _measured(valid, asked, _slots(tunable, valid))
        key = digest("auc", asked.key, *(one for own in (train, valid) for one in (own.vectors, own.rows)))
        curve = sft(tunable, learned, plan=plan, goal=goal, metric=metric, bridge=given, seed=seed, key=key)
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


def _measured(valid: Asked, asked: Encoded, bridge: Slots | None) -> Callable[[Tunable], float] | None:
    """The AUC of the questions that fit the window; None where they have one answer only."""
    from hexarec.parts.train.sft import label_scores

    truth = np.array([valid.yes[line.source] for line in asked.lines], bool)
    if truth.all() or not truth.any():
        return None
    return lambda now: auc(Pairs.of(truth.astype(np.float64), label_scores(now, asked, bridge=bridge)[:, 0]))


def _examples(asked: Asked, labels: tuple[str, str]) -> list[Any]:
    from hexarec.parts.train.examples import Example

    return [Example(p, labels[0 if yes else 1]) for p, yes in zip(asked.prompts, asked.yes, strict=True)]


def _slots(tunable: Tunable, asked: Asked) -> Slots | None:
    """What the bridge puts into the slots of questions by their numbers; None without a bridge."""
    import torch

    from hexarec.parts.train.bridge import NAME

    if NAME not in tunable.extra:
        return None
    bridge: Any = tunable.extra[NAME]
    place = tunable.base.device
    vectors, rows = (None if one is None else torch.from_numpy(one).to(place) for one in (asked.vectors, asked.rows))

    def made(numbers: Sequence[int]) -> Tensor:
        own = list(numbers)
        embedded: Tensor = bridge(
            None if vectors is None else vectors[own], None if rows is None else bridge.learned(rows[own])
        )
        return embedded

    return made


def shuffled(yes: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    """The labels in another order: what is learned from them must be worth nothing."""
    return yes[draw.permutation(len(yes))]
