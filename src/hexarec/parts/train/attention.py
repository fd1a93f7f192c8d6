"""Causal attention of short sequences that lie one behind the other in a row, with its gradients written out.

torch's CPU kernel makes the gradient of a short sequence slowly, in bfloat16 at a tenth of what a matrix product does
there. Here every step is a product over all heads of a key: the queries of a group are further rows of one matrix, so
nothing is repeated, and the gradients of a group's shared keys add up by themselves. Results are written straight into
the row. The odds are kept for the backward pass: heads x length^2 numbers a sequence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Segmented(torch.autograd.Function):
    """(heads, t, size) queries, (kv heads, t, size) keys and values to (t, heads, size).

    lengths: of the sequences in the row, which add up to t. scale: of the scores.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: list[int], scale: float) -> Tensor:
        """The outputs; odds are kept."""
        out = q.new_empty(q.shape[1], q.shape[0], q.shape[2])
        odds, groups = [], q.shape[0] // k.shape[0]
        for own in _slices(lengths):
            rows = _fold(q[:, own], k.shape[0]) * scale
            scores = torch.bmm(rows, k[:, own].transpose(1, 2)).add_(_causal(q, own, groups))
            share = torch.softmax(scores, -1)
            out[own] = torch.bmm(share, v[:, own]).view(q.shape[0], -1, q.shape[2]).transpose(0, 1)
            odds.append(share)
        ctx.save_for_backward(q, k, v, out, *odds)
        ctx.lengths, ctx.scale = lengths, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The gradients of queries, keys and values."""
        q, k, v, out, *odds = ctx.saved_tensors
        to_q, to_k, to_v = (torch.empty_like(one) for one in (q, k, v))
        slopes, kv = grads[0].transpose(0, 1), k.shape[0]
        # the part of each row of odds that cancels, since odds add up to one
        level = (grads[0].float() * out).sum(-1).to(q.dtype).t()
        for own, share in zip(_slices(ctx.lengths), odds, strict=True):
            slope = _fold(slopes[:, own], kv)
            torch.bmm(share.transpose(1, 2), slope, out=to_v[:, own])
            inner = torch.bmm(slope, v[:, own].transpose(1, 2)).sub_(level[:, own].reshape(kv, -1, 1)).mul_(share)
            to_q[:, own] = torch.bmm(inner, k[:, own] * ctx.scale).view(q.shape[0], -1, q.shape[2])
            torch.bmm(inner.transpose(1, 2), _fold(q[:, own], kv) * ctx.scale, out=to_k[:, own])
        return to_q, to_k, to_v, None, None


def _slices(lengths: list[int]) -> list[slice]:
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _fold(rows: Tensor, kv: int) -> Tensor:
    """(heads, n, size) as (kv heads, heads of a group x n, size)."""
    return rows.reshape(kv, -1, rows.shape[2])


def _causal(like: Tensor, own: slice, groups: int) -> Tensor:
    """(groups x n, n) of what is added to the scores of each head of a group: nothing, or minus infinity."""
    n = own.stop - own.start
    return torch.full((n, n), -torch.inf, dtype=like.dtype, device=like.device).triu_(1).repeat(groups, 1)
