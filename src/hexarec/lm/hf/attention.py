"""Attention over one flat row of tokens: each prompt's prefix once, candidates behind it, no dense mask.

A row of tokens holds the fresh prefix tokens of all prompts and then all their candidate nodes. A fresh token sees the
prompt's tokens before it. A node sees its prompt's whole prefix, without a mask, and the few nodes of its own branch;
the two parts are merged by their log-sum-exps, as Hydragen (arXiv:2402.05099) and cascade attention do. It is given to
transformers as an attention function, so any decoder whose layers take one works unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hexarec.core.errors import ModelError

NAME = "hexarec"
_CHUNK = 1024  # rows whose scores stay in the cache


@dataclass(eq=False)
class Block:
    """Keys and values of several prompts in one piece, layer by layer: (prompts, kv heads, n, head size) each."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


class Prefix:
    """Keys and values of one prompt's tokens, layer by layer: (kv heads, n, head size) each, in growing buffers."""

    def __init__(self, layers: int, room: int = 0) -> None:
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers
        self.room, self.length = room, 0
        self.lent = False
        """Whether the memory is part of a block that other prompts stand in."""
        self.place: tuple[Block, int] | None = None
        """The block and the row in it, where the prompts of a block go on together."""

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values) if t is not None)

    def add(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new tokens to a layer and return all of it, new ones last."""
        n = self.length
        total = n + key.shape[1]
        keys, values = self.keys[layer], self.values[layer]
        if keys is None or values is None or keys.shape[1] < total:
            wanted = total + (self.room if n or self.room else 0)
            keys, values = _grown(keys, key, n, wanted), _grown(values, value, n, wanted)
            self.lent, self.place = False, None
            self.keys[layer], self.values[layer] = keys, values
        keys[:, n:total], values[:, n:total] = key, value
        return keys[:, :total], values[:, :total]

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer."""
        keys, values = self.keys[layer], self.values[layer]
        assert keys is not None and values is not None
        return keys[:, : self.length], values[:, : self.length]

    def head(self, length: int) -> Prefix:
        """The first `length` tokens, sharing memory; what is added to it goes to memory of its own."""
        cut = Prefix(len(self.keys), self.room)
        cut.keys = [None if t is None else t[:, :length] for t in self.keys]
        cut.values = [None if t is None else t[:, :length] for t in self.values]
        cut.length, cut.lent = length, self.lent
        return cut

    def own(self) -> Prefix:
        """All tokens in memory that no other prompt holds on to."""
        made = self.head(self.length)
        if self.lent:
            made.keys = [None if t is None else t.clone() for t in made.keys]
            made.values = [None if t is None else t.clone() for t in made.values]
            made.lent = False
        return made


def _grown(old: Tensor | None, like: Tensor, length: int, wanted: int) -> Tensor:
    made = like.new_empty(like.shape[0], wanted, like.shape[2])
    if old is not None and length:
        made[:, :length] = old[:, :length]
    return made


@dataclass(eq=False)
class Branches:
    """The nodes of one request behind its prefixes. `rows`: places of the nodes in the flat row, a slice.

    queries: (b, q) node numbers of this forward; keys: (b, w) node numbers counted from the pool's first; sees:
    (b, q, w) bool. `pool` keeps the keys and values of nodes of earlier forwards, which come before this one's.
    """

    rows: slice
    queries: Tensor
    keys: Tensor
    sees: Tensor
    spread: Tensor
    """(nodes,) where each node stands in the flattened (b, q): the way back."""
    pool: Prefix | None = None


@dataclass(eq=False)
class Span:
    """One prompt in a forward: its tokens so far, the rows of its fresh ones and those of the nodes behind it."""

    prefix: Prefix
    fresh: slice
    nodes: slice


class Group(Protocol):
    """Several spans whose attention is one product: see `padded` and `stepping`."""

    def attend(self, layer: int, rows: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor, scale: float) -> None:
        """Fill the rows of `out` (t, heads, d) that belong to the group, from those of queries, keys and values."""


@dataclass(eq=False)
class Plan:
    """What stands where in the flat row, and what the attention of every layer must do with it.

    spans: all prompts in order; those of no group are gone through one by one, `single`.
    """

    spans: list[Span] = field(default_factory=list)
    branches: list[Branches] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    grouped: set[int] = field(default_factory=set)
    """Numbers of the spans that stand in a group."""

    @property
    def single(self) -> list[Span]:
        """The spans of no group."""
        return [span for n, span in enumerate(self.spans) if n not in self.grouped]


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    plan: Plan | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention of one layer for a `plan`: (1, heads, t, d) queries to (1, t, heads, d) outputs.

    Raises ValueError without a plan, since it serves the engine only, and ModelError for a model whose scores are
    capped or have sinks.
    """
    if plan is None:
        raise ValueError("this attention needs the engine's plan")
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise ModelError("the packed path knows no capped scores and no sinks")
    layer: int = module.layer_idx
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    q, k, v = query[0], key[0], value[0]
    out = q.new_empty(q.shape[1], q.shape[0], q.shape[2])
    sums = q.new_empty(q.shape[1] if plan.branches else 0, q.shape[0], dtype=torch.float32)
    for branch in plan.branches:
        own_k, own_v = k[:, branch.rows], v[:, branch.rows]
        if branch.pool is not None:
            own_k, own_v = branch.pool.add(layer, own_k, own_v)
        out[branch.rows], sums[branch.rows] = _local(q[:, branch.rows], own_k, own_v, branch, scale)
    for group in plan.groups:
        group.attend(layer, (q, k, v), out, sums, scale)
    _one_by_one(layer, plan.single, (q, k, v), out, sums, scale)
    return out[None], None


def _one_by_one(
    layer: int, spans: Sequence[Span], rows: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor, scale: float
) -> None:
    q, k, v = rows
    for span in spans:
        if not _none(span.fresh):
            past = span.prefix.length
            keys, values = span.prefix.add(layer, k[:, span.fresh], v[:, span.fresh])
            out[span.fresh] = _causal(q[:, span.fresh], keys, values, past, scale).transpose(0, 1)
        elif span.prefix.length:
            keys, values = span.prefix.layer(layer)
        if not _none(span.nodes):
            own = span.nodes
            out[own] = _merged(q[:, own], keys, values, out[own], sums[own], scale)


def _none(rows: slice) -> bool:
    return bool(rows.start == rows.stop)


def _causal(q: Tensor, k: Tensor, v: Tensor, past: int, scale: float) -> Tensor:
    """(heads, n, d) queries of the newest n tokens to all tokens up to their own."""
    n = q.shape[1]
    if n == 1:
        return _folded(q, k, v, scale)
    if q.device.type == "cpu" and q.dtype != torch.float32:
        return _stepped(q, k, v, past, scale)
    mask = None
    if past:
        mask = torch.ones(n, past + n, dtype=torch.bool, device=q.device).tril(past)
    return scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
    )[0]


def _folded(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """One query a head, all keys: the heads of a group are rows of one product."""
    heads, _, size = q.shape
    rows = q.reshape(k.shape[0], -1, size)
    weights = torch.softmax(torch.bmm(rows, k.transpose(1, 2)).float() * scale, -1).to(q.dtype)
    return torch.bmm(weights, v).reshape(heads, 1, size)


def _stepped(q: Tensor, k: Tensor, v: Tensor, past: int, scale: float, step: int = 128) -> Tensor:
    """The same a stretch of queries at a time, none of which looks at keys beyond its end.

    In bfloat16 the kernel of torch is no faster than in float32; plain products are, and half of the keys are never
    multiplied.
    """
    heads, n, size = q.shape
    out, q = torch.empty_like(q), (q * scale).reshape(k.shape[0], -1, n, size)
    for start in range(0, n, step):
        stop = min(start + step, n)
        seen, own = past + stop, stop - start
        rows = q[:, :, start:stop].reshape(k.shape[0], -1, size)
        scores = torch.bmm(rows, k[:, :seen].transpose(1, 2)).view(k.shape[0], -1, own, seen)
        later = torch.ones(own, own, dtype=torch.bool, device=q.device).triu_(1)
        scores[..., past + start :].masked_fill_(later, -torch.inf)
        odds = torch.softmax(scores, -1).view(k.shape[0], -1, seen)
        out[:, start:stop] = torch.bmm(odds, v[:, :seen]).view(heads, own, size)
    return out


def _merged(q: Tensor, k: Tensor, v: Tensor, local: Tensor, sums: Tensor, scale: float) -> Tensor:
    """(heads, n, d) queries to all keys, joined with what they saw already: (n, heads, d) and log-sums (n, heads)."""
    heads, n, size = q.shape
    # without a mask the heads of a group are further rows of one product
    rows = q.reshape(k.shape[0], -1, size)
    if q.device.type == "cpu" and q.dtype == torch.float32:
        # the only way to this kernel's log-sum-exps
        made, own = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            rows[None], k[None], v[None], 0.0, False, scale=scale
        )
        share = torch.sigmoid(sums - own[0].reshape(heads, n).T)[..., None]
        return torch.lerp(made[0].reshape(heads, n, size).transpose(0, 1), local, share)
    seen = local.transpose(0, 1).reshape(rows.shape)
    weight = sums.T.reshape(k.shape[0], -1, 1).to(q.dtype)
    made = torch.cat(
        [
            _sunk(rows[:, at : at + _CHUNK] * scale, k, v, seen[:, at : at + _CHUNK], weight[:, at : at + _CHUNK])
            for at in range(0, rows.shape[1], _CHUNK)
        ],
        1,
    )
    return made.reshape(heads, n, size).transpose(0, 1)


def _sunk(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, weight: Tensor) -> Tensor:
    """Attention with one more key whose score is `weight` and whose value is `seen`: one softmax merges both."""
    odds = torch.softmax(torch.cat([torch.bmm(q, k.transpose(1, 2)), weight], -1), -1)
    return torch.addcmul(torch.bmm(odds[..., :-1], v), odds[..., -1:], seen)


def _local(q: Tensor, k: Tensor, v: Tensor, branch: Branches, scale: float) -> tuple[Tensor, Tensor]:
    """Block-diagonal attention: (nodes, heads, d) outputs and (nodes, heads) log-sum-exps."""
    heads, _, size = q.shape
    kv, (b, n), w = k.shape[0], branch.queries.shape, branch.keys.shape[1]
    groups = heads // kv
    rows = (q * scale).index_select(1, branch.queries.reshape(-1)).reshape(kv, groups, b, n, size).transpose(1, 2)
    rows = rows.reshape(kv * b, groups * n, size)
    index = branch.keys.reshape(-1)
    keys, values = (t.index_select(1, index).reshape(kv * b, w, size) for t in (k, v))
    scores = torch.bmm(rows, keys.transpose(1, 2)).float()
    scores = scores.view(kv, b, groups, n, w).masked_fill_(~branch.sees[None, :, None], -torch.inf)
    odds = torch.softmax(scores, -1)
    # what the largest score became tells the sum of all, without a second pass of exponentials over the masked ones
    sums = scores.amax(-1) - odds.amax(-1).log_()
    odds = odds.to(q.dtype).view(kv * b, groups * n, w)
    made = torch.bmm(odds, values).view(kv, b, groups, n, size).permute(1, 3, 0, 2, 4).reshape(b * n, heads, size)
    return made[branch.spread], sums.permute(1, 3, 0, 2).reshape(b * n, heads)[branch.spread]


def register() -> None:
    """Make the function known to transformers under `NAME`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
