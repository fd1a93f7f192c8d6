"""Bottleneck adapters: a small residual network behind a sublayer, added by a hook and gone without it.

Source: Houlsby et al. 2019, arXiv:1902.00751 (behind attention and MLP); Pfeiffer et al. 2021, arXiv:2005.00247 (behind
the MLP only). peft has no plain one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import gelu

PLACES = {"mlp": r"\.mlp$", "attention": r"\.self_attn$"}
"""Where an adapter may stand, each with the modules it follows."""


class Bottleneck(nn.Module):
    """h + up(gelu(down(h))) over (..., width) states; `up` starts at zero, so a new adapter changes nothing."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """States of any float type to the same; computed in the adapter's own."""
        inner: Tensor = self.up(gelu(self.down(states.to(self.down.weight.dtype))))
        return states + inner.to(states.dtype)


def places(model: Any, after: Iterable[str]) -> list[str]:
    """The names of the model's modules that an adapter follows. Raises KeyError for an unknown place."""
    patterns = [re.compile(PLACES[one]) for one in after]
    return [name for name, _ in model.named_modules() if any(p.search(name) for p in patterns)]


@contextmanager
def attached(model: Any, adapters: dict[str, Bottleneck]) -> Iterator[None]:
    """With the adapters in the forward of `model`, each behind the module of its name."""
    handles = [model.get_submodule(name).register_forward_hook(_hook(one)) for name, one in adapters.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(adapter: Bottleneck) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        # attention gives a tuple, states first
        return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)

    return hook


def load(tensors: dict[str, Tensor]) -> dict[str, Bottleneck]:
    """The adapters of saved tensors `<module>.down.weight` and so on, frozen. Raises KeyError when one is missing."""
    made = {}
    for name in sorted({key.rsplit(".", 2)[0] for key in tensors}):
        down = tensors[f"{name}.down.weight"]
        one = Bottleneck(down.shape[1], down.shape[0])
        one.load_state_dict({part: tensors[f"{name}.{part}"] for part in one.state_dict()})
        made[name] = one.requires_grad_(False)
    return made


def parameters(adapters: dict[str, Bottleneck]) -> dict[str, Tensor]:
    """The tensors of the adapters by the names that `load` reads."""
    return {f"{name}.{part}": value for name, one in adapters.items() for part, value in one.named_parameters()}
