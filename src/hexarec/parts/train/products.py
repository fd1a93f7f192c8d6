"""Products with frozen weights by oneDNN: on many CPUs faster than torch's own choice for float32.

A frozen layer needs no gradient of its weight, so its backward pass is one product more, with the weight as it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode


class _Product(torch.autograd.Function):
    """x W^T + b with a gradient for x only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return torch.ops.mkldnn._linear_pointwise(grads[0], weight.t(), None, "none", [], ""), None, None


class _Products(TorchFunctionMode):
    """Sends linear layers with a frozen float32 weight to oneDNN; everything else goes its way."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is linear and not kwargs and frozen(args[0], args[1]):
            return _Product.apply(*args, *[None] * (3 - len(args)))  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def frozen(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is one that oneDNN should make."""
    return weight.dtype == x.dtype == torch.float32 and not weight.requires_grad and x.device.type == "cpu"


def quick() -> AbstractContextManager[Any]:
    """With products by oneDNN, where this build of torch has them."""
    return _Products() if _there() else nullcontext()


@cache
def _there() -> bool:
    try:
        one = torch.ones(2, 2)
        return bool(torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "").eq(2).all())
    except (AttributeError, RuntimeError):
        return False
