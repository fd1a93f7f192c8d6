"""A BERT body for inference on a CPU: no padding, no mask, few passes over memory.

The tokens of a batch stand in one row for the linear layers. Attention runs over texts of equal length stacked, so that
nothing is padded. Query, key and value are one product; GELU and the residual sum belong to the product before them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from hexarec.lm.hf.linear import packable

Affine = tuple[Tensor, Tensor]  # weight and bias
Weights = dict[str, Tensor]
_ROWS = 2048  # the number of rows that the weights' layout is made for; others work too


class Span(NamedTuple):
    """Rows of a flat batch that hold texts of equal length."""

    start: int
    stop: int
    length: int


def spans(ids: Sequence[Sequence[int]]) -> list[Span]:
    """The spans of token lists that are sorted by length."""
    made: list[Span] = []
    for own in ids:
        last = made[-1] if made else Span(0, 0, 0)
        if last.length == len(own):
            made[-1] = last._replace(stop=last.stop + len(own))
        else:
            made.append(Span(last.stop, last.stop + len(own), len(own)))
    return made


@dataclass(frozen=True)
class Shape:
    """What config.json says of a BERT."""

    width: int
    heads: int
    layers: int
    eps: float

    @classmethod
    def read(cls, file: Path) -> Shape:
        """Raises OSError, ValueError or KeyError."""
        config = json.loads(file.read_text(encoding="utf-8"))
        if config.get("hidden_act", "gelu") != "gelu":
            raise ValueError(f"the activation is {config['hidden_act']}, not gelu")
        width, heads, layers = (int(config[f"{name}"]) for name in _SIZES)
        return cls(width, heads, layers, float(config["layer_norm_eps"]))


_SIZES = ("hidden_size", "num_attention_heads", "num_hidden_layers")


@dataclass(frozen=True)
class Block:
    """The weights of one layer in float32: query, key and value as one, the query's already divided by its length."""

    qkv: Affine
    mix: Affine
    up: Affine
    down: Affine
    norms: tuple[Affine, Affine]

    @classmethod
    def of(cls, weights: Weights, number: int, shape: Shape) -> Block:
        """Layer `number` of a checkpoint. Raises KeyError."""

        def own(name: str) -> Affine:
            return _affine(weights, f"encoder.layer.{number}.{name}")

        query, key, value = (own(f"attention.self.{part}") for part in ("query", "key", "value"))
        scale = (shape.width // shape.heads) ** -0.5
        qkv = torch.cat([query[0] * scale, key[0], value[0]]), torch.cat([query[1] * scale, key[1], value[1]])
        norms = own("attention.output.LayerNorm"), own("output.LayerNorm")
        return cls(qkv, own("attention.output.dense"), own("intermediate.dense"), own("output.dense"), norms)


def _affine(weights: Weights, name: str) -> Affine:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


class Embedding:
    """Token lists to the states before the first layer, in float32."""

    def __init__(self, weights: Weights, shape: Shape) -> None:
        words = weights["embeddings.word_embeddings.weight"]
        if words.shape[1] != shape.width:
            raise ValueError("the weights do not fit config.json")
        self._words = words + weights["embeddings.token_type_embeddings.weight"][0]
        self._places = weights["embeddings.position_embeddings.weight"]
        self._norm = Norm(_affine(weights, "embeddings.LayerNorm"), shape.eps, torch.float32)

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """(tokens, width), the lists one after the other."""
        tokens = torch.tensor([token for own in ids for token in own])
        places = torch.tensor([place for own in ids for place in range(len(own))])
        return self._norm(self._words[tokens] + self._places[places])


class Norm:
    """The layer norm."""

    def __init__(self, affine: Affine, eps: float, kind: torch.dtype) -> None:
        self._weight, self._bias, self._eps = affine[0].to(kind), affine[1].to(kind), eps

    def __call__(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        return layer_norm(x, (x.shape[-1],), self._weight, self._bias, self._eps)


class Product:
    """A linear layer with what follows it, by oneDNN with weights in its own layout where this build can."""

    def __init__(self, affine: Affine, kind: torch.dtype) -> None:
        self._weight, self._bias = affine[0].to(kind), affine[1].to(kind)
        self._packed: Tensor | None = None
        if _packs(kind):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight, _ROWS)

    def __call__(self, x: Tensor, post: str = "none") -> Tensor:
        """(rows, outputs); `post` is none or gelu."""
        if self._packed is None:
            made = linear(x, self._weight, self._bias)
            return gelu(made) if post == "gelu" else made
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, post, [], "none")
        return fused

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product and `other`."""
        if self._packed is None:
            return linear(x, self._weight, self._bias).add_(other)
        fused: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._packed, self._bias, "add")
        return fused


def _packs(kind: torch.dtype) -> bool:
    return packable() and (kind == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


class Trace(NamedTuple):
    """The inputs of a layer's four products, and its output."""

    entry: Tensor
    mixed: Tensor
    middle: Tensor
    inner: Tensor
    output: Tensor


class Layer:
    """One layer in float32 or bfloat16."""

    def __init__(self, block: Block, shape: Shape, kind: torch.dtype) -> None:
        self._heads, self._kind = shape.heads, kind
        self._qkv, self._mix = Product(block.qkv, kind), Product(block.mix, kind)
        self._up, self._down = Product(block.up, kind), Product(block.down, kind)
        self._first, self._second = (Norm(norm, shape.eps, kind) for norm in block.norms)

    def __call__(self, x: Tensor, where: list[Span]) -> Tensor:
        """(tokens, width) to the same."""
        return self.traced(x, where).output

    def traced(self, x: Tensor, where: list[Span]) -> Trace:
        """The same with what was computed on the way."""
        x = x.to(self._kind)
        mixed = attended(self._qkv(x), where, self._heads)
        middle = self._first(self._mix.plus(mixed, x))
        inner = self._up(middle, "gelu")
        return Trace(x, mixed, middle, inner, self._second(self._down.plus(inner, middle)))


def attended(qkv: Tensor, where: list[Span], heads: int) -> Tensor:
    """(tokens, width): each text's values mixed, every head by its own weights."""
    made = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
    for start, stop, length in where:
        stacked = qkv[start:stop].view(-1, length, 3, heads, made.shape[1] // heads)
        query, key, value = stacked.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
        share = torch.bmm(query, key.transpose(1, 2)).softmax(-1)
        mixed = torch.bmm(share, value).view(-1, heads, length, made.shape[1] // heads).transpose(1, 2)
        made[start:stop].view(mixed.shape).copy_(mixed)
    return made


class Body:
    """Token lists to mean states."""

    def __init__(self, embedding: Embedding, layers: Sequence[Callable[[Tensor, list[Span]], Tensor]]) -> None:
        self._embedding, self._layers = embedding, layers

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """(texts, width) float32; the lists are sorted by length and none is empty."""
        where = spans(ids)
        x = self._embedding(ids)
        for layer in self._layers:
            x = layer(x, where)
        parts = [x[span.start : span.stop].view(-1, span.length, x.shape[1]) for span in where]
        return torch.cat([part.float().mean(1) for part in parts])
