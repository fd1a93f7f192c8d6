"""One pass of the model over requests of several callers, laid out in one flat row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hexarec.core.errors import CapabilityError, ModelError
from hexarec.lm.hf import attention
from hexarec.lm.hf.attention import Branches, Plan, Prefix, Span
from hexarec.lm.hf.linear import fuse, packable, prepare
from hexarec.lm.hf.probe import Probe
from hexarec.lm.hf.stepping import groups
from hexarec.lm.hf.weights import Base

Ints = NDArray[np.int32]
Path = Literal["packed", "masked"]


@dataclass(eq=False)
class Piece:
    """One prompt of a request: `fresh` tokens that follow `prefix`, and `nodes` behind both.

    depth: int32 (nodes,), a node's distance from the end of the prefix. vectors: (d,) of each token below 0, which
    stands in place of the embedding that it lacks.
    """

    prefix: Prefix
    fresh: Sequence[int] = ()
    nodes: Sequence[int] | Ints = ()
    depth: Sequence[int] | Ints = ()
    vectors: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(eq=False)
class Request:
    """What one caller wants of one forward: pieces, and how their nodes see each other.

    queries, keys, sees: as in `attention.Branches`, node numbers counted over the nodes of all pieces in order.
    """

    pieces: list[Piece]
    queries: Ints | None = None
    keys: Ints | None = None
    sees: NDArray[np.bool_] | None = None
    pool: Prefix | None = None

    @property
    def tokens(self) -> int:
        """Rows that this request adds."""
        return sum(len(piece.fresh) + len(piece.nodes) for piece in self.pieces)


@dataclass(eq=False)
class States:
    """The states after the last layer, normed: of each piece's fresh tokens, and (nodes, d) of all nodes in order.

    layers: the states of every layer (embedding first) of each piece's fresh tokens, when they were asked for.
    """

    fresh: list[Tensor]
    nodes: Tensor
    layers: list[list[Tensor]] = field(default_factory=list)


class Body:
    """A model's layers without its head. `path` packed is the fast one; masked writes the mask out, as a reference.

    `window` is the most tokens of a sequence. Raises ModelError for a model that does not say the same in one row.
    """

    def __init__(self, base: Base, path: Path, window: int) -> None:
        self.base, self.path = base, path
        self.inner = base.model.get_decoder()
        self.embed = base.model.get_input_embeddings()
        self.device = next(base.model.parameters()).device
        self.dtype = self.embed.weight.dtype
        self.beside = self.device.type != "cpu"
        """Whether the prompts of a forward stand beside each other, where they can."""
        self.layers: int = base.model.config.get_text_config().num_hidden_layers
        self.width: int = self.embed.weight.shape[1]
        probe = Probe(base.model, window)
        alone = probe.alone()
        if path == "packed":
            attention.register()
            base.model.set_attn_implementation(attention.NAME)
        if base.dtype != "int8":
            self._lay_out("packed")
        probe.check(self, alone)
        if base.dtype == "int8":  # after the check: its rounding may be larger than what a wrong model changes
            self._lay_out("int8")

    def _lay_out(self, kind: str) -> None:
        """Weights as the CPU's product wants them; elsewhere they stay as they are, or are refused for int8."""
        possible = self.device.type == "cpu" and packable()
        if possible:
            rounded = prepare(self.inner, kind)
            fuse(self.inner)
        if kind == "int8" and not (possible and rounded):
            raise ModelError(
                f"{self.base.model.config.model_type} on {self.device.type} cannot have int8 weights",
                hint='dtype="bfloat16" or "float32"',
            )

    def prefix(self, room: int = 0) -> Prefix:
        """An empty prefix for this model."""
        return Prefix(self.layers, room)

    def given(self, past: Sequence[tuple[Tensor, Tensor]]) -> Prefix:
        """A prefix of given keys and values of every layer, (kv heads, n, head size) each.

        Raises CapabilityError in the masked path, where nothing stands before a prompt.
        """
        if self.path == "masked":
            raise CapabilityError("the masked path takes no prefix adapter", hint='path="packed"')
        made = self.prefix()
        made.keys = [key.to(self.device, self.dtype) for key, _ in past]
        made.values = [value.to(self.device, self.dtype) for _, value in past]
        made.length = int(past[0][0].shape[1])
        return made

    @torch.no_grad()
    def run(self, requests: Sequence[Request], *, layers: bool = False) -> list[States]:
        """The states of each request. Prefixes and pools take in the keys and values of what was new."""
        laid = _lay(requests, self.device)
        if self.beside and self.path == "packed":
            laid.plan.groups, laid.plan.grouped = groups(laid.plan.spans, self.device)
        inputs = self._inputs(requests, laid)
        positions = torch.tensor(laid.positions, device=self.device)[None]
        extra: dict[str, Any] = {"plan": laid.plan} if self.path == "packed" else {"attention_mask": self._mask(laid)}
        made = self.inner(
            inputs_embeds=inputs, position_ids=positions, use_cache=False, output_hidden_states=layers, **extra
        )
        if self.path == "packed":
            _advance(laid.plan, requests)
        every = [one[0] for one in made.hidden_states] if layers else []
        return _states(requests, laid, made.last_hidden_state[0], every)

    def _inputs(self, requests: Sequence[Request], laid: _Laid) -> Tensor:
        made: Tensor = self.embed(torch.tensor(laid.ids, device=self.device).clamp(min=0))
        vectors = {
            number: one for request in requests for piece in request.pieces for number, one in piece.vectors.items()
        }
        # most forwards have none, and are not searched for them
        slots = [at for at, token in enumerate(laid.ids) if token < 0] if vectors else []
        if slots:
            made[slots] = torch.stack([vectors[laid.ids[at]] for at in slots]).to(made)
        return made[None]

    def _mask(self, laid: _Laid) -> Tensor:
        """(1, 1, t, t) bool: what each row sees; only for requests that begin at nothing."""
        n = len(laid.ids)
        mask = torch.zeros(n, n, dtype=torch.bool, device=self.device)
        for span in laid.plan.spans:
            fresh = span.fresh.stop - span.fresh.start
            mask[span.fresh, span.fresh] = torch.ones(fresh, fresh, dtype=torch.bool, device=self.device).tril()
            mask[span.nodes, span.fresh] = True
        for branch in laid.plan.branches:
            own = torch.zeros(len(branch.spread), len(branch.spread), dtype=torch.bool, device=self.device)
            for queries, keys, sees in zip(branch.queries, branch.keys, branch.sees, strict=True):
                at, seen = sees.nonzero(as_tuple=True)
                own[queries[at], keys[seen]] = True
            mask[branch.rows, branch.rows] = own
        return mask[None, None]


@dataclass(eq=False)
class _Laid:
    ids: list[int]
    positions: list[int]
    plan: Plan


def _lay(requests: Sequence[Request], device: torch.device) -> _Laid:
    """Fresh tokens of all pieces first, then all nodes, so that the nodes of a request are one slice."""
    laid = _Laid([], [], Plan())
    pieces = [piece for request in requests for piece in request.pieces]
    for piece in pieces:
        start, past = len(laid.ids), piece.prefix.length
        laid.ids.extend(piece.fresh)
        laid.positions.extend(range(past, past + len(piece.fresh)))
        laid.plan.spans.append(Span(piece.prefix, slice(start, len(laid.ids)), slice(0, 0)))
    spans = iter(laid.plan.spans)
    for request in requests:
        start = len(laid.ids)
        for piece in request.pieces:
            span, at = next(spans), len(laid.ids)
            end = piece.prefix.length + len(piece.fresh)
            laid.ids.extend(int(token) for token in piece.nodes)
            laid.positions.extend(end + int(depth) for depth in piece.depth)
            span.nodes = slice(at, len(laid.ids))
        if len(laid.ids) > start:
            laid.plan.branches.append(_branches(request, slice(start, len(laid.ids)), device))
    return laid


def _branches(request: Request, rows: slice, device: torch.device) -> Branches:
    assert request.queries is not None and request.keys is not None and request.sees is not None
    queries = torch.tensor(request.queries, dtype=torch.long, device=device)
    # padding repeats a block's first node, whose own place comes before it
    places = np.unique(request.queries.reshape(-1), return_index=True)[1]
    spread = torch.tensor(places, dtype=torch.long, device=device)
    assert len(spread) == rows.stop - rows.start
    keys = torch.tensor(request.keys, dtype=torch.long, device=device)
    sees = torch.tensor(request.sees, device=device)
    return Branches(rows, queries, keys, sees, spread, request.pool)


def _advance(plan: Plan, requests: Sequence[Request]) -> None:
    for span in plan.spans:
        span.prefix.length += span.fresh.stop - span.fresh.start
    for branch in plan.branches:
        if branch.pool is not None:
            branch.pool.length += branch.rows.stop - branch.rows.start


def _states(requests: Sequence[Request], laid: _Laid, last: Tensor, every: list[Tensor]) -> list[States]:
    made, spans = [], iter(laid.plan.spans)
    for request in requests:
        own = [next(spans) for _ in request.pieces]
        start, stop = (own[0].nodes.start, own[-1].nodes.stop) if own else (0, 0)
        layers = [[one[span.fresh] for one in every] for span in own] if every else []
        made.append(States([last[span.fresh] for span in own], last[start:stop], layers))
    return made
