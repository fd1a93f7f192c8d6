"""One token more for many answers at once, whose keys and values lie in one block: the companion of `padded`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hexarec.lm.hf.attention import Block, Group, Prefix, Span
from hexarec.lm.hf.padded import Padded, fresh, wasteful


def worth(prefixes: Sequence[Prefix]) -> bool:
    """Whether prefixes are several and of lengths that fill a block."""
    return len(prefixes) > 1 and not wasteful(np.array([prefix.length for prefix in prefixes]))


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
    """Which prompts of a block go on with one token each. rows, at, past: int64 (b,) row in the forward, place in the
    block, tokens before this one. whole: whether `at` is all of the block in order."""

    block: Block
    rows: Tensor
    at: Tensor
    past: Tensor
    most: int
    whole: bool

    @classmethod
    def of(cls, spans: Sequence[Span], device: torch.device) -> Steps | None:
        """None where the spans are anything but one token behind each of several prefixes of the same block."""
        places = [span.prefix.place for span in spans if span.prefix.place is not None]
        if len(spans) < 2 or len(places) < len(spans) or any(block is not places[0][0] for block, _ in places):
            return None
        past = [span.prefix.length for span in spans]
        sizes = {(span.fresh.stop - span.fresh.start, span.nodes.stop - span.nodes.start) for span in spans}
        block = places[0][0]
        count, _, width, _ = block.keys[0].shape
        if sizes != {(1, 0)} or max(past) >= width:
            return None
        at = [place for _, place in places]
        rows, going, before = (
            torch.tensor(one, device=device) for one in ([span.fresh.start for span in spans], at, past)
        )
        return cls(block, rows, going, before, max(past) + 1, at == list(range(count)))

    def attend(self, layer: int, rows: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor, scale: float) -> None:
        """Put the new keys and values into the block and fill the own rows of `out` (t, heads, d)."""
        q, k, v = (one[:, self.rows].transpose(0, 1) for one in rows)
        keys, values = self.block.keys[layer], self.block.values[layer]
        keys[self.at, :, self.past], values[self.at, :, self.past] = k, v
        keys, values = (
            one[:, :, : self.most] if self.whole else one[self.at, :, : self.most] for one in (keys, values)
        )
        b, kv, _, size = keys.shape
        scores = torch.matmul(q.reshape(b, kv, -1, size) * scale, keys.transpose(2, 3)).float()
        beyond = torch.arange(self.most, device=q.device) > self.past[:, None]
        odds = torch.softmax(scores.masked_fill_(beyond[:, None, None], -torch.inf), -1).to(q.dtype)
        out[self.rows] = torch.matmul(odds, values).view(b, -1, size)


def groups(spans: Sequence[Span], device: torch.device) -> tuple[list[Group], set[int]]:
    """Which spans are one product: those that begin at nothing, and those of each block; and the numbers of them."""
    sets: dict[int, list[int]] = {}
    for n, span in enumerate(spans):
        if fresh(span):
            sets.setdefault(0, []).append(n)
        elif span.prefix.place is not None:
            sets.setdefault(id(span.prefix.place[0]), []).append(n)
    made: list[Group] = []
    inside: set[int] = set()
    for name, numbers in sets.items():
        own = [spans[n] for n in numbers]
        group = Steps.of(own, device) if name else Padded.of(own, device)
        if group is not None:
            made.append(group)
            inside.update(numbers)
    return made, inside
