"""One token more for many answers at once, whose keys and values lie in one block: the companion of `together`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hexarec.lm.hf.attention import Block, Prefix, Span


def gather(prefixes: Sequence[Prefix], room: int) -> Block:
    """Move prefixes into one block with room for so many tokens behind the longest; each goes on as a part of it."""
    width = max(prefix.length for prefix in prefixes) + room
    block = Block()
    for layer in range(len(prefixes[0].keys)):
        for n, made in enumerate((block.keys, block.values)):
            parts = [prefix.layer(layer)[n] for prefix in prefixes]
            heads, _, size = parts[0].shape
            # nothing times a weight of zero must stay nothing
            made.append(parts[0].new_zeros(len(parts), heads, width, size))
            for i, part in enumerate(parts):
                made[-1][i, :, : part.shape[1]] = part
    for i, prefix in enumerate(prefixes):
        prefix.keys, prefix.values = [one[i] for one in block.keys], [one[i] for one in block.values]
        prefix.lent, prefix.place = True, (block, i)
    return block


@dataclass(frozen=True, eq=False)
class Steps:
    """Which rows of a block go on, and how many tokens each has before this one. at, past: int64 (b,)."""

    block: Block
    at: Tensor
    past: Tensor
    most: int

    @classmethod
    def of(cls, spans: Sequence[Span], device: torch.device) -> Steps | None:
        """None where the spans are anything but one token behind each of several prefixes of the same block."""
        places = [span.prefix.place for span in spans]
        if len(spans) < 2 or any(place is None or place[0] is not places[0][0] for place in places):  # type: ignore[index]
            return None
        past = [span.prefix.length for span in spans]
        sizes = {(span.fresh.stop - span.fresh.start, span.nodes.stop - span.nodes.start) for span in spans}
        block: Block = places[0][0]  # type: ignore[index]
        if sizes != {(1, 0)} or max(past) >= block.keys[0].shape[2]:
            return None
        at = torch.tensor([place[1] for place in places], device=device)  # type: ignore[index]
        return cls(block, at, torch.tensor(past, device=device), max(past) + 1)

    def attend(
        self, layer: int, spans: Sequence[Span], rows: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor,
        scale: float,
    ) -> None:  # fmt: skip
        """Put the new keys and values into the block and fill `out` (b, heads, d)."""
        q, k, v = rows
        keys, values = self.block.keys[layer], self.block.values[layer]
        keys[self.at, :, self.past], values[self.at, :, self.past] = k.transpose(0, 1), v.transpose(0, 1)
        keys, values = keys[self.at, :, : self.most], values[self.at, :, : self.most]
        b, kv, _, size = keys.shape
        scores = torch.matmul(q.transpose(0, 1).reshape(b, kv, -1, size) * scale, keys.transpose(2, 3)).float()
        beyond = torch.arange(self.most, device=q.device) > self.past[:, None]
        odds = torch.softmax(scores.masked_fill_(beyond[:, None, None], -torch.inf), -1).to(q.dtype)
        out[:] = torch.matmul(odds, values).view(b, -1, size)
