"""Linear layers for inference on a CPU: weights laid out once for the fast product, or quantised to 8 bits.

The default float32 product of torch asks a library that does not know every processor's wide registers; oneDNN does,
and is quickest with weights in its own blocked layout. An int8 layer quantises its weights per output and its inputs
per token, both symmetric; a scale per tensor would ruin the order of candidates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_ROWS = 1024  # the number of rows that the layout is made for; others work too


class Packed(nn.Linear):
    """A frozen linear layer whose product uses weights in oneDNN's layout; with gradients it is a plain one."""

    _packed: Tensor

    @classmethod
    def of(cls, layer: nn.Linear) -> Packed:
        """The same layer, sharing its weights."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.in_features, made.out_features = layer.in_features, layer.out_features
        made.weight, made.bias = layer.weight, layer.bias
        made._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if torch.is_grad_enabled():
            return linear(input, self.weight, self.bias)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(input, self._packed, self.bias, "none", [], "")
        return made


class Int8(nn.Linear):
    """A frozen linear layer with 8-bit weights (per output) and inputs (per token), summed in 32 bits."""

    _codes: Tensor
    _scale: Tensor

    @classmethod
    def of(cls, layer: nn.Linear) -> Int8:
        """The same layer, its weights rounded."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.in_features, made.out_features = layer.in_features, layer.out_features
        made.weight, made.bias = layer.weight, layer.bias
        made._codes, made._scale = _codes(layer.weight.detach())
        return made

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if torch.is_grad_enabled():
            return linear(input, self.weight, self.bias)
        codes, scale = _codes(input.reshape(-1, self.in_features))
        made = torch._int_mm(codes, self._codes.T).float().mul_(scale).mul_(self._scale.T)
        if self.bias is not None:
            made += self.bias
        return made.to(input.dtype).view(*input.shape[:-1], self.out_features)


def _codes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(n, d) rows as int8 codes and (n, 1) scales; in float32, since bfloat16 would round 127 up to 128."""
    rows = rows.float()
    scale = rows.abs().amax(1, keepdim=True).clamp_(min=1e-8).div_(127.0)
    return (rows / scale).round_().clamp_(-127, 127).to(torch.int8), scale


def prepare(model: Any, kind: str) -> int:
    """Replace the linear layers inside a model's body, in place: `packed`, or `int8`. The number of int8 ones.

    An output of a block (`o_proj`, `down_proj`, `c_proj`) stays in bfloat16 under int8: its inputs have the widest
    range, and their rounding costs most of the agreement in rank.
    """
    rounded = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is not nn.Linear:
                continue
            whole = kind == "int8" and name not in ("o_proj", "down_proj", "c_proj", "dense")
            setattr(parent, name, Int8.of(layer) if whole else Packed.of(layer))
            rounded += whole
    return rounded


def fuse(model: Any) -> None:
    """Let a body's gated blocks and norms, where they are of the usual kind, run as fewer passes over memory.

    Only what is computed the same way is touched: `down(silu(gate(x)) * up(x))` and a root-mean-square norm.
    """
    for module in model.modules():
        names = {name for name, _ in module.named_children()}
        act = getattr(module, "act_fn", None)
        if {"gate_proj", "up_proj", "down_proj"} <= names and type(act).__name__ in ("SiLU", "SiLUActivation"):
            module.forward = _Gated(module, module.forward)
        elif type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            if type(module).__name__ in _NORMS:
                module.forward = _Norm(module)


_NORMS = ("LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "MistralRMSNorm")


class _Gated:
    """The gated block in two fused products and one plain one; the module's own way with gradients or adapters."""

    def __init__(self, module: Any, usual: Any) -> None:
        self.module, self.usual = module, usual

    def __call__(self, x: Tensor) -> Tensor:
        gate, up = self.module.gate_proj, self.module.up_proj
        if torch.is_grad_enabled() or type(gate) is not Packed or type(up) is not Packed:
            made: Tensor = self.usual(x)
            return made
        gated = torch.ops.mkldnn._linear_pointwise(x, gate._packed, gate.bias, "swish", [], "")
        both = torch.ops.mkldnn._linear_pointwise.binary(x, gated, up._packed, up.bias, "mul")
        made = self.module.down_proj(both)
        return made


class _Norm:
    """The root-mean-square norm as one call."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        module = self.module
        return torch.nn.functional.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)


def packable() -> bool:
    """Whether this build of torch can lay weights out for its CPU product."""
    try:
        weight = torch.ones(32, 32)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 4)
        made = torch.ops.mkldnn._linear_pointwise(torch.ones(4, 32), packed, None, "none", [], "")
    except (RuntimeError, AttributeError):
        return False
    return bool(torch.equal(made, torch.full((4, 32), 32.0)))
