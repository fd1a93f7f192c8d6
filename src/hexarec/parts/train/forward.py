"""A forward without padding: all sequences of a micro batch in one row, attention sequence by sequence.

Linear layers see one long row, which no padding dilutes; positions start anew with every sequence; the output layer is
read only where there is a loss. It is given to transformers as an attention function, so any decoder whose layers take
one works unchanged. On the CPU the row needs neither sorting nor a mask; on a GPU the attention of all sequences is one
product over a padded block, unless that would be mostly padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hexarec.core.errors import DataError, ModelError
from hexarec.lm.hf.adapters import Past
from hexarec.lm.hf.padded import block, flat, placed, repeated, wasteful
from hexarec.parts.train.attention import Segmented
from hexarec.parts.train.examples import Line
from hexarec.parts.train.products import quick
from hexarec.parts.train.tunable import Tunable

NAME = "hexarec-tuning"
SHORT = 512  # tokens up to which the odds of attention are kept


@dataclass(frozen=True, eq=False)
class Segments:
    """What the attention of every layer needs: the length of each sequence, and the prefix of each layer."""

    lengths: list[int]
    past: Past | None = None
    beside: torch.device | None = None
    """Where the sequences stand beside each other in a block; None goes from one to the next."""

    @cached_property
    def block(self) -> tuple[Tensor, Tensor] | None:
        """The sequences as `padded.block` has them; None where that would be mostly padding, or behind a prefix."""
        sizes = np.array(self.lengths)
        if self.beside is None or self.past is not None or wasteful(sizes):
            return None
        rows, back = block(sizes, np.cumsum(sizes) - sizes)
        return torch.from_numpy(rows).to(self.beside), torch.from_numpy(back).to(self.beside)


def states(
    tunable: Tunable, lines: Sequence[Line], vectors: Tensor | None = None, *, bare: bool = False
) -> tuple[Tensor, Tensor]:
    """The normed last states (m, d) that predict the tokens with a loss, line by line, and those tokens (m,).

    vectors: (slots, d) for the slots of all lines in order, with gradients; None takes those of the lines. Call it
    inside `tunable.on()`; outside of it with `bare`, which leaves out soft tokens and prefixes, it is the base's own.
    Raises DataError when slots and vectors do not match.
    """
    model = tunable.base.model
    lead, past = (None, None) if bare else (tunable.lead(), tunable.past())
    row = _row(lines, 0 if lead is None else len(lead), 0 if past is None else past[0][0].shape[1], model.device)
    inputs = _inputs(model, lines, row, vectors, lead)
    with attending(model), quick():
        made = model.get_decoder()(
            inputs_embeds=inputs[None],
            position_ids=row.positions[None],
            use_cache=False,
            segments=Segments(row.lengths, past, _beside(model.device)),
        )
    found: Tensor = made.last_hidden_state[0][row.read]
    return found, row.targets


@dataclass(frozen=True, eq=False)
class _Row:
    """Lines laid out: ids and positions of all places, which places are read and what they predict, which take vectors.

    lead: int64 (lines, n) the places of soft tokens. slots: int64 (slots,), those of the prompts' vectors.
    """

    ids: Tensor
    positions: Tensor
    lengths: list[int]
    read: Tensor
    targets: Tensor
    lead: Tensor
    slots: Tensor


def _row(lines: Sequence[Line], before: int, shift: int, device: torch.device) -> _Row:
    """`before` soft tokens stand in the row of every line; `shift` prefix keys only move its positions."""
    ends = [int(np.flatnonzero(line.loss)[-1]) for line in lines]  # nothing is predicted from the last token
    lengths = [before + end for end in ends]
    starts = np.cumsum([0, *lengths[:-1]])
    blank = np.zeros(before, np.int64)

    def joined(parts: Iterator[NDArray[np.int64]]) -> Tensor:
        return torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *parts])).to(device)

    return _Row(
        ids=joined(part for line, end in zip(lines, ends, strict=True) for part in (blank, line.ids[:end])),
        positions=joined(np.arange(shift, shift + n) for n in lengths),
        lengths=lengths,
        read=joined(at + before + np.flatnonzero(line.loss) - 1 for at, line in zip(starts, lines, strict=True)),
        targets=joined(line.ids[line.loss] for line in lines),
        lead=joined(at + np.arange(before) for at in starts),
        slots=joined(at + before + line.slots for at, line in zip(starts, lines, strict=True)),
    )


def _inputs(model: Any, lines: Sequence[Line], row: _Row, vectors: Tensor | None, lead: Tensor | None) -> Tensor:
    """(t, d) embeddings of the row. Never written in place: gradients must reach the vectors."""
    made: Tensor = model.get_input_embeddings()(row.ids)
    if vectors is None and len(row.slots):
        vectors = _given(lines).to(made.device)
    if len(row.slots) != (0 if vectors is None else len(vectors)):
        raise DataError(f"{len(row.slots)} slots for {0 if vectors is None else len(vectors)} vectors")
    if vectors is not None and len(vectors):
        made = made.index_put((row.slots,), vectors.to(made))
    if lead is not None:
        made = made.index_put((row.lead,), lead.to(made.dtype).repeat(len(lines), 1))
    return made


def _given(lines: Sequence[Line]) -> Tensor:
    lacking = [line.source for line in lines if len(line.slots) and line.vectors is None]
    if lacking:
        raise DataError(f"example {lacking[0]} has slots but no vectors", hint="give vectors, or a bridge")
    return torch.from_numpy(np.concatenate([line.vectors for line in lines if line.vectors is not None]))


@contextmanager
def attending(model: Any) -> Iterator[None]:
    """With the attention of this module in the model."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """One layer's attention: (1, heads, t, size) queries to (1, t, heads, size), each segment over itself, causally.

    Raises ModelError without segments, and where a sequence is longer than the layer's sliding window.
    """
    if segments is None or (sliding_window is not None and max(segments.lengths) > sliding_window):
        raise ModelError("this model's attention cannot be tuned without padding", hint="shorter examples")
    past = None if segments.past is None else segments.past[module.layer_idx]
    if segments.block is not None:
        return _together(query[0], key[0], value[0], segments.block, scaling)[None], None
    if past is None and query.device.type == "cpu" and max(segments.lengths) <= SHORT:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        short: Tensor = Segmented.apply(query[0], key[0], value[0], segments.lengths, scale)  # type: ignore[no-untyped-call]
        return short[None], None
    # split, not slices: the gradient of a slice is a whole row of zeros
    rows = zip(*(torch.split(one, segments.lengths, dim=2) for one in (query, key, value)), strict=True)
    made = [_causal(q, k, v, past, scaling) for q, k, v in rows]
    return torch.cat(made, dim=2).transpose(1, 2), None


def _beside(device: torch.device) -> torch.device | None:
    """The device, where starting a kernel costs more than its work."""
    return None if device.type == "cpu" else device


def _together(q: Tensor, k: Tensor, v: Tensor, block: tuple[Tensor, Tensor], scale: float | None) -> Tensor:
    """All sequences at once: (heads, t, size) to (t, heads, size)."""
    rows, back = block
    keys, values = (repeated(placed(one, rows), len(q) // len(k)) for one in (k, v))
    made = scaled_dot_product_attention(placed(q, rows), keys, values, is_causal=True, scale=scale)
    return flat(made)[back]


def _causal(q: Tensor, k: Tensor, v: Tensor, past: tuple[Tensor, Tensor] | None, scale: float | None) -> Tensor:
    if past is None:
        made: Tensor = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
        return made
    k, v = (torch.cat([old[None].to(new.dtype), new], dim=2) for old, new in zip(past, (k, v), strict=True))
    n, more = q.shape[2], k.shape[2] - q.shape[2]
    mask = torch.ones(n, n + more, dtype=torch.bool, device=q.device).tril(more)
    made = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
    return made
