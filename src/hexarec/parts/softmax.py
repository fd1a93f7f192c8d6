"""A small policy over items: the mean vector of what was liked last, a product with every item, a soft-max.

It knows its own probabilities exactly and learns in numpy in a moment, so it plays where no language model is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, OptionError, Queries, rng, track
from hexarec.parts.nexts import Nexts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Weights:
    """What a policy knows: read, said: (n_items, width) vectors of items in a history and as answers; bias (n_items,).

    last: liked events of a history that are read.
    """

    read: Floats
    said: Floats
    bias: Floats
    last: int

    @classmethod
    def drawn(cls, data: Dataset, width: int, last: int, seed: int) -> Weights:
        """Small draws, and no bias."""
        draw = rng(seed, "softmax")
        read, said = draw.standard_normal((2, data.n_items, width), np.float32) * np.float32(width**-0.5)
        return cls(read, said, np.zeros(data.n_items, np.float32), last)

    def means(self, queries: Queries) -> csr_array:
        """(n, n_items): each history as shares of its newest liked items; empty rows without any."""
        from scipy.sparse import csr_array

        past = queries.history
        past = past.where(past.liked & (past.item < len(self.bias))).last(self.last)
        shares = 1.0 / np.repeat(np.maximum(past.lengths, 1), past.lengths)
        return csr_array((shares.astype(np.float32), past.item, past.offsets), shape=(len(queries), len(self.bias)))

    def log_odds(self, queries: Queries) -> Floats:
        """(n, n_items) log-probabilities."""
        values = np.asarray(self.means(queries) @ self.read) @ self.said.T + self.bias
        values -= values.max(1, keepdims=True, initial=-np.inf)
        return np.asarray(values - np.log(np.exp(values).sum(1, keepdims=True)), np.float32)


class SoftmaxPolicy:
    """A policy that learns (see `selfplay.Policy`); `weights` are what it knows now.

    beta: of the preferences. rate: AdaGrad's step in the first learning. round_rate: that of both steps of a round.
    batch: pairs a step.
    """

    def __init__(
        self, weights: Weights, beta: float, rate: float = 0.1, round_rate: float = 0.02, batch: int = 128
    ) -> None:
        self.weights, self._beta = weights, beta
        self._rate, self._round_rate, self._batch = rate, round_rate, batch

    def answers(self, queries: Queries, temperature: float, seed: int) -> NDArray[np.int32]:
        """The likeliest permitted item of each question, or a permitted one drawn by probability."""
        odds = self.weights.log_odds(queries)
        if temperature > 0:
            odds = odds / np.float32(temperature) + rng(seed, "softmax").gumbel(size=odds.shape).astype(np.float32)
        odds[queries.forbidden(odds.shape[1])] = -np.inf
        best = odds.argmax(1).astype(np.int32)
        return np.where(np.isfinite(odds.max(1, initial=-np.inf)), best, np.int32(-1))

    def begin(self, pairs: Nexts, epochs: int, seed: int) -> None:
        """The supervised learning before the first round."""
        self._learn(pairs, None, epochs, self._rate, seed)

    def imitate(self, pairs: Nexts, seed: int) -> float:
        """One pass of cross-entropy; the mean loss in nats."""
        return self._learn(pairs, None, 1, self._round_rate, seed)

    def prefer(self, pairs: Nexts, rejected: NDArray[np.int32], seed: int) -> float:
        """One pass of preferences against the weights as they are now; the mean loss in nats."""
        return self._learn(pairs, rejected, 1, self._round_rate, seed)

    def _learn(self, pairs: Nexts, rejected: NDArray[np.int32] | None, epochs: int, rate: float, seed: int) -> float:
        """AdaGrad over drawn batches; the mean loss of the last pass."""
        now = [self.weights.read.copy(), self.weights.said.copy(), self.weights.bias.copy()]
        squares = [np.zeros_like(one) for one in now]
        means, losses = self.weights.means(pairs.queries), [0.0]
        given = None if rejected is None else _gap(means, now, pairs.item, rejected)
        for epoch in track(range(epochs), "epoch"):
            order, losses = rng(seed, "softmax", "epoch", epoch).permutation(len(pairs)), []
            for rows in np.array_split(order, max(-(-len(order) // self._batch), 1)):
                part = means[rows]
                if rejected is None or given is None:
                    loss, slopes = _imitation(part, now, pairs.item[rows])
                else:
                    loss, slopes = _preference(part, now, pairs.item[rows], rejected[rows], given[rows], self._beta)
                losses.append(loss * len(rows))
                for own, square, slope in zip(now, squares, slopes, strict=True):
                    square += slope * slope
                    own -= np.float32(rate) * slope / (np.sqrt(square) + np.float32(1e-8))
        if not all(np.isfinite(one).all() for one in now):
            raise OptionError("the small policy diverged: what it learned is not numbers", hint="lower the rates")
        read, said, bias = now
        self.weights = Weights(read, said, bias, self.weights.last)
        return float(np.sum(losses) / max(len(pairs), 1))


def _imitation(means: csr_array, now: list[Floats], item: NDArray[Any]) -> tuple[float, list[Floats]]:
    """The mean cross-entropy of a batch, and its slopes by vectors read, vectors said and bias."""
    state = np.asarray(means @ now[0])
    values = state @ now[1].T + now[2]
    values -= values.max(1, keepdims=True)
    share = np.exp(values)
    share /= share.sum(1, keepdims=True)
    place = np.arange(len(item)), item
    loss = float(-np.log(np.maximum(share[place], 1e-30)).mean())
    share[place] -= 1.0
    share /= np.float32(len(item))
    return loss, [np.asarray(means.T @ (share @ now[1])), share.T @ state, share.sum(0)]


def _gap(means: csr_array, now: list[Floats], chosen: NDArray[Any], rejected: NDArray[Any]) -> Floats:
    """log p(chosen) - log p(rejected): the normaliser is the same and falls away."""
    apart = now[1][chosen] - now[1][rejected]
    state = np.asarray(means @ now[0])
    return np.asarray(np.einsum("nd,nd->n", state, apart) + now[2][chosen] - now[2][rejected])


def _preference(
    means: csr_array, now: list[Floats], chosen: NDArray[Any], rejected: NDArray[Any], given: Floats, beta: float
) -> tuple[float, list[Floats]]:
    """The mean DPO loss of a batch, and its slopes; given: (n,) the gaps of the reference."""
    margin = beta * (_gap(means, now, chosen, rejected) - given)
    loss = float(np.logaddexp(0.0, -margin).mean())
    slope = (-beta / (1.0 + np.exp(margin)) / len(chosen)).astype(np.float32)
    state, apart = np.asarray(means @ now[0]), now[1][chosen] - now[1][rejected]
    said, bias = np.zeros_like(now[1]), np.zeros_like(now[2])
    for rows, sign in ((chosen, 1.0), (rejected, -1.0)):
        np.add.at(said, rows, np.float32(sign) * slope[:, None] * state)
        np.add.at(bias, rows, np.float32(sign) * slope)
    return loss, [np.asarray(means.T @ (slope[:, None] * apart)), said, bias]
