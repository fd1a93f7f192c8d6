"""Direct preference optimisation: the chosen answer above the rejected one, measured from where tuning began.

Source: Rafailov et al. 2023, arXiv:2305.18290; label smoothing as in Mitchell 2023, "A note on DPO with noisy
preferences". The numbers equal those of TRL's trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from hexarec.core.errors import DataError, OptionError
from hexarec.core.ids import digest
from hexarec.parts.train.examples import FORM, Encoded, Example, Form, Line, Pair, encode
from hexarec.parts.train.forward import states
from hexarec.parts.train.loop import PLAN, Curve, Plan, fit, pieces
from hexarec.parts.train.losses import log_probs
from hexarec.parts.train.tunable import Tunable

Floats = NDArray[np.float32]


def dpo_loss(policy: Tensor, reference: Tensor, beta: float = 0.1, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """A loss per pair, small where the policy prefers the chosen answer more than the reference does; and the margins.

    policy, reference: summed log-probabilities in nats, (n, 2), column 0 the chosen answer. beta: in 1/nats, larger
    stays closer to the reference. smoothing: the share of pairs believed to be the wrong way round, below 0.5. The
    margin is beta times the difference of the gains; a pair is right where it is above 0. The loss is log 2 where both
    are equal.
    Raises OptionError for shapes that differ and for values out of range.
    """
    if policy.shape != reference.shape or policy.ndim != 2 or policy.shape[1] != 2:
        raise OptionError(f"policy {tuple(policy.shape)} and reference {tuple(reference.shape)} must both be (n, 2)")
    if beta <= 0 or not 0 <= smoothing < 0.5:
        raise OptionError(f"beta {beta} or smoothing {smoothing} is impossible", hint="beta > 0, smoothing in [0, 0.5)")
    gains = policy - reference
    margins = beta * (gains[:, 0] - gains[:, 1])
    return -(1 - smoothing) * logsigmoid(margins) - smoothing * logsigmoid(-margins), margins.detach()


def encode_pairs(pairs: Sequence[Pair], tunable: Tunable, form: Form = FORM) -> tuple[Encoded, Encoded]:
    """Chosen and rejected answers as ids; a pair of which one does not fit is dropped from both."""
    sides = []
    for name in ("chosen", "rejected"):
        examples = [Example(pair.prompt, getattr(pair, name)) for pair in pairs]
        sides.append(encode(examples, tunable.tokens, form))
    kept = {line.source for line in sides[0].lines} & {line.source for line in sides[1].lines}
    gone = len(pairs) - len(kept)
    chosen, rejected = (
        Encoded([line for line in side.lines if line.source in kept], gone, side.key, form) for side in sides
    )
    return chosen, rejected


def reference(
    tunable: Tunable, chosen: Encoded, rejected: Encoded, *, tokens: int = 4096, start: bool = False
) -> Floats:
    """(n, 2) summed log-probabilities under the base alone, or under the tunable as it is now (`start`)."""
    objective = Preferences(tunable, chosen, rejected, np.zeros((len(chosen), 2), np.float32))
    made = [np.zeros((0, 2), np.float32)]
    with torch.no_grad():
        for part in pieces(range(len(chosen)), objective.sizes, tokens):
            if start:
                with tunable.on():
                    made.append(objective.policy(part).cpu().numpy())
            else:
                made.append(objective.policy(part, bare=True).cpu().numpy())
    return np.concatenate(made)


class Preferences:
    """The summed DPO loss of pairs; see `loop.Objective`."""

    def __init__(
        self,
        tunable: Tunable,
        chosen: Encoded,
        rejected: Encoded,
        reference: Floats,
        beta: float = 0.1,
        smoothing: float = 0.0,
    ) -> None:
        if len(chosen) != len(rejected) or reference.shape != (len(chosen), 2):
            raise DataError(f"{len(chosen)} chosen, {len(rejected)} rejected, reference {reference.shape}: must match")
        self._tunable, self._reference, self._beta, self._smoothing = tunable, reference, beta, smoothing
        self._pairs: list[tuple[Line, Line]] = list(zip(chosen.lines, rejected.lines, strict=True))
        self.sizes = [len(one.ids) + len(other.ids) for one, other in self._pairs]
        self.key = digest(chosen.key, rejected.key, beta, smoothing, reference)
        self.margins: list[float] = []
        """The margins of the pairs of all steps so far, in nats."""

    @property
    def accuracy(self) -> float:
        """The share of pairs seen so far that were the right way round; NaN before the first."""
        return float(np.mean(np.array(self.margins) > 0)) if self.margins else float("nan")

    def weight(self, rows: Sequence[int]) -> float:
        """Pairs among the rows."""
        return float(len(rows))

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The summed loss of pairs."""
        policy = self.policy(rows)
        given = torch.from_numpy(self._reference[list(rows)]).to(policy.device)
        losses, margins = dpo_loss(policy, given, self._beta, self._smoothing)
        self.margins += margins.tolist()
        return losses.sum()

    def policy(self, rows: Sequence[int], bare: bool = False) -> Tensor:
        """(n, 2) summed log-probabilities of the answers of pairs; `bare` leaves out what stands before a prompt."""
        lines = [line for row in rows for line in self._pairs[row]]
        found, targets = states(self._tunable, lines, bare=bare)
        odds = log_probs(self._tunable.base.model.get_output_embeddings(), found, targets)
        owner = torch.from_numpy(np.repeat(np.arange(len(lines)), [line.loss.sum() for line in lines]))
        return torch.zeros(len(lines), device=odds.device).index_add(0, owner.to(odds.device), odds).view(-1, 2)


def dpo(
    tunable: Tunable,
    chosen: Encoded,
    rejected: Encoded,
    *,
    plan: Plan = PLAN,
    beta: float = 0.1,
    smoothing: float = 0.0,
    given: Floats | None = None,
    metric: Callable[[Tunable], float] | None = None,
    seed: int = 0,
    key: str = "",
) -> tuple[Curve, Preferences]:
    """Tune on pairs. The reference is the base without what is tuned, computed once, or the `given` (n, 2) numbers.

    `key` names what the metric is and reads, as in `loop.fit`.

    Raises as `loop.fit` does.
    """
    anchors = reference(tunable, chosen, rejected) if given is None else given
    objective = Preferences(tunable, chosen, rejected, anchors, beta, smoothing)
    return fit(tunable, objective, plan, metric, seed, key), objective
