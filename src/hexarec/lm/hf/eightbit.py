"""BERT layers with 8-bit products: weights per output, inputs by fixed scales, everything between in float32.

oneDNN multiplies unsigned by signed bytes about twice as fast as bfloat16 and can scale, add, apply GELU and round in
the same pass, but only with scales that are known before the product. So they are measured once, on a few texts of
every kind (`SAMPLES`), when the model is opened; a row then depends on nothing but itself. Part of each channel's
range is moved into the weights before rounding (SmoothQuant, Xiao et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear

from hexarec.lm.hf.bert import Affine, Block, Embedding, Layer, Norm, Product, Shape, Span, Trace, attended, spans

SAMPLES = (
    "The Shawshank Redemption (1994)",
    "Toy Story: when a cowboy doll is threatened by a new spaceman figure, he plots.",
    "wireless mouse, black, 2.4 GHz",
    "A heart-warming story about people and places; set in 1950s France.",
    "重庆森林 1994",
    "sci-fi thriller",
    "The user liked: Heat (1995), Fargo (1996), Alien (1979), and The Godfather",
    "émigré naïve — “quotes”",
    "How do I return a damaged item?",
    "comedy, drama, romance",
    "$19.99 free shipping!!!",
    "The quick brown fox jumps over the lazy dog.",
    "",
)
_SHARE = 0.6  # of a channel's range stays with the input, the rest goes to the weights
_ROOM = 1.05  # codes for inputs a little larger than any seen
_RARE = 4  # inner channels whose excess is computed apart
_LEAST = 0.17  # GELU gives nothing below -0.17
_MIDDLE = 128


@dataclass(frozen=True)
class Product8:
    """A linear layer over unsigned bytes: an input is `step` times (code - zero)."""

    packed: Tensor
    scale: Tensor
    bias: Tensor
    step: float
    zero: int

    @classmethod
    def of(cls, affine: Affine, step: float, zero: int) -> Product8:
        """Its weights rounded, one scale per output."""
        scale = affine[0].abs().amax(1).clamp(min=1e-8) / 127
        codes = (affine[0] / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        return cls(torch.ops.onednn.qlinear_prepack(codes, None), scale, affine[1], step, zero)

    def __call__(self, codes: Tensor, kind: torch.dtype) -> Tensor:
        """(rows, outputs) of `kind`."""
        return self._run(codes, 1.0, 0, kind, "none")

    def gelu(self, codes: Tensor, after: Product8) -> Tensor:
        """(rows, outputs) behind GELU, as codes for the product `after`."""
        return self._run(codes, after.step, after.zero, torch.uint8, "gelu")

    def _run(self, codes: Tensor, step: float, zero: int, kind: torch.dtype, post: str) -> Tensor:
        weights = self.packed, self.scale, torch.zeros_like(self.scale, dtype=torch.int32), self.bias
        made: Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, self.step, self.zero, *weights, step, zero, kind, post, [], "none"
        )
        return made

    def plus(self, codes: Tensor, other: Tensor) -> Tensor:
        """The product and `other`, in float32."""
        zeros = torch.zeros_like(self.scale, dtype=torch.int32)
        start = codes, self.step, self.zero, self.packed, self.scale, zeros, other, self.bias
        made: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            *start, 1.0, 0, torch.float32, 1.0, 0, "add", 1.0, "none", [], ""
        )
        return made


class Smooth:
    """A linear layer that rounds its own float32 inputs, each channel by its own scale."""

    def __init__(self, affine: Affine, seen: Tensor) -> None:
        largest = seen.abs().amax(0)
        largest = largest.clamp(min=float(largest.max()) / 20)
        own = largest**_SHARE * affine[0].abs().amax(0).clamp(min=1e-5) ** (_SHARE - 1)
        self._times = 127 / (own * float((seen.abs() / own).max()) * _ROOM)
        self._half = torch.tensor(_MIDDLE + 0.5)  # a cast cuts, so half a code is added
        self.product = Product8.of((affine[0] / self._times, affine[1]), 1.0, _MIDDLE)

    def codes(self, x: Tensor) -> Tensor:
        """(rows, inputs) unsigned bytes."""
        return torch.addcmul(self._half, x.float(), self._times).clamp_(0, 255).to(torch.uint8)


class Down8:
    """The product behind GELU. One or two inner channels reach several times what the others do and would take most of
    the codes: what the largest have above the last code is computed in float32 and added."""

    def __init__(self, block: Block, seen: Tensor) -> None:
        large = seen.amax(0).argsort(descending=True)
        rare, usual = large[:_RARE], large[_RARE:]
        self._enter = block.up[0][rare], block.up[1][rare]
        self._leave = block.down[0][:, rare].T.contiguous()
        self._top = max(float(seen[:, usual].max()) * _ROOM, _LEAST)
        step = (self._top + _LEAST) / 255
        self.product = Product8.of(block.down, step, round(_LEAST / step))

    def plus(self, codes: Tensor, x: Tensor) -> Tensor:
        """The product and `x`, which the codes were made of."""
        over = gelu(linear(x, *self._enter)).sub_(self._top).clamp_(min=0)
        return self.product.plus(codes, torch.addmm(x, over, self._leave))


class Layer8:
    """One layer with 8-bit products but for the one behind attention, which costs more agreement than it saves time.

    Attention is in bfloat16, sums and norms in float32.
    """

    def __init__(self, block: Block, shape: Shape, seen: Trace) -> None:
        self._heads = shape.heads
        self._qkv, self._up = Smooth(block.qkv, seen.entry), Smooth(block.up, seen.middle)
        self._mix, self._down = Product(block.mix, torch.bfloat16), Down8(block, seen.inner)
        self._first, self._second = (Norm(norm, shape.eps, torch.float32) for norm in block.norms)

    def __call__(self, x: Tensor, where: list[Span]) -> Tensor:
        """(tokens, width) to the same."""
        qkv = self._qkv.product(self._qkv.codes(x), torch.bfloat16)
        x = self._first(x + self._mix(attended(qkv, where, self._heads)))
        inner = self._up.product.gelu(self._up.codes(x), self._down.product)
        return self._second(self._down.plus(inner, x))


def layers8(blocks: Sequence[Block], shape: Shape, embedding: Embedding, ids: Sequence[Sequence[int]]) -> list[Layer8]:
    """The layers in 8 bits, their scales measured in float32 on the token lists `ids`."""
    ids = sorted(ids, key=len)
    x, made = embedding(ids), []
    for block in blocks:
        seen = Layer(block, shape, torch.float32).traced(x, spans(ids))
        made.append(Layer8(block, shape, seen))
        x = seen.output
    return made


def exact() -> bool:
    """Whether this build and processor multiply bytes without a loss: some sum in 16 bits and overflow."""
    rows, weight = torch.full((16, 64), 255, dtype=torch.uint8), torch.full((16, 64), 127.0)
    try:
        made = Product8.of((weight, torch.zeros(16)), 1.0, 0)(rows, torch.float32)
    except (RuntimeError, AttributeError):
        return False
    return bool(torch.allclose(made, torch.full((16, 16), 255.0 * 127 * 64), rtol=1e-6))
