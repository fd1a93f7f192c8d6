"""The output layer, read only where a score is read: the columns that are wanted, and the log-sum of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hexarec.lm.hf.linear import packable

COLUMNS = 8192  # a block of logits of some hundred rows stays in the cache until its sum is taken


class Head:
    """The unembedding of a model: (vocabulary, d) weights, a block of columns at a time."""

    def __init__(self, model: Any) -> None:
        layer = model.get_output_embeddings()
        self.weight: Tensor = layer.weight.detach()
        self.bias: Tensor | None = None if layer.bias is None else layer.bias.detach()
        self._blocks: list[Tensor] = []
        if self.weight.device.type == "cpu" and packable():
            parts = [self.weight[at : at + COLUMNS] for at in range(0, len(self.weight), COLUMNS)]
            self._blocks = [torch.ops.mkldnn._reorder_linear_weight(part.contiguous(), 256) for part in parts]

    @torch.no_grad()
    def logits(self, states: Tensor) -> Tensor:
        """(n, vocabulary) float32 logits of (n, d) states."""
        return torch.cat([self._block(states, at).float() for at in range(self._count)], -1)

    @torch.no_grad()
    def columns(self, states: Tensor, wanted: Tensor) -> Tensor:
        """(n, m) float32 logits: of the same m tokens for every row, or of row i's own where `wanted` is (n, m)."""
        weight = self.weight[wanted]
        if wanted.dim() == 1:
            made = states.float() @ weight.float().T
        else:
            made = (weight.float() @ states.float()[..., None])[..., 0]
        return made if self.bias is None else made + self.bias[wanted].float()

    @torch.no_grad()
    def log_sums(self, states: Tensor, rows: int = 256) -> Tensor:
        """(n,) float32 log-sum-exp over the whole vocabulary of each row's logits."""
        parts = [self._log_sums(states[at : at + rows]) for at in range(0, len(states), rows)]
        return torch.cat(parts) if parts else states.new_zeros(0, dtype=torch.float32)

    def _log_sums(self, states: Tensor) -> Tensor:
        sums = torch.stack([_log_sum(self._block(states, at)) for at in range(self._count)])
        return torch.logsumexp(sums, 0)

    @property
    def _count(self) -> int:
        return -(-len(self.weight) // COLUMNS)

    def _block(self, states: Tensor, at: int) -> Tensor:
        part = slice(at * COLUMNS, (at + 1) * COLUMNS)
        if self._blocks:
            bias = None if self.bias is None else self.bias[part]
            made: Tensor = torch.ops.mkldnn._linear_pointwise(states, self._blocks[at], bias, "none", [], "")
            return made
        bias = None if self.bias is None else self.bias[part]
        return torch.nn.functional.linear(states, self.weight[part], bias)


def _log_sum(logits: Tensor) -> Tensor:
    """One pass: the log-softmax of one column tells the sum of all."""
    made = torch.log_softmax(logits, -1, dtype=torch.float32)
    return logits[:, 0].float() - made[:, 0]
