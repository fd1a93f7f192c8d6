"""The network of SASRec in torch: imported only when it is trained or asked.

Left-aligned sequences with padding at the end: under a causal mask padding can never be seen, so no mask is needed and
batches of like length waste almost nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS = 1 << 20  # scores held at once while the loss is made: 2 MB in bfloat16, so that they stay in the cache


def dropped(x: Tensor, share: float, training: bool) -> Tensor:
    """Dropout at a resolution of 1/256, from one random byte per element: on a CPU six times faster than torch's."""
    level = round(256 * share)
    if not training or level == 0:
        return x
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    keep = (words.view(torch.uint8)[: x.numel()] >= level).to(x.dtype)
    return x * keep.mul_(256.0 / (256.0 - level)).view_as(x)


class Block(nn.Module):
    """Pre-norm causal self-attention and a feed-forward layer, (b, L, width) to the same."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, last: Tensor | None = None) -> Tensor:
        """One layer; row t sees rows up to t. With `last` (b,) only those rows are made: (b, 1, width)."""
        b, n, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if last is None:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            rows = torch.arange(b)
            x, q = x[rows, last][:, None], q[rows, :, last][:, :, None]
            seen = (torch.arange(n) <= last[:, None])[:, None, None]
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + dropped(self.out(mixed.transpose(1, 2).reshape(x.shape)), self.dropout, self.training)
        inner = dropped(F.relu(self.up(self.norm2(x))), self.dropout, self.training)
        return x + dropped(self.down(inner), self.dropout, self.training)


class Net(nn.Module):
    """Item and position embeddings, causal blocks, a last norm; scores are products with the item embeddings."""

    def __init__(
        self, n_items: int, length: int, width: int, blocks: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout, self.scale = dropout, width**0.5
        self.item, self.position = nn.Embedding(n_items, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        for table in (self.item, self.position):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, items: Tensor, last: Tensor | None = None) -> Tensor:
        """States (b, L, width) of int64 items (b, L); with `last` (b,) only the states at those places, (b, width)."""
        x = self.item(items) * self.scale + self.position.weight[: items.shape[1]]
        x = dropped(x, self.dropout, self.training)
        for i, block in enumerate(self.blocks):
            x = block(x, last if i + 1 == len(self.blocks) else None)
        made: Tensor = self.norm(x)
        return made if last is None else made[:, 0]


class CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of states (m, d) against targets (m,) over rows (v, d), chunk by chunk.

    The gradients are made in the same pass, so the (m, v) scores never exist at once: three products and one softmax.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, rows: Tensor, targets: Tensor, half: bool) -> Tensor:
        """The loss; `half` computes scores and their gradients in bfloat16, sums in float32."""
        kind = torch.bfloat16 if half else torch.float32
        table, inputs = rows.to(kind), states.to(kind)
        to_states, to_rows = torch.empty_like(states), torch.zeros_like(rows)
        loss = torch.zeros(())
        step = min(max(CELLS // max(len(rows), 1), 16), max(len(targets), 1))
        scores, shares = torch.empty((2, step, len(rows)), dtype=kind)
        for start in range(0, len(targets), step):
            state, target = inputs[start : start + step], targets[start : start + step]
            place = torch.arange(len(target))
            share = shares[: len(target)]
            torch.softmax(torch.mm(state, table.T, out=scores[: len(target)]), 1, out=share)
            loss -= share[place, target].float().clamp_min(1e-30).log().sum()
            share[place, target] -= 1.0
            to_states[start : start + step] = share @ table
            to_rows += share.T @ state
        ctx.save_for_backward(to_states / len(targets), to_rows / len(targets))
        return loss / len(targets)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradients of states and rows."""
        to_states, to_rows = ctx.saved_tensors
        return slopes[0] * to_states, slopes[0] * to_rows, None, None


def loss_of(net: Net, items: Tensor, targets: Tensor, real: Tensor, drawn: Tensor | None, half: bool) -> Tensor:
    """Cross-entropy at the real positions of a batch, over the catalog or over the target and `drawn` items (s,).

    items, targets: int64 (b, L); real: bool (b, L).
    """
    states, targets = net(items)[real], targets[real]
    if drawn is None:
        made: Tensor = CrossEntropy.apply(states, net.item.weight, targets, half)  # type: ignore[no-untyped-call]
        return made
    good = (states * net.item(targets)).sum(1, keepdim=True)
    bad = states @ net.item(drawn).T
    bad = bad.masked_fill(targets[:, None] == drawn[None, :], -torch.inf)
    scores = torch.cat([good, bad + float(torch.tensor(net.item.num_embeddings / len(drawn)).log())], 1)
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64))


def fast_half() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
