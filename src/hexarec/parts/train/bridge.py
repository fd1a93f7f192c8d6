"""The bridge: vectors of another space as input embeddings of a language model (CoLLM, arXiv:2310.19488, section 4.1).

It maps; it may also learn rows of its own, which are added to the vectors or stand in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hexarec.core.errors import OptionError
from hexarec.core.seeds import seed_words

Floats = NDArray[np.float32]
NAME = "bridge"


@dataclass(frozen=True)
class Shape:
    """What a bridge is made of.

    width: numbers of a vector that comes. kind: an MLP with one hidden layer of `wide` times the width, one linear
    layer, or none, which puts the numbers first in the embedding and zeros behind them. tokens: embeddings of a vector.
    rows: learned rows, row 0 of which stays zero. begun: whether they begin as zeros or as draws.
    """

    width: int
    kind: Literal["mlp", "linear", "none"] = "mlp"
    wide: int = 10
    tokens: int = 1
    rows: int = 0
    begun: Literal["zero", "drawn"] = "zero"


class Bridge(nn.Module):
    """Vectors (..., slots, width) to embeddings (all slots x tokens, size), with gradients.

    Vectors are scaled to numbers of about 1 and embeddings to the length of the model's own, both by constants that
    are saved: collaborative vectors and embeddings differ by orders of magnitude, and the step of Adam does not.
    Raises OptionError where nothing is mapped and the width does not fit the embedding.
    """

    shape: Shape
    size: Tensor
    scale: Tensor
    gain: Tensor

    def __init__(self, shape: Shape, size: int) -> None:
        super().__init__()
        if shape.kind == "none" and (shape.width > size or shape.tokens > 1):
            raise OptionError(f"{shape.width} numbers are no embedding of {size}", hint="map them: mlp or linear")
        out = shape.tokens * size
        inner = shape.wide * shape.width
        self.shape = shape
        layers: dict[str, list[nn.Module]] = {
            "mlp": [nn.Linear(shape.width, inner), nn.ReLU(), nn.Linear(inner, out)],
            "linear": [nn.Linear(shape.width, out)],
            "none": [nn.ZeroPad1d((0, size - shape.width))],
        }
        self.map = nn.Sequential(*layers[shape.kind])
        self.table = nn.Embedding(shape.rows, shape.width, padding_idx=0) if shape.rows else None
        if self.table is not None and shape.begun == "zero":
            nn.init.zeros_(self.table.weight)
        self.register_buffer("size", torch.tensor(size))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("gain", torch.ones(()))

    @classmethod
    def of(cls, shape: Shape, embeddings: Tensor, vectors: Floats | None, seed: int) -> Bridge:
        """A new bridge to a model's (vocabulary, size) input embeddings, scaled by the vectors it will be given."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_words(seed, "bridge") % 2**63)
            made = cls(shape, embeddings.shape[1])
        made.gain.copy_(embeddings.float().square().mean().sqrt())
        spread = 0.0 if vectors is None else float(np.sqrt(np.mean(np.square(vectors, dtype=np.float64))))
        made.scale.copy_(torch.tensor(1.0 / spread if spread > 0 else 1.0))
        return made

    def forward(self, vectors: Tensor | None, more: Tensor | None = None) -> Tensor:
        """The embeddings of vectors, of learned rows (`more`, of the same shape), or of their sum."""
        parts = [*([] if vectors is None else [vectors * self.scale]), *([] if more is None else [more])]
        made: Tensor = self.gain * self.map(sum(parts[1:], parts[0]))
        return made.reshape(-1, int(self.size))

    def learned(self, rows: Tensor) -> Tensor | None:
        """The learned rows of these numbers; None without any."""
        return None if self.table is None else self.table(rows)


def taken(state: dict[str, Any], shape: Shape) -> tuple[dict[str, Any], Floats | None]:
    """What a bridge of this shape learned, as state of its own, and its learned rows.

    Both leave the state of the tuned artefact, which then holds what was tuned beside the bridge.
    """
    begin, tensors = f"extra.{NAME}.", state["tensors"]
    own = {name.removeprefix(begin): tensors.pop(name) for name in list(tensors) if name.startswith(begin)}
    rows = own.pop("table.weight", None)
    return {"shape": {**asdict(shape), "rows": 0}, "tensors": own, "about": state["about"]}, rows


def mapped(state: Mapping[str, Any], vectors: Floats | None, more: Floats | None) -> Floats:
    """(n, slots x tokens, size) embeddings of (n, slots, width) vectors by a kept bridge; see `Bridge.forward`."""
    tensors = {name: torch.from_numpy(np.array(one)) for name, one in state["tensors"].items()}
    bridge = Bridge(Shape(**state["shape"]), int(tensors["size"]))
    bridge.load_state_dict(tensors)
    given = [None if one is None else torch.from_numpy(one) for one in (vectors, more)]
    n, slots = next(one.shape[:2] for one in given if one is not None)
    with torch.inference_mode():
        return np.asarray(bridge(*given).reshape(n, slots * bridge.shape.tokens, int(bridge.size)).numpy())
