"""Training and asking DIN: the network with drawn weights, pairs in batches without padding, one epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._shared import Floats
from hexarec.core import History, MissingExtraError, current, ragged, seed_words

if TYPE_CHECKING:
    from hexarec.classic._din_net import Net

Rows = NDArray[Any]
Batch = tuple[Any, ...]
CELLS = 1 << 16  # events of histories in one forward that learns nothing


def network(seed: int, **shape: Any) -> Net:
    """A new network with drawn weights; the global generator is left as it was. Raises MissingExtraError."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "train") from None
    from hexarec.classic._din_net import Net

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_words(seed, "din") % 2**63)
        return Net(**shape)


def restored(weights: dict[str, Rows], shape: dict[str, Any]) -> Net:
    """The network with these weights, ready to be asked."""
    import torch

    net = network(0, **shape)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return net.eval()


def batches(past: History, row: Rows, item: Rows, cells: int = CELLS) -> Iterator[tuple[Rows, Batch]]:
    """Places of pairs whose histories hold about `cells` events together, with their targets, past items and owners.

    row: (pairs,) the history of each pair. item: (pairs,) the item asked about.
    """
    import torch

    size = np.cumsum(past.lengths[row] + 1)
    for places in np.split(np.arange(len(row)), np.flatnonzero(np.diff(size // cells)) + 1):
        offsets, flat = ragged.gather(past.offsets, row[places])
        arrays = (item[places], past.item[flat], ragged.segments(offsets))
        if len(places):
            yield places, tuple(torch.from_numpy(one.astype(np.int64)) for one in arrays)


def asked(made: Floats, read: Callable[..., Any], past: History, row: Rows, item: Rows) -> Floats:
    """`made` (pairs, ...) filled with what `read` gives for each pair."""
    import torch

    with torch.inference_mode():
        for places, batch in batches(past, row, item):
            made[places] = read(*batch).numpy()
    return made


def train_epoch(net: Net, adam: Any, past: History, item: Rows, liked: Rows, groups: list[Rows]) -> None:
    """One step for each group of cases. past, item, liked: history, item and label of every case."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    net.train()
    for rows in groups:
        current().check()
        (_, batch), *_ = batches(past, rows, item[rows], sys.maxsize)
        adam.zero_grad()
        loss = binary_cross_entropy_with_logits(net(*batch), torch.from_numpy(liked[rows]).float())
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    net.eval()
