"""FilterLLM in torch: item text to logits over all users, with a pull towards the collaborative vector of the item.

Source: arXiv:2502.16924. Loss: cross-entropy against all users who liked the item, each with an equal share, plus
`guide` times the mean squared distance of the head's output from the item's collaborative vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu

from hexarec.core import digest
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.train.kept import State, kept, tunable_base
from hexarec.parts.train.loop import Plan, fit, pieces
from hexarec.parts.train.plain import Arrays, Plain, arrays_of, begun, step_draw

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float32]
TextStates = Callable[[Sequence[int]], Tensor]
"""Numbers of items to (n, size) states of their text, with gradients where the text tower is tuned."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """liked: items x users, 1 where liked. guides: (n, d) collaborative vectors of the items. valid: numbers of those
    that validate; the others teach. people: (n_users, d) to begin the user vocabulary with.
    """

    liked: csr_array
    guides: Floats
    valid: NDArray[np.int64]
    people: Floats

    @property
    def key(self) -> str:
        """A hash of all of it."""
        return digest(self.liked.indptr, self.liked.indices, self.guides, self.valid, self.people)


@dataclass(frozen=True)
class Recipe:
    """inner: width of a hidden layer of the head, 0 for none. relu: over the head's output, as released. guide: weight
    of the guidance. sampled: users drawn for the softmax, 0 for all.
    """

    inner: int
    relu: bool
    guide: float
    sampled: int


class Head(nn.Module):
    """The state of a text to the space of users and items."""

    def __init__(self, size: int, out: int, recipe: Recipe) -> None:
        super().__init__()
        self.inner = nn.Linear(size, recipe.inner) if recipe.inner else None
        self.out, self._relu = nn.Linear(recipe.inner or size, out), recipe.relu

    def forward(self, states: Tensor) -> Tensor:
        """(n, size) to (n, out)."""
        x = states if self.inner is None else relu(self.inner(states))
        made: Tensor = self.out(x)
        return relu(made) if self._relu else made


class Attracts:
    """The summed loss of items; see `loop.Objective`."""

    def __init__(
        self, lessons: Lessons, recipe: Recipe, states: TextStates, sizes: Sequence[int], head: Head, people: nn.Module,
        seed: int,
    ) -> None:  # fmt: skip
        self._lessons, self._recipe, self._states, self._seed = lessons, recipe, states, seed
        self._head, self._people = head, people
        self._guides = torch.from_numpy(lessons.guides)
        self._rows = np.setdiff1d(np.arange(len(sizes)), lessons.valid)
        self._tokens = list(sizes)
        self.sizes = [self._tokens[row] for row in self._rows]
        self.key = digest(lessons.key, repr(recipe))

    def weight(self, rows: Sequence[int]) -> float:
        """Items among the rows."""
        return float(len(rows))

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The summed loss of items."""
        own = self._rows[list(rows)].tolist()
        found = self._head(self._states(own))
        apart: Tensor = ((found - self._guides[own].to(found.device)) ** 2).mean(1).sum()
        return self._cross(found, own, sampled=True) + self._recipe.guide * apart

    def _cross(self, found: Tensor, own: Sequence[int], *, sampled: bool) -> Tensor:
        liked = self._lessons.liked[list(own)]
        weight: Any = self._people.weight
        n, most = len(weight), self._recipe.sampled
        columns, shift = np.arange(n), np.zeros(n, np.float32)
        if sampled and 0 < most < n:
            met = np.unique(liked.indices)
            drawn = step_draw(self._seed, "filterllm").permutation(n)[:most]
            columns = np.union1d(met, drawn)
            # a drawn user stands for n / most of those that are left out
            shift = np.where(np.isin(columns, met), 0.0, np.log(n / most)).astype(np.float32)
        truth = torch.from_numpy(liked[:, columns].toarray().astype(np.float32)).to(found.device)
        odds = torch.log_softmax(found @ weight[columns].T + torch.from_numpy(shift).to(found.device), 1)
        return -(odds * truth / truth.sum(1, keepdim=True)).sum()

    def value(self, tokens: int = 4096) -> float:
        """The mean log-likelihood of the users who liked the items that validate; higher is better."""
        rows = self._lessons.valid.tolist()
        total = 0.0
        with torch.no_grad():
            for part in pieces(rows, self._tokens, tokens):
                total -= self._cross(self._head(self._states(part)), part, sampled=False).item()
        return total / len(rows)


@dataclass(frozen=True, eq=False)
class Learned:
    """head, people (n_users, d), what training did, and the adapter of a tuned text tower."""

    head: Arrays
    people: Floats
    curve: dict[str, Any]
    adapter: State | None = None


def _modules(size: int, lessons: Lessons, recipe: Recipe, seed: int) -> dict[str, Any]:
    people = nn.Embedding(len(lessons.people), lessons.people.shape[1], _weight=torch.tensor(lessons.people))
    return {"head": begun(lambda: Head(size, lessons.people.shape[1], recipe), seed, "filterllm"), "people": people}


def _learned(objective: Attracts, modules: dict[str, Any], curve: Any, adapter: State | None) -> Learned:
    told = {"losses": curve.losses, "valid": [list(one) for one in curve.valid], "best": curve.best}
    return Learned(arrays_of(modules["head"]), arrays_of(modules["people"])["weight"], told, adapter)


def blank(size: int, lessons: Lessons, recipe: Recipe) -> Learned:
    """What nobody learned, in the right shapes: for a double that only counts what would be read."""
    modules = _modules(size, lessons, recipe, 0)
    return Learned(arrays_of(modules["head"]), lessons.people, {})


def over_frozen(rows: Floats, lessons: Lessons, recipe: Recipe, plan: Plan, seed: int) -> Learned:
    """Head and vocabulary learned over states (n, size) that nobody tunes. Raises as `loop.fit` does."""
    modules = _modules(rows.shape[1], lessons, recipe, seed)
    states = torch.from_numpy(rows)
    objective = Attracts(lessons, recipe, lambda own: states[list(own)], [1] * len(rows), **modules, seed=seed)
    metric = (lambda _: objective.value()) if len(lessons.valid) else None
    mark = f"filterllm {rows.shape} {lessons.people.shape} {recipe}"
    curve = fit(Plain(mark, modules), objective, plan, metric, seed, digest("likelihood", rows))
    return _learned(objective, modules, curve, None)


def over_tuned(
    lm: LanguageModel, asked: Sequence[Prompt], kind: Any, lessons: Lessons, recipe: Recipe, plan: Plan, seed: int,
    **about: Any,
) -> Learned:  # fmt: skip
    """Head, vocabulary and an adapter learned over the state of the last token of each item's prompt.

    The adapter's artefact holds no user: the vocabulary stays outside of it. Raises as `loop.fit` does.
    """
    from hexarec.parts.train.examples import Line
    from hexarec.parts.train.forward import states
    from hexarec.parts.train.tunable import Tunable

    base = tunable_base(lm)
    modules = _modules(int(base.model.config.hidden_size), lessons, recipe, seed)
    tunable = Tunable(base, kind, extra=modules, seed=seed)
    try:
        lines = []
        for n, prompt in enumerate(asked):
            ids = np.array([*tunable.tokens.prompt(prompt), tunable.tokens.end], np.int64)
            last = np.arange(len(ids)) == len(ids) - 1  # the state before it is that of the prompt's last token
            lines.append(Line(ids, last, np.zeros(0, np.int64), None, np.zeros(0, np.int64), n))
        read: TextStates = lambda own: states(tunable, [lines[n] for n in own])[0].float()  # noqa: E731
        objective = Attracts(lessons, recipe, read, [len(line.ids) for line in lines], **modules, seed=seed)

        def look(now: Any) -> float:
            with now.on():
                return objective.value()

        key = digest("likelihood", [prompt.digest() for prompt in asked])
        curve = fit(tunable, objective, plan, look if len(lessons.valid) else None, seed, key)
        adapter = kept(tunable, losses=[round(loss, 6) for loss in curve.losses], **about)
        adapter["tensors"] = {name: one for name, one in adapter["tensors"].items() if not name.startswith("extra.")}
        return _learned(objective, modules, curve, adapter)
    finally:
        tunable.detach()
