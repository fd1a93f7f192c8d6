"""Supervised tuning: the answer's tokens, or only the columns of its labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hexarec.core.errors import OptionError
from hexarec.core.ids import digest
from hexarec.core.run import current
from hexarec.parts.train.examples import Encoded, Line
from hexarec.parts.train.forward import states
from hexarec.parts.train.loop import NO_KEY, PLAN, Curve, Plan, fit, pieces
from hexarec.parts.train.losses import first_label, label_logits, log_probs, over_labels
from hexarec.parts.train.tunable import Tunable

Goal = Literal["tokens", "labels", "first"]
Weigh = Literal["tokens", "examples"]
Bridge = Callable[[Sequence[int]], Tensor]
"""Numbers of examples to the (slots, d) vectors of all their slots in order, with gradients."""


def sft(
    tunable: Tunable,
    train: Encoded,
    *,
    valid: Encoded | None = None,
    plan: Plan = PLAN,
    goal: Goal = "tokens",
    weigh: Weigh = "tokens",
    metric: Callable[[Tunable], float] | None = None,
    bridge: Bridge | None = None,
    seed: int = 0,
    key: str = "",
) -> Curve:
    """Tune on examples; afterwards the tunable holds its best weights.

    goal: "tokens" is the cross-entropy of the tokens with a loss; "labels" the cross-entropy over the labels alone;
    "first" the binary one of the first label. weigh: whether every token counts the same or every example. Validation
    is by `metric` (higher is better), else by the loss on `valid`, else there is none. A bridge knows the examples of
    `train` only, so with one validation needs a metric. `key` names what metric and bridge are and read: a hash of
    their inputs. It is needed where there is a scratch folder, else a run would go on from another's checkpoint.

    Raises as `loop.fit` does, and OptionError for a label goal without labels of one token each.
    """
    if bridge is not None and not key and current().scratch is not None:
        raise OptionError(NO_KEY, hint="key=digest(...) of the vectors that the bridge reads")
    objective = Supervised(tunable, train, goal, weigh, bridge)
    if metric is None and valid is not None:
        if bridge is not None:
            raise OptionError("with a bridge, validation needs a metric", hint="metric=lambda tunable: ...")
        held = Supervised(tunable, valid, goal, weigh)
        metric = lambda _: -held.mean()  # noqa: E731
        key = digest("loss", held.key, key)
    return fit(tunable, objective, plan, metric, seed, key)


class Supervised:
    """The summed loss of examples; see `loop.Objective`."""

    def __init__(
        self,
        tunable: Tunable,
        data: Encoded,
        goal: Goal = "tokens",
        weigh: Weigh = "tokens",
        bridge: Bridge | None = None,
    ) -> None:
        if goal not in ("tokens", "labels", "first") or weigh not in ("tokens", "examples"):
            raise OptionError(f"there is no goal {goal!r} or weight {weigh!r}")
        if goal != "tokens":
            _check_labels(data)
        self._tunable, self._goal, self._bridge = tunable, goal, bridge
        self._lines = data.lines if goal == "tokens" else [_asked(line, data.form.end) for line in data.lines]
        self._shares = [1.0 if weigh == "tokens" else 1.0 / line.loss.sum() for line in self._lines]
        self.key, self.sizes = digest(data.key, goal, weigh), [len(line.ids) for line in self._lines]

    def weight(self, rows: Sequence[int]) -> float:
        """Tokens or examples among the rows."""
        return float(sum(self._shares[row] * self._lines[row].loss.sum() for row in rows))

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The summed loss of rows."""
        lines = [self._lines[row] for row in rows]
        vectors = None if self._bridge is None else self._bridge([line.source for line in lines])
        found, targets = states(self._tunable, lines, vectors)
        head = self._tunable.base.model.get_output_embeddings()
        if self._goal == "tokens":
            shares = np.repeat([self._shares[row] for row in rows], [line.loss.sum() for line in lines])
            return -(log_probs(head, found, targets) * torch.from_numpy(shares).to(found.device, torch.float32)).sum()
        columns = torch.from_numpy(np.stack([line.labels for line in lines])).to(found.device)
        truth = (columns == targets[:, None]).int().argmax(1)
        losses = over_labels if self._goal == "labels" else first_label
        return losses(label_logits(head, found, columns), truth).sum()

    def mean(self, tokens: int = 4096) -> float:
        """The mean loss of all rows, without dropout."""
        rows = range(len(self._lines))
        with torch.no_grad(), self._tunable.on():
            total = sum(self.loss(part).item() for part in pieces(rows, self.sizes, tokens))
        return total / self.weight(rows)


def label_scores(
    tunable: Tunable, data: Encoded, *, bridge: Bridge | None = None, tokens: int = 4096
) -> NDArray[np.float32]:
    """(n, n_labels) log-probabilities of the labels among each other, for metrics such as AUC.

    Raises OptionError for examples without labels of one token each.
    """
    _check_labels(data)
    lines, made = [_asked(line, data.form.end) for line in data.lines], []
    head = tunable.base.model.get_output_embeddings()
    with torch.no_grad(), tunable.on():
        for part in pieces(range(len(lines)), [len(line.ids) for line in lines], tokens):
            own = [lines[row] for row in part]
            found, _ = states(tunable, own, None if bridge is None else bridge([line.source for line in own]))
            columns = torch.from_numpy(np.stack([line.labels for line in own])).to(found.device)
            made.append(torch.log_softmax(label_logits(head, found, columns), 1).cpu().numpy())
    return np.concatenate([np.zeros((0, len(data.form.labels)), np.float32), *made])


def _check_labels(data: Encoded) -> None:
    if not data.form.labels:
        raise OptionError("this needs labels", hint="encode the examples with labels")
    if any(not len(line.labels) for line in data.lines):
        raise OptionError(f"not each of the labels {list(data.form.labels)} is one token", hint="take the goal tokens")


def _asked(line: Line, end: bool) -> Line:
    """The line up to its label, with a loss on the label only."""
    ids = line.ids[:-1] if end else line.ids
    return replace(line, ids=ids, loss=np.arange(len(ids)) == len(ids) - 1)
