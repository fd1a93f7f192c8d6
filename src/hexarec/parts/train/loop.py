"""The tuning loop: batches, schedule, validation with early stopping, and checkpoints that a killed run goes on from.

Every draw is named by the seed and the step, so a run that was cut off and one that was not end in the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hexarec.core.errors import DataError, ModelError, OptionError
from hexarec.core.options import at_least, choices
from hexarec.core.run import track
from hexarec.core.seeds import rng, seed_words
from hexarec.parts.train.checkpoint import Checkpoint

TOKENS = {"cpu": 1024, "cuda": 8192}
Schedule = Literal["linear", "cosine", "constant"]


class Tuned(Protocol):
    """What the loop moves: a `Tunable` over a language model, or `Plain` modules without one."""

    extra: nn.ModuleDict
    """Modules of one's own; `Plan.rates` names them."""

    @property
    def mark(self) -> str:
        """What is tuned, as a text."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is tuned, by name; those of extra modules begin with `extra.`."""

    def on(self, training: bool = False) -> AbstractContextManager[None]:
        """Ready for a forward; `training` switches dropout on."""

    def begun(self) -> dict[str, Tensor]:
        """Everything whose values shape a run from its start."""

    def state(self) -> dict[str, Tensor]:
        """Copies of what is tuned."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""


T = TypeVar("T", bound=Tuned)


class Objective(Protocol):
    """What the loop makes small. Losses are sums over rows, so that a batch may be cut anywhere."""

    key: str
    """A hash of the data and of what is done with them."""
    sizes: list[int]
    """Tokens of each row."""

    def weight(self, rows: Sequence[int]) -> float:
        """By what the sum over these rows is divided."""

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The summed loss of rows that go through one forward, with gradients."""


@dataclass(frozen=True)
class Plan:
    """How long, how fast, and how often to look.

    epochs: passes over the data. batch: rows a step. rate: the highest step of AdamW; `rates` are those of extra
    modules, by name. warmup: share of the steps in which the rate rises; then it falls to 0 (linear, cosine) or stays.
    decay: weight decay of matrices. clip: longest gradient. tokens: most of one forward, some 500 a gigabyte for 135
    million parameters; it changes memory and the draws of dropout, nothing else; None takes 1024 on a processor and
    8192 on a GPU. every: steps between validations and checkpoints, 0 for once an epoch. patience: validations
    without a better one before it ends, 0 for never.
    """

    epochs: int = 3
    batch: int = 8
    rate: float = 1e-3
    rates: tuple[tuple[str, float], ...] = ()
    warmup: float = 0.05
    schedule: Schedule = "linear"
    decay: float = 0.0
    clip: float = 1.0
    tokens: int | None = None
    every: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        at_least(self, epochs=1, batch=1, tokens=1, every=0, patience=0, decay=0)
        if not 0 < self.rate < math.inf:
            raise OptionError(f"rate is {self.rate}, not above 0 and finite", hint="1e-3 is usual")
        for name, value in self.rates:
            if not 0 <= value < math.inf:
                raise OptionError(f"the rate of {name} is {value}", hint="a rate is finite, and not below 0")
        if not self.clip > 0:
            raise OptionError(f"clip is {self.clip}, not above 0", hint="float('inf') clips nothing")
        if not 0 <= self.warmup < 1:
            raise OptionError(f"warmup is {self.warmup}, no share from 0 to below 1", hint="0 begins at the full rate")
        choices(self)

    def share(self, step: int, steps: int) -> float:
        """The share of the rate at a step, counted from 0; never 0."""
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        passed = (step - warm) / (steps - warm)
        falls = {"linear": 1 - passed, "cosine": 0.5 * (1 + math.cos(math.pi * passed)), "constant": 1.0}
        return falls[self.schedule]


PLAN = Plan()
NO_KEY = "a checkpoint cannot tell one metric or bridge from another without a key"


@dataclass
class Curve:
    """What a run did: loss of each step (mean over its batch), (step, value) of each validation, higher is better.

    A value that is not finite is worse than any number.

    best: the step after which the kept weights stood. stopped: whether patience ended it. seconds: wall time of this
    process, without what a checkpoint had done.
    """

    losses: list[float] = field(default_factory=list)
    valid: list[tuple[int, float]] = field(default_factory=list)
    best: int = 0
    stopped: bool = False
    seconds: float = 0.0

    @property
    def value(self) -> float | None:
        """The best validation that is a number; None without any."""
        return max((value for _, value in self.valid if math.isfinite(value)), default=None)

    def waited(self) -> int:
        """Validations since the best one."""
        return sum(step > self.best for step, _ in self.valid)


def fit(
    tunable: T,
    objective: Objective,
    plan: Plan,
    metric: Callable[[T], float] | None = None,
    seed: int = 0,
    key: str = "",
) -> Curve:
    """Tune; afterwards the tunable holds its best weights by `metric`, or its last ones without a metric.

    Stops between steps on cancel and deadline; goes on from the run's scratch folder, where `key` stands for whatever
    shapes the run and the other arguments cannot tell: what the metric is and reads, what a bridge reads.

    Raises DataError without rows, ModelError when a loss, a gradient or every validation is not a number, OptionError
    when there is nothing to tune, or for a metric without a key where there is a scratch folder.
    """
    if not len(objective.sizes):
        raise DataError("there are no examples to learn from", hint="did all of them exceed the window?")
    if not tunable.parameters:
        raise OptionError(f"there is nothing to tune in {tunable.mark}", hint="give it extra modules")
    started, curve = time.monotonic(), Curve()
    adam = _optimiser(tunable, plan)
    keep = Checkpoint.of(tunable, objective.key, plan, seed, key)
    if keep.place is not None and metric is not None and not key:
        raise OptionError(NO_KEY, hint="key=digest(...) of what the metric is and what it reads")
    best = keep.resume(tunable, adam, curve)
    steps = plan.epochs * _per_epoch(objective, plan)
    every = plan.every or _per_epoch(objective, plan)
    with torch.random.fork_rng(devices=[]):
        for step in track(range(len(curve.losses), 0 if curve.stopped else steps), "tune"):
            torch.manual_seed(seed_words(seed, "tune", step) % 2**63)
            for group in adam.param_groups:
                group["lr"] = group["peak"] * plan.share(step, steps)
            curve.losses.append(_step(tunable, objective, plan, adam, _rows(objective, plan, seed, step)))
            if (step + 1) % every and step + 1 < steps:
                continue
            best = _look(tunable, metric, curve, best)
            curve.stopped = bool(plan.patience) and curve.waited() >= plan.patience
            keep.save(tunable, adam, curve, best)
            if curve.stopped:
                break
    if curve.valid and curve.value is None:
        raise ModelError("no validation gave a number", hint="look at the metric")
    tunable.restore(best)
    curve.seconds = time.monotonic() - started
    return curve


def _step(tunable: Tuned, objective: Objective, plan: Plan, adam: Any, rows: Sequence[int]) -> float:
    """One update; the mean loss of its rows."""
    adam.zero_grad(set_to_none=True)
    weight, total = objective.weight(rows), 0.0
    with tunable.on(training=True):
        for part in pieces(rows, objective.sizes, plan.tokens or _suited(tunable)):
            loss = objective.loss(part) / weight
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
    if not math.isfinite(total):
        raise ModelError("tuning diverged: the loss is not a number", hint="lower the rate")
    length = torch.nn.utils.clip_grad_norm_([one for group in adam.param_groups for one in group["params"]], plan.clip)
    if not math.isfinite(length):
        raise ModelError("tuning diverged: a gradient is not a number", hint="lower the rate")
    adam.step()
    return total


def _suited(tunable: Tuned) -> int:
    """The most tokens of a forward where the plan leaves it open."""
    device = next((one.device.type for one in tunable.parameters.values()), "cpu")
    return TOKENS.get(device, TOKENS["cpu"])


def _look(tunable: T, metric: Callable[[T], float] | None, curve: Curve, best: dict[str, Tensor]) -> dict[str, Tensor]:
    """Validate; the weights to keep."""
    step = len(curve.losses)
    if metric is None:
        curve.best = step
        return tunable.state()
    value = float(metric(tunable))
    before = curve.value
    curve.valid.append((step, value))
    if math.isfinite(value) and (before is None or value > before):
        curve.best = step
        return tunable.state()
    return best


def pieces(rows: Sequence[int], sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Rows in pieces of at most `most` tokens each; a longer row stands alone."""
    piece: list[int] = []
    tokens = 0
    for row in rows:
        if piece and tokens + sizes[row] > most:
            yield piece
            piece, tokens = [], 0
        piece.append(row)
        tokens += sizes[row]
    if piece:
        yield piece


def _per_epoch(objective: Objective, plan: Plan) -> int:
    return -(-len(objective.sizes) // plan.batch)


def _rows(objective: Objective, plan: Plan, seed: int, step: int) -> list[int]:
    epoch, at = divmod(step, _per_epoch(objective, plan))
    order = _order(len(objective.sizes), seed, epoch)
    return [int(row) for row in np.sort(order[at * plan.batch : (at + 1) * plan.batch])]


@lru_cache(maxsize=1)
def _order(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch, kept until the next one: drawn anew at each step it would cost more than a small step."""
    return rng(seed, "tune", epoch).permutation(rows)


def _optimiser(tunable: Tuned, plan: Plan) -> torch.optim.AdamW:
    rates, groups = dict(plan.rates), []
    unknown = sorted(set(rates) - set(tunable.extra))
    if unknown:
        raise OptionError(f"there is no extra module {unknown[0]!r} to have a rate")
    for name, one in tunable.parameters.items():
        peak = rates.get(name.split(".")[1], plan.rate) if name.startswith("extra.") else plan.rate
        decay = plan.decay if one.ndim > 1 else 0.0
        groups.append({"params": [one], "peak": peak, "lr": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)
