"""Small networks of a method's own, without a language model, as the tuning loop moves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hexarec.core.seeds import rng, seed_words

M = TypeVar("M", bound=nn.Module)
Arrays = dict[str, NDArray[np.float32]]


class Plain:
    """Modules by name; see `loop.Tuned`. mark: a text that tells their shapes from others."""

    def __init__(self, mark: str, modules: Mapping[str, nn.Module]) -> None:
        self.mark = mark
        self.extra = nn.ModuleDict(modules).float()

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is tuned, by name: `extra.MODULE.NAME`."""
        return {f"extra.{name}": one for name, one in self.extra.named_parameters()}

    @contextmanager
    def on(self, training: bool = False) -> Iterator[None]:
        """`training` switches dropout on."""
        self.extra.train(training)
        try:
            yield
        finally:
            self.extra.eval()

    def begun(self) -> dict[str, Tensor]:
        """What a run starts from."""
        return self.state()

    def state(self) -> dict[str, Tensor]:
        """Copies of what is tuned."""
        return {name: one.detach().clone() for name, one in self.parameters.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        with torch.no_grad():
            for name, one in self.parameters.items():
                one.copy_(state[name])


def begun(make: Callable[[], M], seed: int, *words: str | int) -> M:
    """What `make` builds, with drawn weights named by seed and words; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_words(seed, *words) % 2**63)
        return make()


def arrays_of(module: nn.Module) -> Arrays:
    """The weights of a module by name, as float32 arrays of their own."""
    return {name: value.detach().float().cpu().numpy().copy() for name, value in module.state_dict().items()}


def step_draw(seed: int, *words: str) -> np.random.Generator:
    """A generator for the draws of one step: the loop seeds torch by the step, and a number of it names the draws."""
    return rng(seed, *words, int(torch.randint(2**62, ())))
