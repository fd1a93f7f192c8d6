"""Whether a model says the same in one packed row as it does of each sequence alone: asked once, when it is opened.

Attention is all that the packed row replaces. A model that mixes tokens by something else as well (a convolution, a
state that runs along the row, an attention of its own) would read the tokens of one prompt into another without a word.
So a few tokens go through both ways, as far as the first layer of the last kind, and the states must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hexarec.core.errors import ModelError
from hexarec.core.seeds import rng
from hexarec.lm.hf.packing import blocks, pack

if TYPE_CHECKING:
    from hexarec.lm.hf.forward import Body, Request

PROMPTS, BRANCH, LEAST = (34, 5), 6, 2
"""Tokens of the two prompts, of each of the two branches behind either, and the fewest layers that are run."""
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.06, torch.float16: 0.06}
"""The largest `distance`. Random models that are right reach 1e-6 and 0.03, SmolLM2 0.012, wrong ones 0.1 to 1.5."""
_SHARE = 0.9  # of the rows: rounding may send a few tokens to another expert, a leak reaches more


class Probe:
    """Two prompts with two branches each. `window`: the most tokens of a sequence.

    Raises ModelError for a model whose layers are not found.
    """

    def __init__(self, model: Any, window: int) -> None:
        config = model.config.get_text_config()
        self._inner, self._kind = model.get_decoder(), model.config.model_type
        branch, table = min(BRANCH, window // 2), model.get_input_embeddings().weight
        drawn = rng(0, "probe").integers(len(table), size=(4, max(PROMPTS)))
        self._device = table.device
        self.prompts = [row[: min(size, window - branch)].tolist() for row, size in zip(drawn, PROMPTS, strict=False)]
        self.branches = [[row[:branch].tolist(), row[::-1][:branch].tolist()] for row in drawn[2:]]
        self._last = self._last_kind(config.num_hidden_layers)

    def alone(self) -> Tensor:
        """(rows, d) states of the prompts and then of the branches, each sequence by itself. Before the switch."""
        made = []
        for prompt, own in zip(self.prompts, self.branches, strict=True):
            ids = torch.tensor([[*prompt, *branch] for branch in own], device=self._device)
            made.append((self._seen(partial(self._inner, input_ids=ids, use_cache=False)), len(prompt)))
        return torch.cat([*(one[0, :n] for one, n in made), *(one[:, n:].flatten(0, 1) for one, n in made)])

    def check(self, body: Body, alone: Tensor) -> None:
        """Raise ModelError unless the body says in one row what the model said of each sequence alone."""
        request, order = self._request(body)
        far = distance(alone, self._seen(partial(body.run, [request]))[0][order])
        most = TOLERANCES[body.dtype]
        if not far <= most:  # a state that is no number is no agreement either
            raise self._refusal(f"states differ by {far:.2g} of their spread, where rounding makes {most:.2g} at most")

    def _request(self, body: Body) -> tuple[Request, Tensor]:
        """Everything in one row; and where each state of `alone` stands in it."""
        from hexarec.lm.hf.forward import Piece, Request

        packs = [pack(own) for own in self.branches]
        pieces = [
            Piece(body.prefix(), prompt, made.tokens, made.depth)
            for prompt, made in zip(self.prompts, packs, strict=True)
        ]
        places = [blocks(made) for made in packs]
        starts = np.cumsum([0, len(packs[0].tokens)])
        index = np.concatenate([one + start for (one, _), start in zip(places, starts, strict=True)]).astype(np.int32)
        fresh = sum(len(prompt) for prompt in self.prompts)
        nodes = [fresh + start + path for made, start in zip(packs, starts, strict=True) for path in made.paths]
        order = torch.tensor(np.concatenate([np.arange(fresh), *nodes]), device=self._device)
        return Request(pieces, index, index, np.concatenate([sees for _, sees in places])), order

    def _last_kind(self, count: int) -> nn.Module:
        """The layer after which every kind of layer has been seen."""
        lists = (one for one in self._inner.modules() if isinstance(one, nn.ModuleList) and len(one) == count)
        layers = next(lists, None)
        if layers is None:
            raise self._refusal("its layers are not found")
        kinds = [_kind(layer) for layer in layers]
        return layers[min(max(LEAST - 1, *(kinds.index(kind) for kind in kinds)), count - 1)]

    def _seen(self, forward: Callable[[], Any]) -> Tensor:
        """The states after the last layer that is looked at; the forward ends there."""
        seen: list[Tensor] = []

        def stop(_: Any, __: Any, made: Any) -> None:
            seen.append(made[0] if isinstance(made, tuple) else made)
            raise _Enough

        hook = self._last.register_forward_hook(stop)
        try:
            with torch.no_grad():
                forward()
        except _Enough:
            pass
        except Exception as error:  # whatever a foreign model raises
            raise self._refusal(f"{type(error).__name__}: {str(error)[:200]}") from error
        finally:
            hook.remove()
        if not seen:
            raise self._refusal("its layers are not called one after the other")
        return seen[0].float()

    def _refusal(self, why: str) -> ModelError:
        return ModelError(
            f"a {self._kind} model cannot be run in one packed row: {why}",
            hint="serve it with an OpenAI-compatible server and open it as openai:",
        )


class _Enough(Exception):
    """The state that was wanted is there."""


def distance(alone: Tensor, packed: Tensor) -> float:
    """How far two states of a row are apart, as a share of its distance from the middle of all: the 90 % quantile."""
    spread = (alone - alone.median(0).values).norm(dim=1).clamp(min=1e-30)
    return float(((alone - packed).norm(dim=1) / spread).quantile(_SHARE))


def _kind(layer: nn.Module) -> tuple[Any, ...]:
    """Modules and plain settings of a layer, but for its number: equal kinds compute the same way."""
    return tuple(
        (name, type(one), *((key, value) for key, value in vars(one).items() if _plain(key, value)))
        for name, one in layer.named_modules()
    )


def _plain(key: str, value: Any) -> bool:
    return key != "layer_idx" and isinstance(value, bool | int | float | str)
