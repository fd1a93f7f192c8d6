"""The network of DIN in torch: imported only when it is trained or asked.

Histories lie one behind the other in a row, so nothing is padded and what training learns of the spread of a number is
learned from events alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Dice(nn.Module):
    """x where x is large among what training saw, alpha x where it is small, (m, width) to the same (section 5.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=1e-8, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """The activation; one row alone has no spread of its own and takes what was learned so far."""
        self.norm.train(self.training and len(x) > 1)
        share = torch.sigmoid(self.norm(x))
        return x * (share + self.alpha * (1 - share))


def tower(width: int, hidden: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with Dice between them, (m, width) to (m, 1)."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), Dice(size), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, 1))


class Net(nn.Module):
    """Item vectors, a tower that weighs past items against a target, a tower that scores."""

    def __init__(
        self, n_items: int, width: int, attention: Sequence[int], hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.item = nn.Embedding(max(n_items, 1), width)
        nn.init.normal_(self.item.weight, std=0.1)
        self.weigh = tower(4 * width, attention)
        self.score = tower(2 * width, hidden, dropout)

    def interest(self, target: Tensor, past: Tensor, owner: Tensor) -> Tensor:
        """What the histories hold for their targets, (m, width): sums of past items by weights that are no shares.

        target: int64 (m,) items. past: int64 (events,) items. owner: int64 (events,), the target of each event.
        """
        rows, asked = self.item(past), self.item(target)[owner]
        weights = self.weigh(torch.cat([rows, asked, rows - asked, rows * asked], 1))
        return torch.zeros(len(target), rows.shape[1]).index_add(0, owner, weights * rows)

    def forward(self, target: Tensor, past: Tensor, owner: Tensor) -> Tensor:
        """The log-odds (m,) that the targets are liked."""
        both = torch.cat([self.interest(target, past, owner), self.item(target)], 1)
        made: Tensor = self.score(both)[:, 0]
        return made
