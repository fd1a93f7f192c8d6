"""Tunable parts as modules over a base. Layers come from peft where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hexarec.core.errors import ModelError, OptionError
from hexarec.core.seeds import rng
from hexarec.lm.hf import adapters, bottleneck
from hexarec.lm.hf.adapters import Past
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.weights import Base
from hexarec.parts.train.kinds import Bottleneck, Frozen, Kind, LoRA, PrefixTuning, PromptTuning, PTuning


class Part(Protocol):
    """The tuned part of one kind: its parameters are those of `module`."""

    module: nn.Module
    held: bool
    """Whether it stands as it is, without gradients."""

    def on(self) -> AbstractContextManager[None]:
        """With the part in the base's modules."""

    def lead(self) -> Tensor | None:
        """Soft tokens."""

    def past(self) -> Past | None:
        """Prefix keys and values."""

    def tensors(self) -> dict[str, Tensor]:
        """What an artefact keeps."""

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what an artefact kept. Raises OptionError when it does not fit or cannot be gone on from."""

    def detach(self) -> None:
        """Leave the base."""


def part_of(kind: Kind, base: Base, tokens: Tokens, seed: int) -> Part:
    """The part of a kind on a base. Raises OptionError for impossible options."""
    makers: dict[type, Any] = {
        LoRA: _LoRA,
        Bottleneck: _Bottleneck,
        PromptTuning: _Soft,
        PTuning: _Soft,
        PrefixTuning: _Prefix,
        Frozen: _Nothing,
    }
    sizes = [value for name in ("r", "inner", "tokens") if (value := getattr(kind, name, None)) is not None]
    if any(size < 1 for size in sizes) or getattr(kind, "hidden", 0) < 0:
        raise OptionError(f"{kind} is impossible", hint="sizes are at least 1")
    made: Part = makers[type(kind)](kind, base, tokens, seed)
    return made


class _Nothing:
    """A part that is not there; the others override what they have."""

    module: nn.Module
    held = False

    def __init__(self, kind: Kind, base: Base, tokens: Tokens, seed: int) -> None:
        self.kind: Any = kind
        self.model, self.module = base.model, nn.Module()

    def on(self) -> AbstractContextManager[None]:
        return nullcontext()

    def lead(self) -> Tensor | None:
        return None

    def past(self) -> Past | None:
        return None

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.tensors()
        if set(own) != set(tensors) or any(own[name].shape != tensors[name].shape for name in own):
            raise OptionError(f"the saved {self.kind.name} has other sizes or places than {self.kind}")
        with torch.no_grad():
            for name, one in own.items():
                one.copy_(tensors[name])

    def detach(self) -> None:
        return None


class _LoRA(_Nothing):
    _names = 0

    def __init__(self, kind: LoRA, base: Base, tokens: Tokens, seed: int) -> None:
        super().__init__(kind, base, tokens, seed)
        _LoRA._names += 1
        self._name = f"tuned{_LoRA._names}"
        options = {"r": kind.r, "alpha": kind.alpha, "dropout": kind.dropout, "targets": kind.targets}
        try:
            self._layers = adapters.inject(base.model, self._name, options)
        except ValueError as error:
            raise OptionError(f"LoRA cannot be attached: {str(error)[:200]}") from None
        own = [getattr(layer, part)[self._name] for _, layer in self._layers for part in _LORA_PARTS]
        self.module = nn.ModuleList(own)
        for one in self.module.parameters():
            one.requires_grad_(True)

    def on(self) -> AbstractContextManager[None]:
        return adapters.active([layer for _, layer in self._layers], self._name, tuning=not self.held)

    def tensors(self) -> dict[str, Tensor]:
        made = {}
        for place, layer in self._layers:
            made[f"{place}.A"] = layer.lora_A[self._name].weight
            made[f"{place}.B"] = layer.lora_B[self._name].weight
        return made

    def detach(self) -> None:
        adapters.eject(self.model, self._name)


_LORA_PARTS = ("lora_A", "lora_B", "lora_dropout")


class _Bottleneck(_Nothing):
    def __init__(self, kind: Bottleneck, base: Base, tokens: Tokens, seed: int) -> None:
        super().__init__(kind, base, tokens, seed)
        width = base.model.get_input_embeddings().weight.shape[1]
        unknown = set(kind.after) - set(bottleneck.PLACES)
        where = [] if unknown else bottleneck.places(base.model, kind.after)
        if not where:
            raise OptionError(f"{kind} has no place in this model", hint=f"after: {', '.join(bottleneck.PLACES)}")
        self._adapters = {name: bottleneck.Bottleneck(width, kind.inner).to(base.device) for name in where}
        self.module = nn.ModuleList(self._adapters.values())

    def on(self) -> AbstractContextManager[None]:
        return bottleneck.attached(self.model, self._adapters)

    def tensors(self) -> dict[str, Tensor]:
        return bottleneck.parameters(self._adapters)


class _Soft(_Nothing):
    """Prompt tuning and p-tuning: peft's encoders give (n, d) soft tokens."""

    module: Any

    def __init__(self, kind: PromptTuning | PTuning, base: Base, tokens: Tokens, seed: int) -> None:
        super().__init__(kind, base, tokens, seed)
        from peft import PromptEmbedding, PromptEncoder, PromptEncoderConfig, PromptTuningConfig

        table = base.model.get_input_embeddings()
        shape = {
            "num_virtual_tokens": kind.tokens,
            "token_dim": table.weight.shape[1],
            "num_transformer_submodules": 1,
        }
        self._places = torch.arange(kind.tokens, device=table.weight.device)
        if isinstance(kind, PTuning):
            config = PromptEncoderConfig(
                **shape, encoder_hidden_size=kind.hidden, encoder_reparameterization_type=kind.encoder
            )
            self.module = PromptEncoder(config).to(table.weight.device)
            return
        self.module = PromptEmbedding(PromptTuningConfig(**shape, prompt_tuning_init="RANDOM"), table)
        ids = _ids(kind, tokens, len(table.weight), seed)
        self.module.embedding.weight = nn.Parameter(table.weight.detach()[ids].float().clone())

    def lead(self) -> Tensor:
        made: Tensor = self.module(self._places[None])[0]
        return made

    def tensors(self) -> dict[str, Tensor]:
        return {"vectors": self.lead()}

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        if isinstance(self.kind, PTuning):
            raise OptionError("p-tuning cannot be gone on from: its network is not kept", hint="use prompt tuning")
        kept = self.module.embedding.weight
        if tensors["vectors"].shape != kept.shape:
            raise OptionError(f"the saved prompt has the shape {tuple(tensors['vectors'].shape)}")
        kept.data.copy_(tensors["vectors"])


class _Prefix(_Nothing):
    module: Any

    def __init__(self, kind: PrefixTuning, base: Base, tokens: Tokens, seed: int) -> None:
        super().__init__(kind, base, tokens, seed)
        from peft import PrefixEncoder, PrefixTuningConfig

        config = base.model.config
        self._heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        made = PrefixTuningConfig(
            num_virtual_tokens=kind.tokens,
            token_dim=self._heads * size,
            num_attention_heads=self._heads,
            num_layers=config.num_hidden_layers,
            num_transformer_submodules=1,
            encoder_hidden_size=kind.hidden,
            prefix_projection=bool(kind.hidden),
        )
        self.module = PrefixEncoder(made).to(base.device)
        self._places = torch.arange(kind.tokens, device=base.device)
        if not kind.hidden:
            ids = _ids(kind, tokens, base.model.get_input_embeddings().weight.shape[0], seed)
            self._take(_own_past(base.model, ids))

    def past(self) -> Past:
        # peft's layout: (n, 2 layers, heads, size), keys before values
        flat = self.module(self._places[None])[0]
        split = flat.view(len(flat), -1, 2, self._heads, flat.shape[1] // (2 * self._heads * self._layers))
        return [(one[:, 0].transpose(0, 1), one[:, 1].transpose(0, 1)) for one in split.unbind(1)]

    @property
    def _layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    def _take(self, past: Past) -> None:
        rows = torch.stack([torch.stack([key, value]) for key, value in past])  # (layers, 2, heads, n, size)
        self.module.embedding.weight.data.copy_(rows.permute(3, 0, 1, 2, 4).flatten(1))

    def tensors(self) -> dict[str, Tensor]:
        made = {}
        for layer, (key, value) in enumerate(self.past()):
            made[f"{layer}.key"], made[f"{layer}.value"] = key, value
        return made

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        if self.kind.hidden:
            raise OptionError("a prefix with a network cannot be gone on from: the network is not kept")
        past = adapters.past_of(tensors)
        if len(past) != self._layers or past[0][0].shape != self.past()[0][0].shape:
            raise OptionError(f"the saved prefix has the shape {tuple(past[0][0].shape)} in {len(past)} layers")
        self._take(past)


def _ids(kind: PromptTuning | PrefixTuning, tokens: Tokens, vocabulary: int, seed: int) -> list[int]:
    """The tokens that a soft part begins as: those of the text, over and over, or drawn ones."""
    if not kind.text:
        return [int(one) for one in rng(seed, "tunable", kind.name).integers(vocabulary, size=kind.tokens)]
    found = tokens.text(kind.text)
    if not found:
        raise ModelError(f"the text {kind.text!r} has no tokens")
    return [found[n % len(found)] for n in range(kind.tokens)]


def _own_past(model: Any, ids: list[int]) -> Past:
    """The base's keys and values of a text that stands before everything."""
    with torch.no_grad():
        device = model.get_input_embeddings().weight.device
        cache = model.get_decoder()(torch.tensor([ids], device=device), use_cache=True).past_key_values
    return [(layer.keys[0].float(), layer.values[0].float()) for layer in cache.layers]
