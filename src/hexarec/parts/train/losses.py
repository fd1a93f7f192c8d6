"""Losses on the states that predict an answer: log-probabilities of tokens, and of labels only.

The output layer is frozen, so the gradient of a token's log-probability is made together with it, some rows at a time:
the logits of all rows never exist at once, and the backward pass multiplies by one number a row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear

ROWS = 128  # rows of logits at a time: 25 MB at a vocabulary of 49,152


class _Frozen(torch.autograd.Function):
    """Log-probabilities (m,) of targets under a frozen output layer, with their gradients by the states (m, d)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        made = torch.empty(len(states), dtype=torch.float32, device=states.device)
        slopes = torch.empty_like(states)
        for start in range(0, len(states), ROWS):
            own = slice(start, start + ROWS)
            odds = torch.log_softmax(linear(states[own], weight, bias).float(), 1)
            places = torch.arange(len(odds), device=odds.device), targets[own]
            made[own] = odds[places]
            odds.exp_().neg_()
            odds[places] += 1.0
            slopes[own] = odds.to(weight.dtype) @ weight
        ctx.save_for_backward(slopes)
        return made

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (grad[0][:, None] * slopes).to(slopes.dtype), None, None, None


def log_probs(head: nn.Module, states: Tensor, targets: Tensor) -> Tensor:
    """float32 (m,): the log-probability of each target under an output layer over the (m, d) states."""
    if isinstance(head, nn.Linear) and not any(one.requires_grad for one in head.parameters()):
        made: Tensor = _Frozen.apply(states, head.weight, head.bias, targets)  # type: ignore[no-untyped-call]
        return made
    return -cross_entropy(head(states).float(), targets, reduction="none")


def label_logits(head: nn.Linear, states: Tensor, labels: Tensor) -> Tensor:
    """float32 (m, n_labels): the logits of (m, n_labels) token ids, only whose columns are computed."""
    made = torch.einsum("md,mld->ml", states, head.weight[labels]).float()
    return made if head.bias is None else made + head.bias[labels]


def over_labels(logits: Tensor, truth: Tensor) -> Tensor:
    """(m,) cross-entropy over the labels alone; `truth` int64 (m,). For two labels it is the BCE of their difference.

    Source: the score of TALLRec (arXiv:2305.00447) is this softmax.
    """
    return cross_entropy(logits, truth, reduction="none")


def first_label(logits: Tensor, truth: Tensor) -> Tensor:
    """(m,) binary cross-entropy of the first label's logit by itself, true where `truth` is 0.

    Source: CoLLM, arXiv:2310.19488.
    """
    return binary_cross_entropy_with_logits(logits[:, 0], (truth == 0).float(), reduction="none")
