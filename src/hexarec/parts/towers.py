"""A small causal transformer over item vectors in numpy: what a tower learned in torch is served without it.

Source: BERT's layer (Devlin et al. 2019, arXiv:1810.04805), with a causal mask. `parts.train.towers` has the same in
torch, with gradients; the weights carry its names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from hexarec.core import History
from hexarec.parts.vectors import unit

Vectors = NDArray[np.float32]
Weights = Mapping[str, Vectors]
CELLS = 8192  # places of one forward


def tower(weights: Weights, heads: int, rows: Vectors) -> Vectors:
    """(b, t, width) inputs to (b, t, out) outputs of unit length; place j reads the places up to j.

    Without layers the places are averaged.
    """
    x = rows + weights["place.weight"][: rows.shape[1]]
    layers = sum(name.endswith(".qkv.weight") for name in weights)
    x = _norm(x, weights, "norm")
    for layer in range(layers):
        x = _layer(x, weights, f"layers.{layer}.", heads)
    if not layers:
        x = np.asarray(np.cumsum(x, axis=1) / np.arange(1, x.shape[1] + 1)[:, None], np.float32)
    made = _linear(x, weights, "project")
    return unit(made.reshape(-1, made.shape[2])).reshape(made.shape)


def single(weights: Weights, heads: int, rows: Vectors) -> Vectors:
    """(n, width) inputs to (n, out), each by itself."""
    parts = [tower(weights, heads, rows[at : at + CELLS, None])[:, 0] for at in range(0, len(rows), CELLS)]
    return np.concatenate(parts) if parts else np.zeros((0, len(weights["project.weight"])), np.float32)


def last(weights: Weights, heads: int, rows: Vectors, history: History) -> Vectors:
    """(n, out) outputs at the newest event of each history over the inputs (n_items, width); zeros without one."""
    made = np.zeros((len(history), len(weights["project.weight"])), np.float32)
    for own, items, end in _padded(history):
        made[own] = tower(weights, heads, rows[items])[np.arange(len(own)), end]
    return made


def _padded(history: History) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Histories of like length together: their numbers, items (b, longest) and last places (b,)."""
    order = np.argsort(history.lengths, kind="stable")
    order = order[history.lengths[order] > 0]
    while len(order):
        # the longest of the first n decides what n of them cost
        cost = history.lengths[order] * np.arange(1, len(order) + 1)
        n = max(1, int(np.searchsorted(cost, CELLS, side="right")))
        own, order = order[:n], order[n:]
        end = history.lengths[own] - 1
        place = np.arange(int(end.max()) + 1)
        flat = history.offsets[:-1][own][:, None] + np.minimum(place, end[:, None])
        yield own, history.item[flat].astype(np.int64), end


def _layer(x: Vectors, weights: Weights, key: str, heads: int) -> Vectors:
    b, t, width = x.shape
    q, k, v = _linear(x, weights, key + "qkv").reshape(b, t, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    match = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(q.shape[-1]))
    match += np.triu(np.full((t, t), -1e9, np.float32), 1)
    share = np.exp(match - match.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    x = _norm(
        x + _linear((share @ v).transpose(0, 2, 1, 3).reshape(b, t, width), weights, key + "out"),
        weights,
        key + "first",
    )
    inner = _gelu(_linear(x, weights, key + "up"))
    return _norm(x + _linear(inner, weights, key + "down"), weights, key + "second")


def _linear(x: Vectors, weights: Weights, name: str) -> Vectors:
    return np.asarray(x @ weights[name + ".weight"].T + weights[name + ".bias"], np.float32)


def _norm(x: Vectors, weights: Weights, name: str) -> Vectors:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-5))
    return np.asarray(centred / spread * weights[name + ".weight"] + weights[name + ".bias"], np.float32)


def _gelu(x: Vectors) -> Vectors:
    """The usual approximation of GELU by a tangent."""
    return np.asarray(0.5 * x * (1.0 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3))), np.float32)
