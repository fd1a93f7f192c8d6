"""The prompts of one forward in a padded block: one product for all, where starting a kernel costs more than its work.

A GPU runs the products of a hundred short prompts in the time that a processor needs to start them one by one. So the
prompts stand beside each other in a block as wide as the longest, and what lies beyond a prompt's end is masked or not
read. Only prompts that begin at nothing can stand so; a block that would be mostly padding is left to the loop over
prompts. Padding repeats the first row of its own prompt, so that nothing of one prompt meets another's numbers.
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
SCORES = 2**26  # scores that are made at a time: a gigabyte with their copies

Longs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Padded:
    """Where the tokens of several prompts stand in the flat row.

    fresh: (b, n) row of each place. back: (tokens,) places that hold a token, in the flattened block. beyond: (b, n)
    bool, places without one. nodes, nodes_back: the same for what stands behind the prompts.
    """

    spans: Sequence[Span]
    fresh: Tensor
    back: Tensor
    beyond: Tensor
    nodes: Tensor
    nodes_back: Tensor

    @classmethod
    def of(cls, spans: Sequence[Span], device: torch.device) -> Padded | None:
        """None where the prompts are not several, one has a past, or the block would be mostly padding."""
        if len(spans) < 2 or not all(fresh(span) for span in spans):
            return None
        own, behind = ([getattr(span, name) for span in spans] for name in ("fresh", "nodes"))
        sizes, more = (np.array([one.stop - one.start for one in rows]) for rows in (own, behind))
        if wasteful(sizes) or wasteful(more):
            return None
        rows, back = block(sizes, np.array([one.start for one in own]))
        nodes, nodes_back = block(more, np.array([one.start for one in behind]))
        beyond = np.arange(rows.shape[1])[None] >= sizes[:, None]
        return cls(spans, *(torch.from_numpy(one).to(device) for one in (rows, back, beyond, nodes, nodes_back)))

    def attend(self, layer: int, rows: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor, scale: float) -> None:
        """Fill `out` (t, heads, d) from the rows of queries, keys and values; prefixes take their part of the block."""
        q, k, v = rows
        keys, values = (placed(one, self.fresh).contiguous() for one in (k, v))
        for i, span in enumerate(self.spans):
            length = span.fresh.stop - span.fresh.start
            span.prefix.keys[layer], span.prefix.values[layer] = keys[i, :, :length], values[i, :, :length]
            span.prefix.lent = True
        shared = len(q) // len(k)
        made = scaled_dot_product_attention(
            placed(q, self.fresh), repeated(keys, shared), repeated(values, shared), is_causal=True, scale=scale
        )
        out[self.fresh.flatten()[self.back]] = flat(made)[self.back]
        if self.nodes.shape[1]:
            behind = flat(self._behind(q * scale, keys, values, out, sums))
            out[self.nodes.flatten()[self.nodes_back]] = behind[self.nodes_back]

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


def fresh(span: Span) -> bool:
    """Whether a prompt begins at nothing here."""
    return not span.prefix.length and span.fresh.stop > span.fresh.start


def wasteful(sizes: Longs) -> bool:
    """Whether a block of sequences of these lengths would be mostly padding."""
    return len(sizes) * int(sizes.max(initial=0)) > WASTE * int(sizes.sum())


def block(sizes: Longs, starts: Longs) -> tuple[Longs, Longs]:
    """(b, n) the rows of sequences that begin at `starts`, and the places that hold one, in the flattened block.

    A place beyond a sequence's end holds its first row; of an empty sequence, that of row 0.
    """
    places = np.arange(int(sizes.max(initial=0)))[None]
    real = places < sizes[:, None]
    first = np.where(sizes > 0, starts, 0)[:, None]
    return np.where(real, first + places, first), np.flatnonzero(real)


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
