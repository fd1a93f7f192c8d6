"""Training SASRec: the network with drawn weights, one epoch, and checkpoints that an interrupted fit resumes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._sasrec_data import Batch
from hexarec.core import MissingExtraError, StateError, current, seed_words
from hexarec.core.atomic import atomic_file

if TYPE_CHECKING:
    from torch.nn import Module

    from hexarec.classic._sasrec_net import Net
    from hexarec.classic.sasrec import SASRec

State = dict[str, NDArray[Any]]


def network(seed: int, **shape: Any) -> Net:
    """A new network with drawn weights; the global generator is left as it was. Raises MissingExtraError."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "train") from None
    from hexarec.classic._sasrec_net import Net

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_words(seed, "sasrec") % 2**63)
        return Net(**shape)


def restored(weights: State, shape: dict[str, Any]) -> Net:
    """The network with these weights, ready to be asked."""
    import torch

    net = network(0, **shape)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return net.eval()


def copied(net: Module) -> State:
    """The weights of a network as arrays of their own."""
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def train_epoch(options: SASRec, net: Net, adam: Any, steps: Iterator[tuple[float, Batch]], epoch: int) -> None:
    """One pass over the batches; the step of Adam falls linearly to a tenth at the last epoch."""
    import torch

    from hexarec.classic._sasrec_net import fast_half, loss_of

    half = options.precision == "bfloat16" or (options.precision == "auto" and fast_half())
    net.train()
    for passed, batch in steps:
        current().check()
        for group in adam.param_groups:
            group["lr"] = options.rate * (1.0 - 0.9 * min(1.0, (epoch + passed) / options.epochs))
        items, targets, real = (torch.from_numpy(one) for one in batch)
        drawn = torch.randint(options.n_items_, (options.negatives,)) if options.loss == "sampled" else None
        adam.zero_grad()
        loss_of(net, items, targets, real, drawn, half).backward()  # type: ignore[no-untyped-call]
        adam.step()
    net.eval()


@dataclass(frozen=True)
class Checkpoint:
    """What a fit of this name left in the scratch place of the run; without a place or a name nothing is kept."""

    name: str
    kind: str = "sasrec"

    @property
    def place(self) -> Path | None:
        """The file, where there is a place for it."""
        scratch = current().scratch
        return scratch / f"{self.kind}-{self.name}.npz" if scratch is not None and self.name else None

    def write(self, net: Module, adam: Any, done: int, curve: list[float], chosen: State) -> None:
        """Keep the state after `done` whole epochs and the best weights so far; written aside and renamed."""
        place = self.place
        if place is None:
            return
        state = {f"net.{k}": v for k, v in copied(net).items()} | {f"best.{k}": v for k, v in chosen.items()}
        for number, moments in adam.state_dict()["state"].items():
            state |= {f"adam.{number}.{k}": v.numpy() for k, v in moments.items()}
        with atomic_file(place) as part:
            np.savez(part, allow_pickle=False, done=done, curve=np.array(curve), **state)

    def resume(self, net: Module, adam: Any, curve: list[float]) -> tuple[int, list[float], State]:
        """Whole epochs done, their curve and the best weights; fills the network and the optimiser.

        Without a checkpoint nothing is done: the given curve and the weights as they are. Raises StateError for a
        damaged one.
        """
        place = self.place
        if place is None or not place.is_file():
            return 0, curve, copied(net)
        try:
            with np.load(place, allow_pickle=False) as file:
                saved = {key: file[key] for key in file.files}
            return _filled(saved, net, adam)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, RuntimeError) as error:
            raise StateError(f"{place} is damaged: {error}", hint="delete it to begin anew") from None


def _filled(saved: State, net: Module, adam: Any) -> tuple[int, list[float], State]:
    """What `resume` returns, from the columns of a checkpoint."""
    import torch

    net.load_state_dict({k[4:]: torch.from_numpy(v) for k, v in saved.items() if k.startswith("net.")})
    moments: dict[int, dict[str, Any]] = {}
    for key, value in saved.items():
        if key.startswith("adam."):
            _, number, what = key.split(".")
            moments.setdefault(int(number), {})[what] = torch.from_numpy(value)
    adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
    best = {k[5:]: v for k, v in saved.items() if k.startswith("best.")}
    return int(saved["done"]), saved["curve"].tolist(), best
