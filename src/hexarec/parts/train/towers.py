"""LEARN's tower in torch, and its dense loss: every sampled place of a user's past against every sampled item after it.

Source: Jia et al. 2024, arXiv:2405.03988. `parts.towers` serves the same network in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

from hexarec.core import History, digest
from hexarec.parts.train.loop import Plan, fit
from hexarec.parts.train.plain import Arrays, Plain, arrays_of, begun, step_draw

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = NDArray[np.int64]
Loss = Literal["dense", "last"]
Target = Literal["sequence", "single", "raw"]


@dataclass(frozen=True)
class Shape:
    """items: how many have a row of `size`. out: length of an output. length: most places. ids: rows are learned.

    near: the tower begins as the principal axes of the rows, else at random.
    """

    items: int
    size: int
    width: int
    out: int
    layers: int
    heads: int
    length: int
    dropout: float
    ids: bool = False
    near: bool = True


class Tower(nn.Module):
    """An adaptor to the tower's width, causal layers from scratch, and a projection to unit vectors.

    rows: (items, size) of the content encoder, frozen; unused with `ids`.
    """

    def __init__(self, shape: Shape, rows: Tensor) -> None:
        super().__init__()
        self.shape, self._rows = shape, rows
        width = shape.width
        self.adaptor: Any = nn.Embedding(shape.items, width) if shape.ids else nn.Linear(shape.size, width)
        self.place = nn.Embedding(shape.length, width)
        nn.init.normal_(self.place.weight, std=0.02)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, shape.heads, shape.dropout) for _ in range(shape.layers))
        self.project = nn.Linear(width, shape.out)
        self.drop = nn.Dropout(shape.dropout)
        if shape.near and not shape.ids:
            self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """The adaptor takes the principal axes of the rows, the projection the first of them, layers the mean so far.

        An item by itself then is what the encoder made of it, and a user the newest item and the mean of all.
        """
        rows = self._rows.numpy()
        values, axes = np.linalg.eigh(rows.T @ rows)
        axes = axes[:, np.argsort(-values, kind="stable")[: self.shape.width]].T
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
        weight = self.adaptor.weight
        weight[: len(axes)] = torch.from_numpy(axes.astype(np.float32))
        weight[len(axes) :] = 0.0
        nn.init.zeros_(self.adaptor.bias)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        layer: Any
        for layer in self.layers:
            for part in (layer.qkv, layer.out, layer.down):
                nn.init.zeros_(part.bias)
            nn.init.zeros_(layer.down.weight)
            nn.init.eye_(layer.out.weight)
            nn.init.eye_(layer.qkv.weight[2 * self.shape.width :])
            layer.qkv.weight[: self.shape.width] *= 0.1  # nearly even attention, with a slope to learn along

    def forward(self, items: Tensor) -> Tensor:
        """(b, t) item rows to (b, t, out)."""
        x = self.adaptor(items if self.shape.ids else self._rows[items])
        x = self.drop(self.norm(x + self.place.weight[: items.shape[1]]))
        for layer in self.layers:
            x = layer(x)
        if not len(self.layers):
            x = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return normalize(self.project(x), dim=-1)


class Layer(nn.Module):
    """BERT's layer, normed after each half, causal."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, width) to the same."""
        b, t, width = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        read = scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, width)
        x = self.first(x + self.drop(self.out(read)))
        made: Tensor = self.second(x + self.drop(self.down(gelu(self.up(x), approximate="tanh"))))
        return made


@dataclass(frozen=True)
class Sampling:
    """What a step reads of a user.

    history, targets: most events of each side. places, items: how many of them enter the loss. recency: newer ones
    likelier. moment: the past of all users ends here; None draws an end for each user and step.
    """

    history: int
    targets: int
    places: int
    items: int
    recency: bool
    moment: float | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """Items (b, longest) of one side, and for each user the places that enter the loss (b, most) with their mask."""

    item: Tensor
    place: Tensor
    real: Tensor

    def outputs(self, made: Tensor) -> Tensor:
        """(b, most, out) of the (b, longest, out) outputs."""
        return made.gather(1, self.place[:, :, None].expand(-1, -1, made.shape[2]))


class AllActions:
    """The summed loss of users; see `loop.Objective`. Rows are numbers of users that have a past and a later event."""

    def __init__(
        self, tower: Tower, log: History, raw: Tensor, sampling: Sampling, *, target: Target, loss: Loss,
        temperature: float, seed: int,
    ) -> None:  # fmt: skip
        self._tower, self._raw, self._sampling, self._seed = tower, raw, sampling, seed
        self._target, self._loss, self._temperature = target, loss, temperature
        self._log = log
        self._liked: csr_array = log.matrix(tower.shape.items)
        first, last = self._cuts()
        self._users = np.flatnonzero(first <= last)
        self._first, self._last = first[self._users], last[self._users]
        self.sizes = [1] * len(self._users)
        self.key = digest(log.item, log.offsets, repr(sampling), target, loss, temperature, raw.numpy())

    def _cuts(self) -> tuple[Ints, Ints]:
        """The smallest and the largest number of events that may be the past of each user."""
        n, moment = self._log.lengths, self._sampling.moment
        if moment is None:
            return np.ones(len(n), np.int64), n - 1
        before = np.add.reduceat(np.append(self._log.time < moment, False), self._log.offsets[:-1]) * (n > 0)
        bad = (before == 0) | (before == n)
        return np.where(bad, 1, before), np.where(bad, 0, before)

    def weight(self, rows: Sequence[int]) -> float:
        """Users among the rows."""
        return float(len(rows))

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The summed loss of users, each the mean over pairs of a place of the past and an item after it."""
        past, later = self._drawn(np.asarray(rows))
        own = torch.arange(len(rows))
        users = past.outputs(self._tower(past.item))[past.real]
        owner = own[:, None].expand_as(past.real)[past.real]
        items = later.item.gather(1, later.place)[later.real]
        whose = own[:, None].expand_as(later.real)[later.real]
        scores = users @ self._items(later, items).T / self._temperature
        met = self._liked[self._users[list(rows)]][:, items.numpy()].toarray() > 0
        others = torch.from_numpy(~met)[owner]  # what a user likes anyway is no counter-example
        rest = scores.masked_fill(~others, -torch.inf).logsumexp(1, keepdim=True)
        pairs = owner[:, None] == whose
        losses = torch.where(pairs, torch.logaddexp(scores, rest) - scores, torch.zeros(()))
        mean = losses.sum(1) / pairs.sum(1)
        count = torch.bincount(owner, minlength=len(rows))
        total: Tensor = (mean / count[owner]).sum()
        return total

    def _items(self, later: Drawn, items: Tensor) -> Tensor:
        """The item side of each sampled target."""
        if self._target == "raw":
            return self._raw[items]
        if self._target == "single":
            alone: Tensor = self._tower(items[:, None])[:, 0]
            return alone
        return later.outputs(self._tower(later.item))[later.real]

    def _drawn(self, rows: Ints) -> tuple[Drawn, Drawn]:
        """The sampled past and the sampled later items of some users."""
        draw, some = step_draw(self._seed, "learn"), self._sampling
        sides: tuple[list[Any], list[Any]] = ([], [])
        for row in rows.tolist():
            start, stop = self._log.offsets[self._users[row]], self._log.offsets[self._users[row] + 1]
            cut = start + int(draw.integers(self._first[row], self._last[row] + 1))
            if self._loss == "last":
                kept = np.arange(max(start, cut - some.history), cut)
                sides[0].append((kept, np.array([len(kept) - 1])))
                sides[1].append((np.array([cut]), np.array([0])))
                continue
            for side, low, high, most, n in (
                (sides[0], start, cut, some.history, some.places), (sides[1], cut, stop, some.targets, some.items),
            ):  # fmt: skip
                kept = low + np.sort(draw.permutation(high - low)[:most])
                side.append((kept, sampled(len(kept), n, some.recency, draw)))
        return self._padded(sides[0]), self._padded(sides[1])

    def _padded(self, side: list[tuple[Ints, Ints]]) -> Drawn:
        longest, most = (max(len(one[part]) for one in side) for part in (0, 1))
        item, place = np.zeros((len(side), longest), np.int64), np.zeros((len(side), most), np.int64)
        real = np.zeros(place.shape, bool)
        for n, (kept, own) in enumerate(side):
            item[n, : len(kept)] = self._log.item[kept]
            place[n, : len(own)], real[n, : len(own)] = own, True
        return Drawn(*(torch.from_numpy(one) for one in (item, place, real)))


def sampled(n: int, most: int, recency: bool, draw: np.random.Generator) -> Ints:
    """`most` of n places in order, without replacement, newer ones likelier (or all alike).

    The weight of place i is log(10 + i (10,000 - 10) / (n - 1)), over the largest.
    """
    if n <= most:
        return np.arange(n)
    weights = np.log(10.0 + np.arange(n) * 9_990.0 / max(n - 1, 1)) if recency else np.ones(n)
    # the smallest of Exp(1) / w are a draw without replacement by weight (Efraimidis and Spirakis 2006)
    return np.sort(np.argsort(draw.exponential(size=n) / weights, kind="stable")[:most])


def align(
    options: Any,
    content: NDArray[np.float32],
    log: History,
    moment: float | None,
    look: Callable[[Arrays], float] | None,
    key: str,
    seed: int,
) -> tuple[Arrays, dict[str, Any]]:
    """The tower trained on the liked events of a log, and what training did; it names losses and validations.

    options: a `LearnTowers`. content: (n_items, size). look: weights to a number, higher is better; `key` names what it
    reads. Raises as `loop.fit` does.
    """
    rows = torch.from_numpy(content)
    ids = options.inputs == "ids"
    raw = normalize(rows, dim=-1)
    shape = Shape(
        len(content), content.shape[1], options.width, content.shape[1] if options.target == "raw" else options.out,
        options.layers, options.heads, max(options.history, options.targets), options.dropout, ids,
        options.start == "text",
    )  # fmt: skip
    tower = begun(lambda: Tower(shape, rows), seed, "learn")
    sampling = Sampling(
        options.history, options.targets, options.places, options.positives, options.sampling == "recency", moment
    )
    objective = AllActions(
        tower, log, raw, sampling, target=options.target, loss=options.loss, temperature=options.temperature, seed=seed
    )  # fmt: skip
    plan = Plan(
        options.epochs, options.batch, options.rate, schedule="cosine", decay=options.decay, patience=options.patience
    )
    metric = None if look is None else lambda _: look(arrays_of(tower))
    curve = fit(Plain(f"learn {asdict(shape)}", {"tower": tower}), objective, plan, metric, seed, key)
    return arrays_of(tower), {"losses": curve.losses, "valid": [list(one) for one in curve.valid], "best": curve.best}
