"""The prompts of one forward side by side: one product for all, where starting a kernel costs more than its work.

A GPU runs the products of a hundred short prompts in the time that a processor needs to start them one by one. So the
prompts stand beside each other in a block as wide as the longest, and what lies beyond a prompt's end is masked or not
read. Only prompts that begin at nothing can stand so; a block that would be mostly padding is left to the loop over
prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hexarec.lm.hf.attention import Span

WASTE = 2.5  # places of a block for each token in it, at most
SCORES = 2**28  # numbers that are held at a time

Longs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Together:
    """Where the tokens of all prompts stand. The fresh tokens are the flat row's first, the nodes follow.

    fresh: (b, n) row of each place, places beyond an end that of the first token. back: (tokens,) place of each fresh
    token in the flattened block. beyond: (b, n) bool. nodes, nodes_back: the same for what stands behind the prompts.
    """

    lengths: list[int]
    fresh: Tensor
    back: Tensor
    beyond: Tensor
    nodes: Tensor
    nodes_back: Tensor

    @classmethod
    def of(cls, spans: Sequence[Span], device: torch.device) -> Together | None:
        """None where the prompts are not several, one has a past, or the block would be mostly padding."""
        fresh = np.array([span.fresh.stop - span.fresh.start for span in spans])
        nodes = np.array([span.nodes.stop - span.nodes.start for span in spans])
        if len(spans) < 2 or not fresh.all() or any(span.prefix.length for span in spans):
            return None
        if wasteful(fresh) or wasteful(nodes):
            return None
        own, back = block(fresh, 0)
        behind, behind_back = block(nodes, int(fresh.sum()))
        beyond = np.arange(own.shape[1])[None] >= fresh[:, None]
        return cls(
            fresh.tolist(), *(torch.from_numpy(one).to(device) for one in (own, back, beyond, behind, behind_back))
        )

    def attend(
        self, layer: int, spans: Sequence[Span], rows: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor,
        scale: float,
    ) -> None:  # fmt: skip
        """Fill `out` (t, heads, d) from the rows of queries, keys and values; prefixes take their part of the block."""
        q, k, v = rows
        keys, values = (placed(one, self.fresh).contiguous() for one in (k, v))
        for i, (span, length) in enumerate(zip(spans, self.lengths, strict=True)):
            span.prefix.keys[layer], span.prefix.values[layer] = keys[i, :, :length], values[i, :, :length]
            span.prefix.lent = True
        shared = len(q) // len(k)
        made = scaled_dot_product_attention(
            placed(q, self.fresh), repeated(keys, shared), repeated(values, shared), is_causal=True, scale=scale
        )
        first = len(self.back)
        out[:first] = flat(made)[self.back]
        if self.nodes.shape[1]:
            out[first:] = flat(self._behind(q * scale, keys, values, out, sums))[self.nodes_back]

    def _behind(self, q: Tensor, keys: Tensor, values: Tensor, local: Tensor, sums: Tensor) -> Tensor:
        """(b, heads, m, d) of the nodes: all keys of their prompt, joined with what they saw of their own branch."""
        b, kv, n, _ = keys.shape
        step = max(1, SCORES // (b * len(q) * n))
        return torch.cat(
            [
                self._joined(q, keys.flatten(0, 1), values.flatten(0, 1), local, sums, self.nodes[:, at : at + step])
                for at in range(0, self.nodes.shape[1], step)
            ],
            2,
        )

    def _joined(self, q: Tensor, keys: Tensor, values: Tensor, local: Tensor, sums: Tensor, nodes: Tensor) -> Tensor:
        heads, size = len(q), q.shape[2]
        (b, m), n = nodes.shape, keys.shape[1]
        queries = placed(q, nodes).reshape(len(keys), -1, size)
        scores = torch.bmm(queries, keys.transpose(1, 2)).float()
        scores.view(b, -1, n).masked_fill_(self.beyond[:, None], -torch.inf)
        weight = sums[nodes].transpose(1, 2).reshape(len(keys), -1, 1)
        odds = torch.softmax(torch.cat([scores, weight], -1), -1).to(q.dtype)
        seen = local[nodes].transpose(1, 2).reshape(queries.shape)
        made = torch.addcmul(torch.bmm(odds[..., :-1], values), odds[..., -1:], seen)
        return made.view(b, heads, m, size)


def wasteful(sizes: Longs) -> bool:
    """Whether a block of sequences of these lengths would be mostly padding."""
    return len(sizes) * int(sizes.max(initial=0)) > WASTE * int(sizes.sum())


def block(sizes: Longs, start: int = 0) -> tuple[Longs, Longs]:
    """(b, n) the rows of sequences that follow each other from `start`, and the place of each row in it, flattened."""
    width = int(sizes.max(initial=0))
    places, real = np.arange(width)[None], np.arange(width)[None] < sizes[:, None]
    begin = (start + np.cumsum(sizes) - sizes)[:, None]
    return np.where(real, begin + places, start), np.flatnonzero(real)


def placed(rows: Tensor, places: Tensor) -> Tensor:
    """(heads, t, d) rows as (b, heads, n, d)."""
    return rows.transpose(0, 1)[places].transpose(1, 2)


def flat(made: Tensor) -> Tensor:
    """(b, heads, n, d) as (b n, heads, d)."""
    return made.transpose(1, 2).flatten(0, 1)


def repeated(shared: Tensor, times: int) -> Tensor:
    """(b, kv, n, d) with each head as often as its group has queries: (b, kv times, n, d)."""
    b, kv, n, size = shared.shape
    return shared[:, :, None].expand(b, kv, times, n, size).reshape(b, kv * times, n, size)
