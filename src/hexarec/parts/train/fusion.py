"""LEARN's adaptor in torch: user and item vectors fused into one embedding that predicts whether the item is liked.

Source: Jia et al. 2024, arXiv:2405.03988, section on online serving.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from hexarec.core import digest
from hexarec.parts.train.loop import Plan, fit
from hexarec.parts.train.plain import Arrays, Plain, arrays_of, begun

Floats = NDArray[np.float32]


class Fusion(nn.Module):
    """A linear layer on each side, an MLP over both and their product, and a ranker over all there is.

    out: length of the vectors. more: further numbers of a pair. width: of the linear layers and the MLP. size: of the
    fusion embedding.
    """

    def __init__(self, out: int, more: int, width: int, size: int) -> None:
        super().__init__()
        self.user, self.item = nn.Linear(out, width), nn.Linear(out, width)
        self.inner, self.fusion = nn.Linear(3 * width, width), nn.Linear(width, size)
        self.own = nn.Linear(size, 1)
        self.mix, self.ranker = nn.Linear(size + 2 * out + more, width), nn.Linear(width, 1)

    def forward(self, users: Tensor, items: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        """(m,) logits of the fusion by itself, and of the ranker over fusion, both vectors and the further numbers."""
        u, i = self.user(users), self.item(items)
        fused = relu(self.fusion(relu(self.inner(torch.cat([u, i, u * i], 1)))))
        ranked = self.ranker(relu(self.mix(torch.cat([fused, users, items, more], 1))))
        return self.own(fused)[:, 0], ranked[:, 0]


class Judged:
    """The summed binary cross-entropy of both logits over pairs; see `loop.Objective`."""

    def __init__(self, net: Fusion, sides: Sequence[Floats], liked: NDArray[np.bool_]) -> None:
        self._net, self._sides = net, [torch.from_numpy(one) for one in sides]
        self._liked = torch.from_numpy(liked.astype(np.float32))
        self.sizes = [1] * len(liked)
        self.key = digest("fusion", *sides, liked)

    def weight(self, rows: Sequence[int]) -> float:
        """Pairs among the rows."""
        return float(len(rows))

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The summed loss of pairs."""
        truth = self._liked[list(rows)]
        both = self._net(*(side[list(rows)] for side in self._sides))
        return sum((binary_cross_entropy_with_logits(one, truth, reduction="sum") for one in both), torch.zeros(()))


def fuse(sides: Sequence[Floats], liked: NDArray[np.bool_], width: int, size: int, plan: Plan, seed: int) -> Arrays:
    """The learned weights by name. sides: users (m, out), items (m, out) and further numbers (m, n) of labelled pairs.

    Raises as `loop.fit` does.
    """
    users, _, more = sides
    net = begun(lambda: Fusion(users.shape[1], more.shape[1], width, size), seed, "fusion")
    mark = f"fusion {users.shape[1]} {more.shape[1]} {width} {size}"
    fit(Plain(mark, {"fusion": net}), Judged(net, sides, liked), plan, None, seed)
    return arrays_of(net)
